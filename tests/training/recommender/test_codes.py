"""The code table: look-up by user and fold, and controls of the same shape."""

import json
from pathlib import Path

import polars as pl
import pytest

from userip.training.errors import DataError, SplitMismatchError
from userip.training.recommender.codes import CodeTable

SIZES = {"background": 3, "hobby": 40}
HASH = "ab" * 32


def _frame(users: int = 200, folds: int = 2) -> pl.DataFrame:
    """Train users have fold -1 and all folds, every tenth user is held out and has fold -1 only."""
    lines = [
        (f"u{user}", fold, user % 3, (user + fold + 1) % 40)
        for user in range(users)
        for fold in range(-1, folds if user % 10 else 0)
    ]
    kinds = {"user_id": pl.String, "fold": pl.Int8, "background": pl.UInt16, "hobby": pl.UInt16}
    return pl.DataFrame(lines, schema=kinds, orient="row")


TABLE = CodeTable(_frame(), SIZES, folds=2)


def _write(directory: Path, frame: pl.DataFrame, **summary: object) -> None:
    facets = [{"name": "hobby", "size": 40, "perplexity": 9.5}, {"name": "background", "size": 3}]
    said = {"facets": facets, "folds": 2, "fold_seed": 5, "split_hash": HASH, **summary}
    (directory / "quantize.json").write_text(json.dumps(said))
    frame.write_parquet(directory / "codes.parquet")


def test_rows_are_codes_plus_one_in_the_order_asked() -> None:
    """Facets in alphabetical order; no such user, no such fold and 65535 all give row 0."""
    frame = TABLE.frame.with_columns(
        hobby=pl.when(pl.col("user_id") == "u3").then(65535).otherwise(pl.col("hobby")).cast(pl.UInt16)
    )
    table = CodeTable(frame, SIZES)
    users = pl.Series(["u5", "nobody", "u3", "u5", "u10"])
    assert table.rows_of(users).tolist() == [[3, 6], [0, 0], [1, 0], [3, 6], [2, 11]]
    folds = pl.Series([0, 0, 1, 1, 1])  # u10 is held out: no fold 1
    assert table.rows_of(users, folds).tolist() == [[3, 7], [0, 0], [1, 0], [3, 8], [0, 0]]


def test_usage_counts_known_codes_of_the_whole_history() -> None:
    """Shares over users, not over folds; they add up to one, unused codes have zero."""
    usage = TABLE.usage("background")
    assert usage == pytest.approx([67 / 200, 67 / 200, 66 / 200])
    assert sum(TABLE.usage("hobby")) == pytest.approx(1.0)


def test_controls_have_the_same_lines_columns_and_sizes() -> None:
    """Only the codes differ, and they stay within the codebooks."""
    for kind in ("profile", "constant", "random", "shuffled"):
        control = TABLE.control(kind, seed=1)
        assert control.sizes == TABLE.sizes
        assert control.frame.schema == TABLE.frame.schema
        assert control.frame.select("user_id", "fold").equals(TABLE.frame.select("user_id", "fold"))
        assert all((control.frame[name] < size).all() for name, size in SIZES.items())


def test_constant_codes_are_the_same_for_everybody() -> None:
    """One value in all lines."""
    assert TABLE.control("constant", 1).frame["hobby"].unique().to_list() == [0]


def test_random_codes_depend_on_user_and_seed_alone() -> None:
    """All folds of a user agree; the same seed draws the same, another seed other codes; all codes occur."""
    drawn = TABLE.control("random", 1).frame
    assert drawn.group_by("user_id").agg(pl.col("hobby").n_unique())["hobby"].max() == 1
    assert drawn.equals(TABLE.control("random", 1).frame)
    assert not drawn.equals(TABLE.control("random", 2).frame)
    assert drawn["background"].n_unique() == 3


def test_shuffled_codes_are_another_users_with_all_folds() -> None:
    """A user takes one donor's codes whole; usage stays, the link to the user goes."""
    shuffled = TABLE.control("shuffled", 3).frame
    profiles = {
        tuple(codes)
        for codes in TABLE.frame.group_by("user_id").agg(pl.col("hobby").sort_by("fold"))["hobby"].to_list()
    }
    taken = shuffled.group_by("user_id").agg(pl.col("hobby").sort_by("fold"))["hobby"].to_list()
    assert all(tuple(codes) in profiles for codes in taken)
    assert shuffled["hobby"].sort().equals(TABLE.frame["hobby"].sort())
    same = shuffled["hobby"].to_numpy() == TABLE.frame["hobby"].to_numpy()
    assert same.mean() < 0.1
    assert shuffled.equals(TABLE.control("shuffled", 3).frame)


def test_it_reads_the_quantize_steps_result(tmp_path: Path) -> None:
    """Facets are sorted by name; folds, seed and what is said of each facet come along."""
    _write(tmp_path, _frame().select("hobby", "background", "fold", "user_id"))
    table = CodeTable.read(tmp_path, HASH)
    assert (list(table.sizes), table.folds, table.fold_seed) == (["background", "hobby"], 2, 5)
    assert table.frame.equals(_frame().sort("user_id", "fold"))
    assert table.facets[0]["perplexity"] == 9.5


def test_wrong_tables_are_refused_by_name(tmp_path: Path) -> None:
    """Another split, a code beyond its codebook, two codes of one user, a missing column, no file at all."""
    with pytest.raises(DataError, match=r"quantize\.json.*userip quantize"):
        CodeTable.read(tmp_path, HASH)
    _write(tmp_path, _frame())
    with pytest.raises(SplitMismatchError, match="another split"):
        CodeTable.read(tmp_path, "00" * 32)
    _write(tmp_path, _frame().with_columns(background=pl.lit(3, pl.UInt16)))
    with pytest.raises(DataError, match=r"codes\.parquet: column background: user 'u0' has code 3"):
        CodeTable.read(tmp_path, HASH)
    _write(tmp_path, pl.concat([_frame(), _frame().head(1)]))
    with pytest.raises(DataError, match="two codes"):
        CodeTable.read(tmp_path, HASH)
    _write(tmp_path, _frame().drop("hobby"))
    with pytest.raises(DataError, match="no column 'hobby'"):
        CodeTable.read(tmp_path, HASH)
