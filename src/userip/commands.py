"""The console script `userip`: a table of commands, each imported only when it is called."""

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Final, TextIO, cast

import typer
from typer.main import get_command

from userip.disk import disk_full, is_full
from userip.errors import UserIPError
from userip.terminal import PlainStream, one_line

# command -> (module:function, one line of help). Modules are imported on use: `serve` never loads torch.
COMMANDS: Final = {
    "simulate": ("userip.training.data.commands:simulate", "Make a simulated data set with planted user profiles."),
    "prepare": ("userip.training.data.commands:prepare", "Make a data set: read, clean, label and split interactions."),
    "train": ("userip.training.commands:train", "Run all steps of training in turn."),
    "train-lm": ("userip.training.commands:train_lm", "Step 1: train or copy the frozen language model."),
    "infer": ("userip.training.commands:infer", "Step 2: infer a profile for every user."),
    "quantize": ("userip.training.commands:quantize", "Step 3: codebooks and codes."),
    "fit": ("userip.training.commands:fit", "Step 4: fit the recommender on the codes."),
    "export": ("userip.training.commands:export", "Step 5: write the release directory."),
    "fold-in": ("userip.training.commands:fold_in", "Infer codes of new users without training, into the bank."),
    "evaluate": ("userip.evaluation.commands:evaluate", "Test whether profiles pay on your data, against controls."),
    "publish": ("userip.ops.commands:publish", "Write a release's records to a bank and activate it."),
    "activate": ("userip.ops.commands:activate", "Make a published release the active one."),
    "rollback": ("userip.ops.commands:rollback", "Make the previous release the active one again."),
    "prune": ("userip.ops.commands:prune", "Delete releases that are neither active nor the previous one."),
    "forget": ("userip.ops.commands:forget", "Delete one person from a bank, and from release directories."),
    "inspect": ("userip.ops.commands:inspect", "Show a bank's releases, users and bytes per user."),
    "serve": ("userip.service.commands:serve", "Serve a release over HTTP."),
    "create-key": ("userip.service.commands:create_key", "Create an API key and its line for the key file."),
    "bench": ("userip.loadtests.commands:bench", "Load-test the service beside a plain DCN and KAR-style."),
    "demo": ("userip.demo.commands:demo", "Simulate, train, publish and serve, with every step explained."),
}

# Former names of commands, which still work for one release.
RENAMED: Final = {"new-key": "create-key", "language": "train-lm", "infer-new": "fold-in"}

_SUMMARY: Final = "Infer user profiles offline with a language model; serve them as a few small integers."
_INTERRUPTED: Final = 130
# Faults of the machine, not of the program: no permission, a disk that is read-only or broken.
_OUTSIDE: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


class UsageError(UserIPError):
    """The command is unknown, or its libraries are not installed."""

    exit_code = 2


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Exit codes: 0 done, 2 wrong usage or input (one line on stderr), 1 anything else."""
    # ONNX Runtime reads it once, when it is imported; transformers' bars would mix with ours.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Looking for plugins of pydantic reads the metadata of every package that is installed: a fifth of a short command.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Whatever is printed from here on, by us or by a library, passes through these.
    out, err = (cast("TextIO", PlainStream(stream)) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        code = _exit_code(sys.argv[1:] if arguments is None else arguments)
    if code:
        sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    """Run the command, and say in one line what went wrong."""
    try:
        code = _run(arguments)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except typer.TyperException as error:
        # The option parser's complaint, which names the option; a list of choices comes in several lines.
        print(f"userip: {' '.join(error.format_message().split())}", file=sys.stderr)
        code = 2
    except Exception as error:
        # Errors that a person can fix carry an exit code and a one-line message (each room's errors.py).
        code = getattr(error, "exit_code", 0)
        if code:
            print(f"userip: {one_line(error)}", file=sys.stderr)
        elif is_full(error):
            full = disk_full(getattr(error, "filename", None) or "what is written")
            print(f"userip: {one_line(full)}", file=sys.stderr)
            code = 1
        elif isinstance(error, OSError) and error.errno in _OUTSIDE:
            where = f"{error.filename}: " if error.filename else ""
            print(f"userip: {one_line(where)}{error.strerror}", file=sys.stderr)
            code = 1
        else:
            traceback.print_exc()
            code = 1
    if code == _INTERRUPTED:
        print("userip: interrupted; the same command continues where it stopped", file=sys.stderr)
    return code


def _run(arguments: list[str]) -> int:
    """Run `arguments[0]` with the rest; give its exit code."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if name == "--version":
        from importlib.metadata import version

        print(f"userip {version('userip')}")
        return 0
    if (now := RENAMED.get(name)) is not None:
        print(f"userip: warning: `userip {name}` is now `userip {now}`; the former name goes soon", file=sys.stderr)
        name = now
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}; `userip --help` lists the commands")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    settings = {"help_option_names": ["-h", "--help"]}
    app.command(name, help=COMMANDS[name][1], context_settings=settings)(_load(name))
    # A command gives nothing back; typer gives the code of a `typer.Exit` that was raised on the way.
    result = get_command(app).main(args=rest, prog_name=f"userip {name}", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _load(name: str) -> Callable[..., Any]:
    """Import the function of a command. Raises UsageError naming the extra that a missing library is in."""
    module, function = COMMANDS[name][0].split(":")
    try:
        command: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "userip":
            raise
        extra = "load" if module.startswith("userip.loadtests") else "train"
        raise UsageError(f"`userip {name}` needs {error.name}: pip install 'userip[{extra}]'") from None
    return command


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items())
    usage = "Usage: userip COMMAND [OPTIONS]\n       userip COMMAND --help"
    return "\n".join((usage, "", _SUMMARY, "", "Commands:", *lines))
