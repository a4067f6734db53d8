"""The three real sets, where they are at hand: in USERIP_TEST_DATA or in `../shared/data`."""

import os
from pathlib import Path

import pytest

from userip.training.data.build import BuildConfig, build_dataset
from userip.training.data.raw import RowReport
from userip.training.data.readers import READERS

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("USERIP_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.parametrize(
    ("form", "folder", "expected"),
    [
        ("movietweetings", "movietweetings-100k", (73_504, 5_182, 2_949, 72)),
        ("xwines", "xwines-slim", (149_549, 10_286, 942, 58)),
        ("movielens", "ml-latest-small", (92_394, 610, 4_180, 62)),
    ],
)
def test_the_published_counts_are_met_exactly(
    tmp_path: Path, form: str, folder: str, expected: tuple[int, int, int, int]
) -> None:
    """Interactions, users, items and positive percent are those of the sets' description; no row is bad."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is not here")
    report = RowReport()
    raw = READERS[form](DATA / folder, report)
    dataset = build_dataset(raw, report, tmp_path / "set", BuildConfig(name=form))
    counts = dataset.info.counts
    percent = round(100 * counts["positives"] / counts["interactions"])
    assert (counts["interactions"], counts["users"], counts["items"], percent) == expected
    assert counts["bad_rows"] == counts["items_without_title"] == counts["users_without_train"] == 0
    assert dataset.items.select(*dataset.info.attributes).null_count().sum_horizontal()[0] < 0.02 * dataset.items.height
