"""Where settings come from, which wins, and what is refused."""

import json
from pathlib import Path

import pytest

from userip.service.errors import StartError
from userip.service.settings import RENAMED, Settings, load_settings, misspelt_variables

NEEDED = {"release_dir": "/r", "bank_url": "lmdb:///b"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the shell that runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"USERIP_{name.upper()}", raising=False)
        monkeypatch.delenv(f"USERIP_{name.upper()}_FILE", raising=False)


def test_flags_win_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source overrides the one before it, setting by setting."""
    file = tmp_path / "service.toml"
    file.write_text('bank_url = "lmdb:///file"\nport = 1\nworkers = 3\nmax_batch = 7\n')
    monkeypatch.setenv("USERIP_PORT", "2")
    monkeypatch.setenv("USERIP_WORKERS", "4")
    settings = load_settings({"release_dir": Path("/r"), "workers": 5}, file)
    assert settings.bank_url.get_secret_value() == "lmdb:///file"
    assert (settings.port, settings.workers, settings.max_batch) == (2, 5, 7)
    assert settings.max_candidates == 1000


@pytest.mark.parametrize(("missing", "flag"), [("release_dir", "--release"), ("bank_url", "--bank")])
def test_missing_setting_is_named_with_the_ways_to_give_it(missing: str, flag: str) -> None:
    """The message names setting, flag and variable; the exit code is that of wrong input."""
    flags = {name: value for name, value in NEEDED.items() if name != missing}
    with pytest.raises(StartError, match=missing) as caught:
        load_settings(flags)
    assert flag in str(caught.value)
    assert f"USERIP_{missing.upper()}" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 70000), ("port", "http"), ("workers", 0), ("max_candidates", -1), ("bank_deadline_ms", 0),
     ("log_level", "loud"), ("host", ""),
     ("allowed_hosts", "http://x"), ("allowed_hosts", "x:80"), ("allowed_hosts", ",")],
)  # fmt: skip
def test_impossible_value_is_refused_by_name(name: str, value: object) -> None:
    """A value outside its range stops the start."""
    with pytest.raises(StartError, match=f"setting {name}: "):
        load_settings(NEEDED | {name: value})


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    """A typo in the file or in --set is an error, not silence."""
    file = tmp_path / "service.toml"
    file.write_text("max_candidate = 3\n")
    with pytest.raises(StartError, match=r"service\.toml: no setting 'max_candidate'"):
        load_settings(NEEDED, file)
    with pytest.raises(StartError, match="--set: no setting 'colour'"):
        load_settings(NEEDED | {"colour": "red"})


@pytest.mark.parametrize("content", ["port = ", "\xff"])
def test_broken_file_is_named(tmp_path: Path, content: str) -> None:
    """A file that is no TOML, or is not there, is named."""
    file = tmp_path / "service.toml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(StartError, match=r"service\.toml: not TOML"):
        load_settings(NEEDED, file)
    with pytest.raises(StartError, match=r"none\.toml: No such file"):
        load_settings(NEEDED, tmp_path / "none.toml")


def test_empty_admin_key_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """`USERIP_ADMIN_KEY=` as compose files write it leaves the admin routes off."""
    monkeypatch.setenv("USERIP_ADMIN_KEY", "")
    assert load_settings(NEEDED).admin_key is None


def test_secrets_may_lie_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """USERIP_ADMIN_KEY_FILE and USERIP_BANK_URL_FILE name files, as Docker mounts secrets; a flag still wins."""
    for name, content in (("BANK_URL", "redis://u:pass@h\n"), ("ADMIN_KEY", "hush hush")):
        (tmp_path / name).write_text(content)
        monkeypatch.setenv(f"USERIP_{name}_FILE", str(tmp_path / name))
    settings = load_settings({"release_dir": "/r"})
    assert settings.bank_url.get_secret_value() == "redis://u:pass@h"
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "hush hush"
    assert load_settings(NEEDED).bank_url.get_secret_value() == NEEDED["bank_url"]
    for name, value in settings.environment().items():  # a worker gets the secret, and no file to read it from again
        monkeypatch.setenv(name, value)
    assert load_settings({}).model_dump() == settings.model_dump()


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), (b"\n", "empty"), (b"\xff", "not UTF-8")])
def test_file_of_a_secret_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
) -> None:
    """Missing, empty, no text, or given twice: an error with the variable, not a service without the secret."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("USERIP_ADMIN_KEY_FILE", str(file))
    with pytest.raises(StartError, match=f"USERIP_ADMIN_KEY_FILE: .*{words}"):
        load_settings(NEEDED)
    monkeypatch.setenv("USERIP_ADMIN_KEY", "hush")
    with pytest.raises(StartError, match="both set"):
        load_settings(NEEDED)


@pytest.mark.parametrize("name", ["bank_url", "admin_key", "keys"])
def test_blanks_around_a_secret_are_none_of_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break from a file or a paste goes, wherever the secret came from; nothing but blanks is an error."""
    flags: dict[str, object] = {key: value for key, value in NEEDED.items() if key != name}
    config = tmp_path / "service.toml"

    def resolved(**sources: str) -> object:
        config.write_text(f"{name} = {json.dumps(sources['file'])}\n" if "file" in sources else "")
        monkeypatch.setenv(f"USERIP_{name.upper()}", sources.get("environment", ""))
        return getattr(load_settings(flags | {name: sources.get("flag")}, config), name).get_secret_value()

    for source in ("flag", "environment", "file"):
        assert resolved(**{source: " \thush hush\r\n"}) == "hush hush"
        with pytest.raises(StartError, match=rf"setting {name}: blank; give .* or USERIP_{name.upper()}"):
            resolved(**{source: " \n"})
    with pytest.raises(StartError, match=rf"setting {name}: blank"):  # else the empty key would open every route
        resolved(flag="")


def test_secrets_do_not_show() -> None:
    """Neither repr nor str of the settings holds the key or the bank's password."""
    settings = load_settings(NEEDED | {"admin_key": "hush", "bank_url": "redis://u:pass@h"})
    assert "hush" not in repr(settings) + str(settings)
    assert "pass" not in repr(settings) + str(settings)


def test_worker_gets_the_same_settings_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent resolved survives the way through environment variables."""
    settings = load_settings(NEEDED | {"admin_key": "hush", "access_log_sample_rate": 0, "bank_deadline_ms": 12.5})
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings({}).model_dump() == settings.model_dump()


def test_misspelt_variable_is_found() -> None:
    """A variable that is nearly a setting is pointed out; settings and other commands' variables are not."""
    environment = {"USERIP_MAX_CANDIDATE": "5", "USERIP_PORT": "1", "USERIP_LANGUAGE_STEPS": "9", "PORT": "2"}
    assert misspelt_variables(environment) == [("USERIP_MAX_CANDIDATE", "USERIP_MAX_CANDIDATES")]


@pytest.mark.parametrize("old", RENAMED)
def test_former_names_still_work_with_a_warning(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the file, the environment and among the flags, in the usual order; one line says the name of today."""
    now = RENAMED[old]
    kind = Settings.model_fields[now].annotation
    texts = ("poll", "off", "poll") if old == "follow" else ("true",) * 3 if kind is bool else ("0.5", "0.25", "0.75")

    def value(settings: Settings) -> str:
        found = getattr(settings, now)
        return str(found).lower() if kind is bool else str(found)

    file = tmp_path / "service.toml"
    file.write_text(f'{old} = "{texts[0]}"')
    assert value(load_settings(NEEDED, file)) == texts[0]
    monkeypatch.setenv("USERIP_" + old.upper(), texts[1])
    settings = load_settings(NEEDED, file)
    assert value(settings) == texts[1]
    assert value(load_settings(NEEDED | {old: texts[2]}, file)) == texts[2]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + 2 + 3
    assert f"--set: {old} is now {now}" in "".join(lines)
    assert f"USERIP_{old.upper()} is now USERIP_{now.upper()}" in "".join(lines)
    for name, text in settings.environment().items():  # what a worker is given
        monkeypatch.setenv(name, text)
    assert load_settings({}).model_dump() == settings.model_dump()
    assert capsys.readouterr().err == ""


def test_a_setting_under_both_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one counts is not guessed."""
    with pytest.raises(StartError, match="follow is the former name of follow_bank"):
        load_settings(NEEDED | {"follow": "poll", "follow_bank": "off"})
    monkeypatch.setenv("USERIP_FOLLOW", "poll")
    monkeypatch.setenv("USERIP_FOLLOW_BANK", "off")
    with pytest.raises(StartError, match="USERIP_FOLLOW is the former name of USERIP_FOLLOW_BANK"):
        load_settings(NEEDED)
