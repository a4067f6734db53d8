"""`userip inspect`: what is active, how old, how large, and where bank, release directory and service differ."""

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from userip.bank.errors import UnknownReleaseError
from userip.bank.protocol import Bank, ReleaseInfo, StaleStaging
from userip.release.errors import ReleaseError
from userip.release.manifest import Manifest, read_manifest

_PATIENCE_S = 5


@dataclass(frozen=True, slots=True)
class BankView:
    """What the bank at `url` (without its password) holds.

    pointer  the name of the active release, which may be lost itself
    missing  release -> how many of its records are not there any more
    warnings settings of the store that may cost records
    """

    url: str
    pointer: str | None
    releases: list[ReleaseInfo]
    stale: list[StaleStaging]
    missing: dict[str, int]
    warnings: list[str]

    @classmethod
    def of(cls, url: str, bank: Bank) -> "BankView":
        """Ask the bank, and count every record of its releases. Raises BankUnavailableError."""
        pointer, releases, missing = bank.active(), bank.releases(), {}
        for info in releases:
            with contextlib.suppress(UnknownReleaseError):  # pruned since the releases were listed
                missing[info.name] = bank.count_missing(info.name)
        return cls(url, pointer, releases, bank.stale_stagings(), missing, bank.warnings())

    @property
    def active(self) -> ReleaseInfo | None:
        """The active release."""
        return next((info for info in self.releases if info.active), None)


@dataclass(frozen=True, slots=True)
class DirectoryView:
    """A release directory: its manifest and size, or the problem that stands in the way."""

    path: Path
    manifest: Manifest | None = None
    bytes: int = 0
    problem: str | None = None

    @classmethod
    def of(cls, path: Path) -> "DirectoryView":
        """Read the directory and hash its files."""
        try:
            manifest = read_manifest(path)
            return cls(path, manifest, sum(file.stat().st_size for file in path.iterdir()))
        except (ReleaseError, OSError) as error:
            return cls(path, problem=str(error))


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A running service: what `/release` and `/readyz` say, or why they do not."""

    url: str
    serves: dict[str, Any] = field(default_factory=dict)
    not_ready: list[str] = field(default_factory=list)
    problem: str | None = None

    @classmethod
    def of(cls, url: str, key: str | None) -> "ServiceView":
        """Ask the service, with an API key if it wants one."""
        base = url.rstrip("/")
        try:
            status, serves = _get(f"{base}/release", key)
            if status != 200:
                return cls(base, problem=f"/release says {status}: {serves.get('detail', 'no reason given')}")
            status, ready = _get(f"{base}/readyz", key)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            return cls(base, problem=f"does not answer: {reason}")
        reasons = [f"{item['field']}: {item['problem']}" for item in ready.get("errors", [])]
        return cls(base, serves, (reasons or [f"/readyz says {status}"]) if status != 200 else [])


def differences(bank: BankView, directory: DirectoryView | None, service: ServiceView | None) -> list[str]:
    """Every difference, one line each with the fix; empty when all agree."""
    found = _of_bank(bank)
    active = None if bank.active is None else bank.active.name
    if directory is not None:
        found += _of_directory(bank, directory, active)
    if service is not None and service.problem is not None:
        found.append(f"service: {service.problem}")
    elif service is not None:
        served = service.serves["release"]
        if served != active:
            found.append(f"service serves {served}, active in the bank is {active or 'none'}; activate, or reload it")
        if directory is not None and directory.manifest is not None and served != directory.manifest.release:
            found.append(f"service serves {served}, the directory holds {directory.manifest.release}; reload it")
        found += [f"service is not ready: {reason}" for reason in service.not_ready]
        if (last := service.serves.get("last_reload")) and not last["ok"]:
            found.append(f"service refused its last reload: {last['problem']}")
    return found


def as_json(bank: BankView, directory: DirectoryView | None, service: ServiceView | None) -> dict[str, object]:
    """The same for programs."""
    document: dict[str, object] = {
        "bank": bank.url,
        "active": None if bank.active is None else bank.active.name,
        "previous": next((info.name for info in bank.releases if info.previous), None),
        "releases": [
            dataclasses.asdict(info) | {"bytes_per_user": info.bytes_per_user, "lost": bank.missing.get(info.name, 0)}
            for info in bank.releases
        ],
        "warnings": bank.warnings,
        "leftovers": [
            {"release": left.release, "attempt": left.staging, "started": left.started, "alive": left.alive}
            for left in bank.stale
        ],
        "differences": differences(bank, directory, service),
    }
    if directory is not None:
        stated = {name: getattr(directory.manifest, name, None) for name in ("release", "created", "users", "items")}
        own = {"bytes": directory.bytes, "problem": directory.problem}
        document["directory"] = {"path": str(directory.path), **stated, **own}
    if service is not None:
        document["service"] = {
            "url": service.url,
            "release": service.serves.get("release"),
            "loaded_at": service.serves.get("loaded_at"),
            "not_ready": service.not_ready,
            "problem": service.problem,
        }
    return document


def age(then: datetime) -> str:
    """How long ago, in the largest unit that fits: `3 days`."""
    seconds = max(0, int((datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()))
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, length = next((each for each in units if seconds >= 2 * each[1]), units[-1])
    count = seconds // length
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _of_bank(bank: BankView) -> list[str]:
    found = []
    if bank.pointer is not None and bank.pointer not in [info.name for info in bank.releases]:
        found.append(f"{bank.pointer} is active, and the bank has lost it (evicted, or deleted by hand); publish it")
    for info in bank.releases:
        if lost := bank.missing.get(info.name, 0):
            fix = "publish it again" if info.active else "publish it again with --no-activate"
            found.append(
                f"{info.name} has lost {lost:,} of its {info.users:,} records (evicted, or deleted by hand); {fix}"
            )
    return found


def _of_directory(bank: BankView, directory: DirectoryView, active: str | None) -> list[str]:
    if directory.manifest is None:
        return [f"release directory: {directory.problem}"]
    manifest = directory.manifest
    held = next((info for info in bank.releases if info.name == manifest.release), None)
    if held is None:
        return [f"the bank does not hold the directory's release {manifest.release}; publish it"]
    found = []
    if held.slots != manifest.slots:
        found.append(f"{held.name} has {held.slots} slots in the bank, {manifest.slots} in the directory; publish it")
    if held.users < manifest.users:  # more is no fault: users are folded in
        found.append(
            f"{held.name} has {held.users:,} users in the bank, {manifest.users:,} in the directory; publish it"
        )
    if manifest.release != active:
        found.append(f"the directory holds {manifest.release}, active in the bank is {active or 'none'}; activate it")
    return found


def _get(url: str, key: str | None) -> tuple[int, dict[str, Any]]:
    """Status and JSON object. Raises OSError or ValueError when no such thing comes."""
    import urllib.error  # here: most inspections ask no service
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is not an http:// or https:// URL")
    request = urllib.request.Request(url, headers={} if key is None else {"X-API-Key": key})  # noqa: S310  # checked
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310  # checked
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read()
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError(f"{url} does not answer with a JSON object; is it a UserIP service?")
    return status, document
