"""Nothing foreign acts on a terminal: control characters are written out wherever a command or the service writes."""

import io
import json
import logging
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.process import command, environment
from userip import commands
from userip.service.observe.log import make_logger
from userip.terminal import written_out
from userip.training.progress import track
from userip.training.run import set_up_logging

# Clear the screen; a title; C1's own CSI and OSC; DEL; bidi override and isolate; a line separator; a carriage return.
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\x9d0;x\x9c\x7f\u202eevil\u2066\u2028\r"


def acting(text: str) -> set[str]:
    """The characters of `text` that do more than show a glyph, but for newlines and tabs."""
    return {each for each in text if not each.isprintable() and each not in "\n\t "} | set(text) & set("\u202e\u2066")


def userip(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process."""
    return subprocess.run(command(*arguments), capture_output=True, env=environment(), check=False, timeout=60)


def rows(file: Path, cell: str, count: int) -> Path:
    """A table of ratings with `cell` for the rating in its last `count` rows of 300."""
    bad = '"{}"'.format(cell.replace('"', '""'))
    lines = [f"u{n % 30},i{n // 30},{bad if n >= 300 - count else n % 5}" for n in range(300)]
    file.write_text("\n".join(["user_id,item_id,rating", *lines, ""]), encoding="utf-8", newline="")
    return file


def test_cells_that_prepare_shows(tmp_path: Path) -> None:
    """In the error of too many bad rows, and in the summary of a few: the cell can be read and does nothing."""
    for count, code in ((30, 2), (2, 0)):
        table = rows(tmp_path / "rows.csv", f"4{EVIL}\nuserip: all is well", count)
        done = userip(
            "prepare", "--format", "table", "--source", table, "--out", tmp_path / "set", "--positive-above", "3"
        )
        text = (done.stderr if code else done.stdout).decode()
        assert done.returncode == code, text
        assert "4\\u001b[2J" in text
        assert acting(text) == set()
        assert not [line for line in text.splitlines() if line.startswith("userip: all")]


@pytest.mark.parametrize(
    "arguments",
    [
        ("prepare", "--format", "table", "--source", f"no{EVIL}where.csv", "--out", "x", "--positive-above", "3"),
        ("prepare", "--format", f"{EVIL}"),
        ("prepare", f"--{EVIL}"),
        (f"{EVIL}\nuserip: all is well",),
        ("publish", "--release", f"no{EVIL}where", "--bank", "lmdb:///nowhere"),
        ("inspect", "--bank", f"{EVIL}://x"),
        ("serve", "--set", f"{EVIL}"),
    ],
)
def test_error_lines_of_commands(arguments: tuple[str, ...]) -> None:
    """Names and values that were pasted from elsewhere: one line on standard error that does nothing."""
    done = userip(*arguments)
    text = done.stderr.decode()
    assert (done.returncode, text.count("\n")) == (2, 1), text
    assert acting(text) == set()


def test_names_of_columns(tmp_path: Path) -> None:
    """A header is foreign, too."""
    table = tmp_path / "rows.csv"
    table.write_text(f'user_id,item_id,"ra{EVIL}ting"\nu,i,3\n', encoding="utf-8", newline="")
    done = userip("prepare", "--format", "table", "--source", table, "--out", tmp_path / "set", "--positive-above", "3")
    assert done.returncode == 2
    assert "ra\\u001b" in done.stderr.decode()
    assert acting(done.stderr.decode()) == set()


def test_what_training_logs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is one line; a traceback keeps its lines; neither does anything, nor what a library prints."""

    def talk() -> None:
        set_up_logging()
        logging.getLogger("talk").warning("no profile for %s", f"{EVIL}\nu2")
        try:
            raise ValueError(EVIL)
        except ValueError:
            logging.getLogger("talk").exception("failed")
        print(f"id {EVIL}")
        raise KeyError(EVIL)

    monkeypatch.setattr(commands, "_load", lambda name: talk)
    with pytest.raises(SystemExit) as stop:
        commands.main(["train"])
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert acting(printed.out + printed.err) == set()
    assert printed.out == f"id {written_out(EVIL)}\n"
    assert printed.err.splitlines()[0] == f"no profile for {written_out(EVIL)}\\nu2"
    assert "Traceback" in printed.err.splitlines()[2]


@pytest.mark.parametrize("level", ["info", "error"])
def test_lines_of_the_service_log(level: str) -> None:
    """JSON with what acts on a terminal escaped; it reads back as what was logged."""
    stream = io.BytesIO()
    said = f"{EVIL}ü 日本"
    getattr(make_logger("debug", stream), level)("request", user=said)
    line = stream.getvalue().decode()
    assert acting(line) == set()
    assert "ü 日本" in line
    assert json.loads(line)["user"] == said


def test_the_bar_is_drawn_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal progress is a bar, which needs the terminal's own codes."""
    drawn, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as screen:
        monkeypatch.setattr("sys.stderr", screen)
        monkeypatch.setattr(commands, "_load", lambda name: lambda: [None for _ in track(range(3), label="steps")])
        commands.main(["train"])
        screen.flush()
        shown = os.read(drawn, 65536).decode()
    os.close(drawn)
    assert "\x1b[" in shown
    assert "\\u001b" not in shown
