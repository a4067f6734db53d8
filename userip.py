"""The console script `userip`: a table of commands, each imported only when it is called."""

import importlib
import sys
import traceback
from typing import Final

import click
from typer.main import get_command

# command -> (module:function, one line of help). Modules are imported on use: `serve` never loads torch.
COMMANDS: Final = {
    "simulate": ("training.data.commands:simulate", "Write a simulated data set with planted user profiles."),
    "prepare": ("training.data.commands:prepare", "Read, clean, label and split interactions into a data set."),
    "train": ("training.commands:train", "Run language, infer, quantize, fit and export in turn."),
    "language": ("training.commands:language", "Step 1: train or copy the frozen language model."),
    "infer": ("training.commands:infer", "Step 2: infer soft-prompt profiles for every user."),
    "quantize": ("training.commands:quantize", "Step 3: codebooks, EM rounds and codes."),
    "fit": ("training.commands:fit", "Step 4: fit the recommender on the codes."),
    "export": ("training.commands:export", "Step 5: write the release directory."),
    "infer-new": ("training.commands:infer_new", "Fold in new or changed users and upsert them into the bank."),
    "evaluate": ("training.commands:evaluate", "Compare the codes with their controls on one data set."),
    "publish": ("training.commands:publish", "Write a release's records into a bank, then activate it."),
    "activate": ("bank.commands:activate", "Move the active pointer to a published release."),
    "rollback": ("bank.commands:rollback", "Move the active pointer back to the release before."),
    "prune": ("bank.commands:prune", "Delete releases that nothing points to."),
    "inspect": ("bank.commands:inspect", "Show a bank's releases, users and bytes per user."),
    "serve": ("service.commands:serve", "Serve a release over HTTP."),
    "demo": ("training.demo:demo", "Go from nothing to a running service that answers, explained."),
}


class _Commands(click.Group):
    """A group whose commands are imported when they run, not when the help is printed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        import typer

        module, function = COMMANDS[cmd_name][0].split(":")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        try:
            target = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("bank", "models", "training", "service", "loadtests"):
                raise
            extra = "load" if module.startswith("loadtests") else "train"
            raise click.UsageError(
                f"`userip {cmd_name}` needs {error.name}: pip install 'userip[{extra}]'"
            ) from None
        app.command(cmd_name, help=COMMANDS[cmd_name][1])(target)
        return get_command(app)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="userip")
def _cli() -> None:
    """Infer user profiles offline with a language model; serve them online as a few small integers."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Exit codes: 0 done, 2 wrong usage or input (one line on stderr), 1 anything else."""
    try:
        _cli.main(args=arguments, prog_name="userip", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        print("userip: interrupted; the same command continues where it stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # Errors that a person can act on carry their exit code and a one-line message (see each room's errors.py).
        code = getattr(error, "exit_code", None)
        if code is None:
            traceback.print_exc()
            sys.exit(1)
        print(f"userip: {error}", file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    main()
