"""Settings of the service: TOML file, then environment (`USERIP_...`), then flags."""

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from userip.scoring.settings import LookupSettings, ReleaseSettings
from userip.service.auth.secret_files import SECRETS, file_variable, secrets_from_files
from userip.service.errors import StartError, in_sentence
from userip.service.http.hosts import DEFAULT, AllowedHosts

PREFIX = "USERIP_"
# Flags with a name of their own; every other setting has `--set name=value`.
FLAGS = {
    "release_dir": "--release",
    "bank_url": "--bank",
    "host": "--host",
    "port": "--port",
    "workers": "--workers",
    "log_level": "--log-level",
}
# Former names, which still work for one release.
RENAMED = {
    "max_queue_ms": "queue_delay_target_ms",
    "shadow_share": "shadow_sample_rate",
    "tracing_share": "tracing_sample_rate",
    "access_log": "access_log_sample_rate",
    "cache_seconds": "cache_ttl_seconds",
    "follow": "follow_bank",
    "allow_open": "allow_unauthenticated",
}
Positive = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """Everything that `create_app` is given. Unknown names are refused, in the file and among the flags."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    release_dir: Path = Field(description="the release directory to serve (RUN/release)")
    bank_url: SecretStr = Field(description="URL of the bank: lmdb:///path, redis://host:port/db, ...")
    releases_dir: Path | None = Field(
        None, description="release directories, one per release: where the bank's active one is found by its name"
    )
    follow_bank: Literal["off", "poll"] = Field(
        "poll",
        description="poll: serve whatever is active in the bank, if release_dir or releases_dir holds it; "
        "off: serve release_dir until somebody reloads",
    )
    follow_seconds: float = Field(0.5, ge=0.01, le=3600, description="how often the bank is polled for it")
    shadow_release_dir: Path | None = Field(
        None,
        description="a second release that scores a sample of the requests too, for comparison; never in an answer",
    )
    shadow_sample_rate: float = Field(
        0.01, ge=0, le=1, description="sampling rate of the shadow: which part of the requests it scores too"
    )
    host: str = Field("127.0.0.1", min_length=1, description="the address to listen on; 0.0.0.0: all")
    port: int = Field(8000, ge=0, le=65535, description="0 takes a free port, which the log names")
    workers: int = Field(1, ge=1, le=256, description="processes that share the port")
    max_candidates: Positive = Field(1000, description="item_ids of one request")
    max_batch: Positive = Field(64, description="requests of one /score/batch")
    max_id_length: Positive = Field(256, description="characters of a user id, item id or context value")
    max_body_bytes: Positive = Field(1 << 20, description="bytes of a request body")
    max_in_flight: Positive = Field(256, description="requests at work in one worker; more wait for their turn")
    queue_delay_target_ms: float = Field(
        25.0, gt=0, le=60_000, description="target of the queue's delay: requests that waited longer get 503"
    )
    deadline_ms: float = Field(1000.0, gt=0, le=60_000, description="a request not answered within this time gets 503")
    bank_deadline_ms: float = Field(50.0, gt=0, le=60_000, description="time limit of a bank read")
    bank_connections: Positive = Field(64, description="connections to the bank per worker")
    breaker_failures: int = Field(
        5, ge=0, description="failed bank reads in a row that open the circuit breaker; 0: never"
    )
    breaker_retry_ms: float = Field(
        100.0, gt=0, le=60_000, description="how often an open circuit breaker lets one read try the bank"
    )
    replica_dir: Path | None = Field(
        None, description="directory of a replica of the records, read when bank and cache fail"
    )
    replica_seconds: float = Field(60.0, gt=0, description="how often the replica is updated")
    cache_records: int = Field(100_000, ge=0, description="maximum number of cached profiles in a worker; 0: no cache")
    cache_ttl_seconds: float = Field(
        30.0, gt=0, description="TTL of cached profiles; a changed one shows by then, a new one at once"
    )
    keys_file: Path | None = Field(
        None, description="API keys, as `userip create-key` writes them; with it every route but the probes needs one"
    )
    keys: SecretStr | None = Field(None, description="lines of a key file, for an environment without files")
    allow_unauthenticated: bool = Field(
        False, description="serve without API keys on an address that other machines can reach"
    )
    allowed_hosts: str = Field(
        DEFAULT,
        description="without API keys: the Host headers that are answered, probes apart; names, addresses and "
        "networks, comma separated; *: all",
    )
    key_rate: float = Field(0.0, ge=0, description="requests a second of one key in one worker; 0: no limit")
    key_burst: Positive = Field(100, description="requests that a key may send at once within its rate")
    admin_key: SecretStr | None = Field(None, description="one more key, for all routes; turns the admin routes on")
    access_log_sample_rate: float = Field(
        0.01, ge=0, le=1, description="sampling rate of the access log; faults are logged in any case unless it is 0"
    )
    tracing_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/@]+(/\S*)?$",
        description="OpenTelemetry collector for spans (OTLP over HTTP), as http://collector:4318",
    )
    tracing_sample_rate: float = Field(
        0.01, ge=0, le=1, description="sampling rate of traces; a caller's traceparent goes before it"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe level that is logged"
    )
    docs: bool = Field(True, description="serve /openapi.json and the page /docs")
    drain_seconds: float = Field(
        0.0, ge=0, le=600, description="how long after SIGTERM the service still answers while it is not ready"
    )
    shutdown_seconds: Positive = Field(30, description="requests in flight at SIGTERM get this long to finish")
    runtime_dir: Path | None = Field(
        None,
        description="shared by the workers of one service: counts, and copies of a release's tables; "
        "made in TMPDIR by `userip serve` when there are several",
    )

    @field_validator("bank_url", "keys", "admin_key")
    @classmethod
    def _strip(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        text = secret.get_secret_value().strip()  # a file ends in a line break, and so does what is pasted from one
        if not text:
            raise ValueError("blank")
        return SecretStr(text)

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, hosts: str) -> str:
        AllowedHosts(hosts)
        return hosts

    @model_validator(mode="after")
    def _check_deadlines(self) -> "Settings":
        if self.bank_deadline_ms >= self.deadline_ms:
            raise ValueError(f"bank_deadline_ms is {self.bank_deadline_ms:g}, it must be below deadline_ms")
        return self

    @property
    def follows(self) -> bool:
        """Whether the bank says which release is served."""
        return self.follow_bank == "poll"

    @property
    def initial_release(self) -> ReleaseSettings:
        """What the first release is chosen by."""
        return ReleaseSettings(
            bank_url=self.bank_url.get_secret_value(),
            release_dir=self.release_dir,
            releases_dir=self.releases_dir,
            follows=self.follows,
            largest=self.max_candidates,
            shared=self.runtime_dir,
        )

    @property
    def lookup(self) -> LookupSettings:
        """How records are read."""
        return LookupSettings(
            bank_url=self.bank_url.get_secret_value(),
            deadline_s=self.bank_deadline_ms / 1000,
            connections=self.bank_connections,
            cache_records=self.cache_records,
            cache_ttl_s=self.cache_ttl_seconds,
            breaker_failures=self.breaker_failures,
            breaker_retry_s=self.breaker_retry_ms / 1000,
        )

    def environment(self) -> dict[str, str]:
        """Give the same settings as environment variables, for worker processes.

        A variable that names a secret's file, or has a former name, becomes empty: its value is among the others.
        """
        values = {file_variable(name, PREFIX): "" for name in SECRETS}
        values |= {PREFIX + old.upper(): "" for old in RENAMED}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            if value is not None:
                values[PREFIX + name.upper()] = str(value)
        return values


def load_settings(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Resolve the settings from `config` (TOML), the environment and `flags` (None = not given).

    Raises StartError, naming the setting and the ways to give it.
    """
    file_values = _checked(_read_toml(config) if config is not None else {}, f"{config}")
    flags = _checked({name: value for name, value in flags.items() if value is not None}, "--set")
    secrets = secrets_from_files(os.environ, PREFIX)
    former = {old: os.environ[PREFIX + old.upper()] for old in RENAMED if os.environ.get(PREFIX + old.upper())}
    variables = _checked(former, "environment", PREFIX)

    class Configured(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources = [InitSettingsSource(settings_cls, values) for values in (variables, secrets, file_values)]
            return init_settings, env_settings, *sources

    try:
        return Configured(**flags)
    except ValidationError as error:
        raise StartError("; ".join(_explain(item) for item in error.errors())) from None


def misspelt_variables(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Variables that look like a setting but are none, each with the setting that may be meant.

    They cannot be refused: the offline commands read USERIP_ variables of their own from the same shell.
    """
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    known += [file_variable(name, PREFIX) for name in SECRETS]
    known += [PREFIX + old.upper() for old in RENAMED]
    others = [name for name in environment if name.startswith(PREFIX) and name not in known]
    close = [(name, difflib.get_close_matches(name, known, n=1, cutoff=0.85)) for name in sorted(others)]
    return [(name, meant[0]) for name, meant in close if meant]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}; --config names a TOML file of service settings") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartError(f"{path}: not TOML: {error}") from None


def _checked(values: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """The values under the names of today. Warns of a former name; raises StartError for one that never was."""
    found = dict(values)
    for old in RENAMED.keys() & values.keys():
        now = RENAMED[old]
        shown = [prefix + name.upper() if prefix else name for name in (old, now)]
        if now in values or (prefix and os.environ.get(shown[1])):
            raise StartError(f"{where}: {shown[0]} is the former name of {shown[1]}; give one of them")
        print(f"userip: warning: {where}: {shown[0]} is now {shown[1]}; the former name goes soon", file=sys.stderr)
        found[now] = found.pop(old)
    for name in found:
        if name not in Settings.model_fields:
            raise StartError(f"{where}: no setting {name!r}; there are {', '.join(Settings.model_fields)}")
    return found


def _explain(error: Mapping[str, Any]) -> str:
    said = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # what two settings say of each other
        return f"settings: {said}"
    name = str(error["loc"][0])
    ways = f"{FLAGS.get(name, f'--set {name}=VALUE')} or {PREFIX}{name.upper()}"
    if error["type"] == "missing":
        return f"setting {name} is missing ({Settings.model_fields[name].description}); give {ways}"
    return f"setting {name}: {in_sentence(said)}; give {ways}"
