"""Fields: collected from train rows, row 0 for everything else, in the manifest's order."""

from pathlib import Path

import polars as pl
import pytest

from tests.training.toy import FIELDS, toy_dataset
from userip.training.data.dataset import Dataset, FieldInfo
from userip.training.errors import ConfigError, DataError, SplitMismatchError
from userip.training.recommender.encoder import FieldEncoder, rows_of_values, with_item_fields


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "set", split="users", fields=FIELDS)


def test_fields_stand_in_the_manifests_order(dataset: Dataset) -> None:
    """user, item, item fields, codes by facet, user fields, context fields; sizes count row 0."""
    encoder = FieldEncoder.fit(dataset, {"hobby": 3, "background": 2}, user_field=True)
    assert [(field.name, field.source) for field in encoder.fields] == [
        ("user_id", "user_row"),
        ("item_id", "item_row"),
        ("kind", "item"),
        ("background", "code"),
        ("hobby", "code"),
        ("age", "user"),
        ("device", "context"),
    ]
    trained = dataset.rows("train")["user_id"].n_unique()
    assert encoder.sizes == (trained + 1, 46, 4, 3, 4, 3, 3)
    without = FieldEncoder.fit(dataset, {}, user_field=False)
    assert [field.name for field in without.fields] == ["item_id", "kind", "age", "device"]


def test_only_train_rows_give_values(dataset: Dataset) -> None:
    """A held-out user has row 0 although the data set holds the user's history."""
    encoder = FieldEncoder.fit(dataset, {}, user_field=True)
    history = with_item_fields(dataset.rows("history"), dataset)
    assert (encoder.encode(history)[:, 0] == 0).all()
    train = with_item_fields(dataset.rows("train"), dataset)
    assert (encoder.encode(train)[:, :2] > 0).all()


def test_a_value_has_the_place_in_the_sorted_values_plus_one() -> None:
    """Null, the empty string and values unseen in training are told apart from known ones."""
    column = pl.Series(["b", None, "z", "a", ""])
    assert rows_of_values(column, ("", "a", "b")).tolist() == [3, 0, 0, 2, 1]
    assert rows_of_values(column, ()).tolist() == [0] * 5


def test_codes_are_placed_as_given(dataset: Dataset) -> None:
    """Code rows come from the code table; without them a recommender with codes cannot encode."""
    encoder = FieldEncoder.fit(dataset, {"hobby": 3}, user_field=False)
    rows = with_item_fields(dataset.rows("train").head(4), dataset)
    codes = encoder.encode(rows, pl.DataFrame([[0], [1], [2], [3]], orient="row").to_numpy())
    assert codes[:, encoder.positions("code")[0]].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="1 code fields"):
        encoder.encode(rows)


def test_it_reads_what_it_wrote(dataset: Dataset, tmp_path: Path) -> None:
    """The file holds everything; another split's, a missing and a broken one are refused by name."""
    encoder = FieldEncoder.fit(dataset, {"hobby": 3}, user_field=True)
    encoder.write(tmp_path)
    assert FieldEncoder.read(tmp_path, dataset.split_hash) == encoder
    with pytest.raises(SplitMismatchError, match=r"encoder\.json"):
        FieldEncoder.read(tmp_path, "0" * 64)
    with pytest.raises(DataError, match="userip fit"):
        FieldEncoder.read(tmp_path / "nowhere", dataset.split_hash)
    (tmp_path / "encoder.json").write_text('{"fields": 1}')
    with pytest.raises(DataError, match=r"encoder\.json"):
        FieldEncoder.read(tmp_path, dataset.split_hash)


def test_two_fields_of_one_name_are_refused(dataset: Dataset) -> None:
    """A facet called like a column would be one slot with two meanings."""
    with pytest.raises(ConfigError, match="age"):
        FieldEncoder.fit(dataset, {"age": 4}, user_field=True)


def test_a_field_without_a_column_is_refused(tmp_path: Path) -> None:
    """The data set's description and its tables must agree."""
    dataset = toy_dataset(tmp_path / "set", users=6)
    info = dataset.info.model_copy(update={"fields": (FieldInfo(name="gender", role="user"),)})
    with pytest.raises(DataError, match="gender"):
        FieldEncoder.fit(Dataset(dataset.path, info), {}, user_field=True)
