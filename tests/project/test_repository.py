"""What the repository promises about itself: its verbs, finished work, import contracts that bite."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERBS = {"help", "setup", "demo", "test", "lint", "check", "serve", "bench"}
TEXT = {".py", ".md", ".toml", ".sh", ".yml", ".conf", ".txt", ""}


def _tracked() -> dict[str, str]:
    """The text files that git tracks, by path, with their content."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the repository is not known")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = [path for path in map(Path, filter(None, listed)) if path.suffix in TEXT and path.name != "LICENSE"]
    return {str(path): (ROOT / path).read_text("utf-8") for path in paths if (ROOT / path).is_file()}


def _make(*arguments: str) -> str:
    done = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _listed_verbs() -> dict[str, str]:
    return dict(re.findall(r"^  make (\w+) +(\S.+)$", _make("help"), flags=re.MULTILINE))


def test_help_lists_every_verb_with_a_line() -> None:
    """`make help` names the project's verbs, each with what it does."""
    assert set(_listed_verbs()) >= VERBS


def test_every_listed_verb_is_a_target() -> None:
    """Make has a rule, with all its prerequisites, for every verb that its help lists."""
    for verb in _listed_verbs():
        _make("--dry-run", verb)


def test_scripts_are_executable_and_parse() -> None:
    """The scripts behind the verbs can be run, and the shell understands them."""
    for script in [*sorted((ROOT / "tools").glob("*.sh")), ROOT / ".ci/run"]:
        assert script.stat().st_mode & 0o111, script
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_nothing_is_left_unfinished() -> None:
    """No tracked file marks work as left to do."""
    mark = re.compile(r"\bTO" + r"DO\b|\bFIX" + r"ME\b|\bXX" + r"X\b|raise NotImplemented" + "Error")
    assert [path for path, text in _tracked().items() if mark.search(text)] == []


def test_no_path_of_a_machine_is_written_down() -> None:
    """Tracked files name no home folder or working folder of the machine that they were written on."""
    home = re.compile("/(?:ro" + "ot|wo" + r"rk|ho" + r"me/\w+|Us" + r"ers/\w+)/")
    assert [path for path, text in _tracked().items() if home.search(text)] == []


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """A copy of the rooms and of the contracts, to be broken."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", symlinks=True, ignore=shutil.ignore_patterns("*.egg-info"))
    for link in (ROOT / "src" / "userip").iterdir():
        if link.is_symlink():
            shutil.copytree(link, tmp_path / link.name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_import_contracts_hold_and_bite(rooms: Path) -> None:
    """The contracts hold as the rooms are, and imports that they forbid are found, late ones too."""
    kept = _lint_imports(rooms)
    assert kept.returncode == 0, kept.stdout
    violations = {
        "service": "import torch\nimport userip.training\n",
        "training": "import userip.service\nimport userip.loadtests\n",
        "bank": "import userip.models\n\n\ndef late() -> None:\n    import polars\n",
        "models": "import userip.bank\n",
        "scoring": "import userip.service\n",
        "reporting": "import userip.evaluation\n",
    }
    for room, code in violations.items():
        (rooms / room / "violation.py").write_text(code, encoding="utf-8")
    broken = _lint_imports(rooms)
    assert broken.returncode != 0
    expected = (
        "service.violation -> torch",
        "service.violation -> userip.training",
        "training.violation -> userip.service",
        "training.violation -> userip.loadtests",
        "bank.violation -> userip.models",
        "bank.violation -> polars",
        "models.violation -> userip.bank",
        "scoring.violation -> userip.service",
        "reporting.violation -> userip.evaluation",
    )
    assert [chain for chain in expected if chain not in broken.stdout] == []
