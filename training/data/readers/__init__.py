"""The data formats that `userip prepare` reads: one file each, and one line in `READERS`.

A new format is a file here with `read_<format>(source, report) -> RawData` and its line below; the command, its help
and the contract test follow from the dict. `table` stands apart in `readers.table`: it alone is told its columns by
flags.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from userip.training.data.raw import RawData, RowReport
from userip.training.data.readers.amazon import read_amazon
from userip.training.data.readers.movielens import read_movielens
from userip.training.data.readers.movietweetings import read_movietweetings
from userip.training.data.readers.xwines import read_xwines
from userip.training.data.readers.yelp import read_yelp

READERS: Final[dict[str, Callable[[Path, RowReport], RawData]]] = {
    "movietweetings": read_movietweetings,
    "movielens": read_movielens,
    "xwines": read_xwines,
    "amazon": read_amazon,
    "yelp": read_yelp,
}
TABLE: Final = "table"
FORMATS: Final = (*READERS, TABLE)  # what `--format` takes
