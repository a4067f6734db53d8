"""The console script: one line per mistake, the documented exit codes, and imports only on use."""

import errno
import subprocess
import sys
import types
from typing import Annotated, Literal

import pytest
import typer

from userip import commands


class _FixableError(Exception):
    exit_code = 2


def _probe(
    times: Annotated[int, typer.Option("--times", help="A number.")] = 1,
    fail: Annotated[str, typer.Option("--fail")] = "",
    kind: Annotated[Literal["a", "b"], typer.Option("--kind")] = "a",
) -> None:
    if fail == "fixable":
        raise _FixableError("r.csv: row 3: column rating: not a number")
    if fail == "bug":
        raise ZeroDivisionError("division by zero")
    if fail == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "run/config.toml")
    if fail == "exit":
        raise typer.Exit(3)
    if fail == "interrupt":
        raise KeyboardInterrupt
    print("ran", times)


def _probe_kind(kind: Annotated[Literal["a", "b"], typer.Option("--kind")]) -> None:
    """A command with a choice that has to be made."""


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real command in the table, in a module of its own."""
    module = types.ModuleType("userip_probe")
    module.probe = _probe  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "userip_probe", module)
    module.kind = _probe_kind  # type: ignore[attr-defined]
    monkeypatch.setitem(commands.COMMANDS, "probe", ("userip_probe:probe", "Probe."))
    monkeypatch.setitem(commands.COMMANDS, "probe-kind", ("userip_probe:kind", "Probe."))


def _exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        commands.main(list(arguments))
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_success_returns_without_exiting(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that works prints its own output and nothing on stderr."""
    commands.main(["probe", "--times", "4"])
    assert capsys.readouterr() == ("ran 4\n", "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_a_command_goes_to_stdout(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help is an answer, not an error: stdout, exit code 0, no line on stderr."""
    commands.main(["probe", flag])
    out, err = capsys.readouterr()
    assert "userip probe" in out
    assert "--times" in out
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["nonsense"], 2, "userip: unknown command 'nonsense'; `userip --help` lists the commands"),
        (
            ["probe", "--fail", "fixable"],
            2,
            "userip: r.csv: row 3: column rating: not a number",
        ),
        (
            ["probe", "--fail", "full"],
            1,
            "userip: No space left for run/config.toml: free some and run the same command again",
        ),
        (["probe", "--kind", "x"], 2, "userip: Invalid value for '--kind': Value error, 'x' is not one of 'a', 'b'."),
        (["probe-kind"], 2, "userip: Missing option '--kind'. Choose from: a, b"),
        (
            ["probe", "--fail", "interrupt"],
            130,
            "userip: interrupted; the same command continues where it stopped",
        ),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the user can fix is said in one line on stderr, with its exit code."""
    assert _exit_code(*arguments) == code
    assert capsys.readouterr() == ("", line + "\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["probe", "--times", "many"], "--times"), (["probe", "--tmies", "2"], "--tmies")],
)
def test_wrong_options_are_named(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option, or a wrong value of one, exits with 2 and one line that names the option."""
    assert _exit_code(*arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("userip: ")
    assert named in err
    assert err.count("\n") == 1


def test_exit_code_of_a_command_is_kept() -> None:
    """A command that stops with a code of its own keeps it."""
    assert _exit_code("probe", "--fail", "exit") == 3


def test_bugs_show_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody foresaw exits with 1 and keeps its traceback."""
    assert _exit_code("probe", "--fail", "bug") == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_no_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the table is shown, and the exit code says that nothing was done."""
    assert _exit_code() == 2
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in commands.COMMANDS)


def test_missing_library_names_the_extra() -> None:
    """A command whose library is not installed says which extra to install."""
    code = "import sys; sys.modules['polars'] = None; from userip import commands; commands.main(['prepare'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = "userip: `userip prepare` needs polars: pip install 'userip[train]'\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_help_imports_no_room() -> None:
    """`userip --help` loads neither a room nor an offline library."""
    code = (
        "import sys; from userip import commands; commands.main(['--help']);"
        "heavy = {'torch', 'polars', 'fastapi', 'training', 'service', 'bank'};"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
