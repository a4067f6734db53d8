"""The commands on a bank: publish, activate, rollback, prune, forget, inspect."""

import json
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from userip.bank.errors import UnknownReleaseError
from userip.bank.opening import open_bank
from userip.bank.protocol import Bank, ReleaseInfo
from userip.bank.redaction import redact
from userip.ops import inspection
from userip.ops.forget import forget_in_release
from userip.ops.inspection import BankView, DirectoryView, ServiceView
from userip.ops.publish import publish_release, repair_release
from userip.release.manifest import FOLD_INS, read_manifest

BankOption = Annotated[
    str,
    typer.Option(
        "--bank",
        envvar="USERIP_BANK_URL",
        help="lmdb:///path, redis://, rediss://, unix:// or redis+cluster:// URL of the bank.",
    ),
]


def publish(
    release: Annotated[Path, typer.Option(help="A release directory: RUN/release.")],
    bank: BankOption,
    activate: Annotated[bool, typer.Option(help="Activate the release afterwards.")] = True,
) -> None:
    """Records beside the old ones, verified, then the pointer; of the active release, records that were lost."""
    with closing(open_bank(bank)) as opened:
        name = read_manifest(release).release
        if opened.active() == name:
            with suppress(UnknownReleaseError):  # a pointer to a release that was lost: it is written anew
                print(_complete(release, opened, name))
                return
        lost = _folded_in(opened)
        manifest = publish_release(release, opened, activate)
    state = "active" if activate else "published, not active"
    print(f"{manifest.release}: {manifest.users:,} users {state}")
    serve = f"userip serve --release {release} --bank {redact(bank)}"
    if lost and activate:
        before, count = lost
        kept = release.resolve().with_name(FOLD_INS)
        file = kept if kept.exists() else f"RUN-OF-{before}/{FOLD_INS}"
        print(
            f"warning: {count:,} users were folded in since {before} was published; those that {name} was trained "
            "without get the default profile until they are folded in again:\n"
            f"  userip fold-in --run {release.resolve().parent} --interactions {file} --bank {redact(bank)}"
        )
    print(f"next: {serve if activate else f'userip activate --bank {redact(bank)} {manifest.release}'}")


def _folded_in(bank: Bank) -> tuple[str, int] | None:
    """The active release and how many users were folded into it; None for nobody."""
    active = next((info for info in bank.releases() if info.active), None)
    return (active.name, active.folded_in) if active is not None and active.folded_in else None


def _complete(release: Path, bank: Bank, name: str) -> str:
    """Write what the bank has lost of the active release `name`, and say so."""
    # A release's name holds the hash of its content: the same name is the same records, and users may have
    # been folded in since.
    lost = bank.count_missing(name)
    if not lost:
        return f"{name}: already active, nothing to do"
    done = repair_release(release, bank)
    said = f"{name}: already active; {lost:,} records were lost, {done.written:,} written again"
    if done.gone:
        said += f"; {done.gone:,} were of users folded in since: run `userip fold-in` for them again"
    return said


def activate(
    bank: BankOption,
    name: Annotated[str | None, typer.Argument(metavar="[RELEASE]", help="Name of a complete release.")] = None,
    release: Annotated[str | None, typer.Option("--release", help="The same as an option.")] = None,
) -> None:
    """Make a published release the active one."""
    if (name is None) == (release is None):
        raise typer.BadParameter("give one release; `userip inspect --bank URL` lists them")
    with closing(open_bank(bank, create=False)) as opened:
        before, lost = opened.active(), _folded_in(opened)
        wanted = name or release or ""
        opened.activate(wanted)
    print(f"active: {wanted}" + (f" (before: {before})" if before not in (None, wanted) else ""))
    if lost and before != wanted:
        print(f"warning: {lost[1]:,} users were folded into {before}; fold in again those that {wanted} does not have")


def rollback(bank: BankOption) -> None:
    """Make the release active that was active before."""
    with closing(open_bank(bank, create=False)) as opened:
        before = opened.active()
        now = opened.rollback()
    print(f"active: {now} (before: {before})")


def prune(
    bank: BankOption,
    keep: Annotated[int, typer.Option(min=0, help="Releases to keep behind the active one, which may be served.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted (dry run).")] = False,
) -> None:
    """Delete releases that nothing points to, and what unfinished publications left."""
    with closing(open_bank(bank, create=False)) as opened:
        names = opened.prune(keep, dry_run=dry_run)
    for name in names:
        print(f"{'would delete' if dry_run else 'deleted'}: {name}")
    if not names:
        print("nothing to delete")


def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id. One that begins with -: after --.")],
    bank: BankOption,
    release: Annotated[
        list[Path] | None,
        typer.Option("--release", help="A release directory (RUN/release) to take them out of too; may be repeated."),
    ] = None,
) -> None:
    """Delete one person's records from all releases of a bank; caches and replicas drop them within seconds.

    Exit code 1 when nothing was found of them anywhere. Trained weights, data sets and backups are not touched.
    """
    with closing(open_bank(bank, create=False)) as opened:
        found = opened.forget(user)
    print(f"bank: {'deleted from ' + ', '.join(found) if found else 'no record in any release'}")
    held = bool(found)
    for directory in release or []:
        there = forget_in_release(directory, user)
        held |= there
        print(f"{directory}: {'deleted' if there else 'not in it'}")
    if not release:
        print("release directories were not touched: publishing one that has them again brings them back (--release)")
    if not held:
        raise typer.Exit(1)


def inspect(
    bank: BankOption,
    release: Annotated[Path | None, typer.Option(help="A release directory to compare with (RUN/release).")] = None,
    service: Annotated[str | None, typer.Option(help="A running service to compare with: http://host:port.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="USERIP_SERVICE_KEY", help="An API key, if the service needs one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what is active, how old and how big, and what differs.

    Exit code 1 when bank, release directory and service do not agree.
    """
    with closing(open_bank(bank, create=False)) as opened:
        held = BankView.of(redact(bank), opened)
    directory = None if release is None else DirectoryView.of(release)
    running = None if service is None else ServiceView.of(service, key)
    if as_json:
        print(json.dumps(inspection.as_json(held, directory, running), indent=2))
    else:
        print("\n".join(_as_text(held, directory, running)))
    if inspection.differences(held, directory, running):
        raise typer.Exit(1)


def _as_text(bank: BankView, directory: DirectoryView | None, service: ServiceView | None) -> list[str]:
    lines = [f"bank {bank.url}", *_releases(bank)]
    if directory is not None:
        lines.append(f"directory {directory.path}")
        if (manifest := directory.manifest) is not None:
            lines.append(f"          {manifest.release}, exported {_ago(manifest.created)}")
            size = f"{directory.bytes / 1e6:,.1f} MB"
            lines.append(f"          {manifest.users:,} users, {manifest.items:,} items, {size}, every hash agrees")
    if service is not None:
        lines.append(f"service {service.url}")
        if service.problem is None:
            loaded = inspection.age(datetime.fromtimestamp(service.serves["loaded_at"], UTC))
            ready = "not ready" if service.not_ready else "ready"
            lines.append(f"          {service.serves['release']}, loaded {loaded} ago, {ready}")
    found = inspection.differences(bank, directory, service)
    lines += [f"differs   {line}" for line in found]
    if not found and (directory is not None or service is not None):
        named = {"the directory": directory, "the service": service}
        lines.append(" and ".join(["agrees    the bank", *(name for name, view in named.items() if view is not None)]))
    return lines


def _releases(bank: BankView) -> list[str]:
    lines = []
    if bank.releases:
        head: tuple[str, ...] = ("", "release", "users", "slots", "size", "bytes/user", "created", "updated")
        rows = [head, *(_row(info) for info in bank.releases)]
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
    if (active := bank.active) is not None:
        lines.append(f"          active; published {_ago(active.created)}, records changed {_ago(active.updated)}")
    elif bank.releases:
        lines.append("no release is active; `userip activate RELEASE` makes one so")
    lines += [f"warning   {line}" for line in bank.warnings]
    for left in bank.stale:
        state = "being written" if left.alive else "left behind; `userip prune` deletes it"
        lines.append(f"incomplete  {left.release} (attempt {left.staging}, {left.started[:19]}): {state}")
    return lines


def _ago(iso: str) -> str:
    try:
        return f"{inspection.age(datetime.fromisoformat(iso))} ago"
    except ValueError:  # a manifest may say anything
        return f"at {iso!r}"


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
