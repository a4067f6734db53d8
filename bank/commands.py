"""The commands on a bank: activate, rollback, prune, inspect."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer

from bank.protocol import Bank, Leftover, ReleaseInfo
from bank.urls import open_bank, redact

BankOption = Annotated[
    str,
    typer.Option(
        "--bank",
        envvar="USERIP_BANK_URL",
        help="lmdb:///path, redis://, rediss://, unix:// or redis+cluster:// URL of the bank.",
    ),
]


@contextmanager
def _bank(url: str) -> Iterator[Bank]:
    with closing(open_bank(url, create=False)) as bank:
        yield bank


def activate(
    bank: BankOption,
    name: Annotated[str | None, typer.Argument(metavar="[RELEASE]", help="Name of a complete release.")] = None,
    release: Annotated[str | None, typer.Option("--release", help="The same as an option.")] = None,
) -> None:
    """Make a published release the active one."""
    if (name is None) == (release is None):
        raise typer.BadParameter("name one release; `userip inspect --bank URL` lists them")
    with _bank(bank) as opened:
        before = opened.active()
        wanted = name or release or ""
        opened.activate(wanted)
    print(f"active: {wanted}" + (f" (before: {before})" if before not in (None, wanted) else ""))


def rollback(bank: BankOption) -> None:
    """Make the release active that was active before."""
    with _bank(bank) as opened:
        before = opened.active()
        now = opened.rollback()
    print(f"active: {now} (before: {before})")


def prune(
    bank: BankOption,
    keep: Annotated[int, typer.Option(min=0, help="Releases behind the active one to keep for rollback.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
) -> None:
    """Delete releases that nothing points to, and what unfinished publications left."""
    with _bank(bank) as opened:
        names = opened.prune(keep, dry_run=dry_run)
    for name in names:
        print(f"{'would delete' if dry_run else 'deleted'}: {name}")
    if not names:
        print("nothing to delete")


def inspect(
    bank: BankOption,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show a bank's releases, users and bytes per user."""
    with _bank(bank) as opened:
        releases, leftovers = opened.releases(), opened.leftovers()
    if as_json:
        print(json.dumps(_as_json(bank, releases, leftovers), indent=2))
    else:
        print(_as_text(bank, releases, leftovers))


def _as_json(url: str, releases: list[ReleaseInfo], leftovers: list[Leftover]) -> dict[str, object]:
    return {
        "bank": redact(url),
        "active": next((info.name for info in releases if info.active), None),
        "previous": next((info.name for info in releases if info.previous), None),
        "releases": [dataclasses.asdict(info) | {"bytes_per_user": info.bytes_per_user} for info in releases],
        "leftovers": [dataclasses.asdict(left) for left in leftovers],
    }


def _as_text(url: str, releases: list[ReleaseInfo], leftovers: list[Leftover]) -> str:
    lines = [f"bank {redact(url)}"]
    if releases:
        head: tuple[str, ...] = ("", "release", "users", "slots", "size", "bytes/user", "created", "updated")
        rows = [head, *(_row(info) for info in releases)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        right = {2, 3, 4, 5}  # numbers
        lines += [
            "  ".join(
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
    else:
        lines.append("no releases yet; `userip publish` writes one")
    if releases and not any(info.active for info in releases):
        lines.append("no release is active; `userip activate RELEASE` makes one so")
    for left in leftovers:
        state = "being written" if left.alive else "left behind; `userip prune` deletes it"
        lines.append(f"incomplete  {left.release} (attempt {left.attempt}, {left.started[:19]}): {state}")
    return "\n".join(lines)


def _row(info: ReleaseInfo) -> tuple[str, ...]:
    per_user = info.bytes_per_user
    return (
        "active" if info.active else "previous" if info.previous else "",
        info.name,
        f"{info.users:,}",
        str(info.slots),
        "?" if info.bytes is None else f"{info.bytes / 1e6:,.1f} MB",
        "?" if per_user is None else f"{per_user:.1f}",
        info.created[:19],
        info.updated[:19],
    )
