from pathlib import Path

import polars as pl
import pytest

from tests.training.data.small_sets import random_rows
from userip import commands
from userip.training.data.dataset import Dataset


def run(arguments: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """Run `userip ARGUMENTS`, check the exit code and give what it printed (errors: what it complained)."""
    try:
        commands.main(arguments.split())
        found = 0
    except SystemExit as stop:
        found = int(str(stop.code))
    printed = capsys.readouterr()
    assert found == code, printed.err
    assert printed.err.count("\n") == (1 if code else 0)
    return printed.err if code else printed.out


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV of 320 ratings."""
    frame = pl.DataFrame(random_rows(), schema=["user_id", "item_id", "rating", "time"], orient="row")
    frame.write_csv(tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


def test_prepare_says_what_it_did_and_what_comes_next(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary has users, items, interactions, positive share, parts, losses and the next command."""
    out = tmp_path / "set"
    text = run(
        f"prepare --format table --source {table} --out {out} --time-column time --positive-above 3 "
        "--split temporal --name books",
        capsys,
    )
    dataset = Dataset.open(out)
    share = 100 * dataset.info.counts["positives"] / 320
    assert text.splitlines() == [
        f"books: 320 interactions of 40 users with 20 items, {share:.0f} % positive (rating > 3)",
        "  split temporal, seed 0: train 256, valid 32, test 32",
        "  left out: 0 unreadable rows, 0 duplicates, 0 of users or items with under 4 interactions",
        "  without a title (shown by id): 20 items",
        f"  written to {out}",
        f"next: userip train --dataset {out} --out RUN",
    ]
    assert dataset.info.sources.keys() == {"rows.csv"}


def test_too_many_bad_rows_stop_prepare_unless_allowed(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four bad rows of 324 are refused with file and line; with the flag they are left out and shown."""
    with table.open("a") as file:
        file.write("u0,i0,bad,1\n" * 4)
    command = f"prepare --format table --source {table} --out {tmp_path / 'set'} --positive-above 3"
    text = run(command, capsys, code=2)
    assert "4 of 324 rows cannot be read (rows.csv:322: rating 'bad' is not a number" in text
    assert not (tmp_path / "set").exists()
    text = run(command + " --allow-bad-rows", capsys)
    assert "left out: 4 unreadable rows" in text
    assert "    rows.csv:322: rating 'bad' is not a number" in text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--format movielens --user-field age", "--user-field is for --format table only"),
        ("--format table --name b@d --positive-above 3", "--name"),
        ("--format table --separator :: --positive-above 3", "--separator"),
        ("--format table", "--positive-above"),
        ("--format table --positive-above nan", "--positive-above"),
        ("--format table --items nowhere.csv --positive-above 3", "nowhere.csv: not found"),
        ("--format nonsense", "nonsense"),
        ("--format table --split sideways", "sideways"),
        ("--format table --positive-above 3 --min-interactions 0", "min-interactions"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_flag(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, said: str
) -> None:
    """Exit code 2, one line on stderr, nothing written."""
    text = run(f"prepare {flags} --source {table} --out {tmp_path / 'set'}", capsys, code=2)
    assert text.startswith("userip: ")
    assert said in text
    assert not (tmp_path / "set").exists()


def test_prepare_leaves_a_foreign_folder_alone(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--out on a folder with other files in it is refused before anything is read."""
    text = run(f"prepare --format table --source {table} --out {tmp_path} --positive-above 3", capsys, code=2)
    assert "not a data set directory" in text
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_simulate_writes_a_data_set_with_planted_profiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command's flags reach the simulation, and held-out users are said to have no train rows."""
    out = tmp_path / "sim"
    text = run(f"simulate --out {out} --users 80 --items 60 --seed 7 --split users --interactions 12", capsys)
    dataset = Dataset.open(out)
    assert dataset.info.counts["users"] == 80
    assert dataset.info.counts["items"] == 60
    assert dataset.info.seed == 7
    assert "without a train row: 20 users, 0 items" in text
    assert pl.read_parquet(out / "planted.parquet").height == 80
    assert "--hobbies 20: at most 8" in run(f"simulate --out {out} --hobbies 20", capsys, code=2)
