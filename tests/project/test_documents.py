"""The documents against the program: commands, flags, verbs, settings and links that they name exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from userip import commands
from userip.service.auth.secret_files import SECRETS, file_variable
from userip.service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PATHS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = {path.name: path.read_text(encoding="utf-8") for path in PATHS}


def _code(text: str) -> str:
    """The code of a document: fenced blocks, continued lines joined, and inline code, one a line."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*blocks, *inline]).replace("\\\n", " ")


def _command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every `userip X ...` in the documents: X and the flags it is given."""
    for text in DOCUMENTS.values():
        for name, rest in re.findall(r"\buserip ([a-z][a-z-]*)([^|&;#\n]*)", _code(text)):
            yield name, re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)


def test_every_command_is_documented_and_none_is_invented() -> None:
    """The documents show every command of `userip`, and no other."""
    assert {name for name, _ in _command_lines()} == set(commands.COMMANDS)


@pytest.mark.parametrize("name", sorted(commands.COMMANDS))
def test_documented_flags_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`userip X --help` works, and lists every flag that the documents give X."""
    commands.main([name, "--help"])
    flags = {flag for other, named in _command_lines() if other == name for flag in named}
    known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    assert flags <= known


def test_documented_verbs_exist() -> None:
    """Every `make X` in the documents is a target."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):.*## ", makefile, flags=re.MULTILINE))
    named = {verb for text in DOCUMENTS.values() for verb in re.findall(r"\bmake ([a-z][\w-]*)", _code(text))}
    assert named
    assert named <= targets


def test_no_setting_is_invented() -> None:
    """What a document calls a variable of the service is one; docs/settings.md has them all (tests/docs)."""
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    settings |= {"USERIP_SERVICE_KEY", "USERIP_BANK_HMAC_KEY"}  # of the commands `inspect` and `publish`
    settings |= {file_variable(name, PREFIX) for name in SECRETS} | {"USERIP_BANK_HMAC_KEY_FILE"}
    text = "\n".join(DOCUMENTS.values())
    named = set(re.findall(rf"\b{PREFIX}(?!TRAIN_)[A-Z_]+[A-Z]\b", text))
    assert named
    assert named <= settings


def test_links_lead_somewhere() -> None:
    """Every relative link in the documents names a file of the repository."""
    for path in [*PATHS, ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
