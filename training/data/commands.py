"""The commands `userip prepare` and `userip simulate`."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from userip.training.data.build import BuildConfig, build_dataset
from userip.training.data.dataset import Dataset, Split
from userip.training.data.raw import RawData, RowReport
from userip.training.data.readers import FORMATS, READERS, TABLE
from userip.training.data.readers.table import TableColumns, read_any_table
from userip.training.data.simulate import SimulationConfig, simulate_raw
from userip.training.data.storage import refuse_to_overwrite
from userip.training.errors import ConfigError

Out = Annotated[Path, typer.Option(help="The data set directory to write. An earlier data set is replaced.")]
SplitRule = Annotated[
    Split,
    typer.Option(
        help="random: 8:1:1 by row. temporal: 8:1:1 by time. users: a quarter of the users held out (cold start). "
        "items: a quarter of the items held out. users-items: both."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Same seed and same input: same data set, byte for byte.")]
MinInteractions = Annotated[
    int, typer.Option(min=1, help="Drop users and items with fewer interactions, again until none is left (k-core).")
]
Name = Annotated[str | None, typer.Option(help="Name of the data set; part of every release's name.")]
C = TypeVar("C", bound=BaseModel)


def prepare(
    *,
    format: Annotated[str, typer.Option(metavar="|".join(FORMATS), help="The format of the source.")],
    source: Annotated[Path, typer.Option(help="The directory that holds the files (table: or the file itself).")],
    out: Out,
    split: SplitRule = "random",
    seed: Seed = 0,
    min_interactions: MinInteractions = 4,
    positive_above: Annotated[
        float | None, typer.Option(help="A rating above this is a positive label. Default: that of the format.")
    ] = None,
    allow_bad_rows: Annotated[
        bool, typer.Option("--allow-bad-rows", help="Continue when over 1 % of a file's rows cannot be read.")
    ] = False,
    name: Name = None,
    user_column: Annotated[str, typer.Option(help="table only: the column with the user.")] = "user_id",
    item_column: Annotated[str, typer.Option(help="table only: the column with the item.")] = "item_id",
    rating_column: Annotated[str | None, typer.Option(help="table only: the column with the rating.")] = None,
    label_column: Annotated[str | None, typer.Option(help="table only: the column with the label.")] = None,
    time_column: Annotated[str | None, typer.Option(help="table only: the column with the time.")] = None,
    title_column: Annotated[str | None, typer.Option(help="table only: the column with the title.")] = None,
    items: Annotated[Path | None, typer.Option(help="table only: the file with the catalogue.")] = None,
    items_key: Annotated[
        str | None, typer.Option(help="table only: the item's column in --items, if named differently.")
    ] = None,
    users: Annotated[Path | None, typer.Option(help="table only: the file with the user fields.")] = None,
    user_field: Annotated[list[str] | None, typer.Option(help="table only: a field of the user; repeatable.")] = None,
    item_field: Annotated[list[str] | None, typer.Option(help="table only: a field of the item; repeatable.")] = None,
    context_field: Annotated[
        list[str] | None, typer.Option(help="table only: a field of the request; repeatable.")
    ] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="table only: a column that describes items in words; repeatable.")
    ] = None,
    separator: Annotated[str | None, typer.Option(help="table only: the character between CSV cells.")] = None,
) -> None:
    """Read interactions and catalogue, clean, label and split them, and write a data set directory."""
    refuse_to_overwrite(out)
    config = _checked(
        BuildConfig, name=name or format, split=split, seed=seed, min_interactions=min_interactions,
        positive_above=positive_above,
    )  # fmt: skip
    columns = _checked(
        TableColumns, user_column=user_column, item_column=item_column, rating_column=rating_column,
        label_column=label_column, time_column=time_column, title_column=title_column, items=items,
        items_key=items_key, users=users, user_fields=tuple(user_field or ()), item_fields=tuple(item_field or ()),
        context_fields=tuple(context_field or ()), attributes=None if attribute is None else tuple(attribute),
        separator=separator,
    )  # fmt: skip
    report = RowReport()
    raw = _read(format, source, columns, report)
    report.refuse_if_many(allowed=allow_bad_rows)
    _summarise(build_dataset(raw, report, out, config), report, out)


def simulate(
    *,
    out: Out,
    users: Annotated[int, typer.Option(min=10, help="How many users.")] = 1000,
    items: Annotated[int, typer.Option(min=20, help="How many items in the catalogue.")] = 300,
    seed: Seed = 0,
    split: SplitRule = "random",
    interactions: Annotated[
        int,
        typer.Option(min=4, help="Mean number of interactions per user; everybody has at least half of it."),
    ] = 24,
    hobbies: Annotated[int, typer.Option(min=2, help="Planted hobbies: favourite genres.")] = 4,
    backgrounds: Annotated[int, typer.Option(min=2, help="Planted backgrounds: price level, generosity.")] = 3,
    effect: Annotated[
        float, typer.Option(min=0, help="Strength of the planted profile; 0: no user differs from another.")
    ] = 1.0,
    noise: Annotated[float, typer.Option(min=0, help="Standard deviation of a rating, in stars.")] = 0.5,
    wander: Annotated[float, typer.Option(min=0, max=1, help="Share of the choices that ignore the profile.")] = 0.2,
    min_interactions: MinInteractions = 4,
    name: Name = None,
) -> None:
    """Simulate a shop and users with a planted hobby and background, and write a data set directory."""
    refuse_to_overwrite(out)
    config = _checked(BuildConfig, name=name or "simulated", split=split, seed=seed, min_interactions=min_interactions)
    simulation = _checked(
        SimulationConfig,
        users=users,
        items=items,
        seed=seed,
        interactions=interactions,
        hobbies=hobbies,
        backgrounds=backgrounds,
        effect=effect,
        noise=noise,
        wander=wander,
    )
    raw, planted = simulate_raw(simulation)
    report = RowReport()
    _summarise(build_dataset(raw, report, out, config, planted), report, out)


def _read(format: str, source: Path, columns: TableColumns, report: RowReport) -> RawData:
    """Read the source by the reader of its format. Raises ConfigError for a format or column flag that it has not."""
    if format == TABLE:
        return read_any_table(source, report, columns)
    if format not in READERS:
        raise ConfigError(f"--format {format}: unknown format; known are {', '.join(FORMATS)}")
    if columns != TableColumns():
        changed = next(name for name, value in columns if value != TableColumns.model_fields[name].default)
        raise ConfigError(f"{_flag(changed)} is for --format table only; {format} has fixed columns")
    return READERS[format](source, report)


def _checked(kind: type[C], **values: object) -> C:
    """Make a `kind` of the flags' values; a value that it refuses is named as the flag."""
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{_flag(str(first['loc'][0]))}: {first['msg']}") from None


def _flag(field: str) -> str:
    name = field.removesuffix("s") if field.endswith(("_fields", "attributes")) else field
    return "--" + name.replace("_", "-")


def _summarise(dataset: Dataset, report: RowReport, out: Path) -> None:
    info, n = dataset.info, dataset.info.counts
    rule = "as labelled" if info.positive_above is None else f"rating > {info.positive_above:g}"
    lines = [
        f"{info.name}: {n['interactions']:,} interactions of {n['users']:,} users with {n['items']:,} items, "
        f"{100 * n['positives'] / n['interactions']:.0f} % positive ({rule})",
        f"  split {info.split}, seed {info.seed}: "
        + ", ".join(f"{part} {n[part]:,}" for part in ("train", "valid", "history", "test") if n[part]),
        f"  left out: {n['bad_rows']:,} unreadable rows, {n['duplicates']:,} duplicates, "
        f"{n['below_min_interactions']:,} of users or items with under {info.min_interactions} interactions",
    ]
    lines += [f"    {example}" for example in report.examples]
    if n["in_no_part"]:
        lines.append(f"  in no part: {n['in_no_part']:,} interactions of train users with held-out items")
    if n["users_without_train"] or n["items_without_train"]:
        lines.append(f"  without a train row: {n['users_without_train']:,} users, {n['items_without_train']:,} items")
    if n["items_without_title"]:
        lines.append(f"  without a title (shown by id): {n['items_without_title']:,} items")
    lines += [f"  written to {out}", f"next: userip train --dataset {out} --out RUN"]
    typer.echo("\n".join(lines))
