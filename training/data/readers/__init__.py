"""One file per public format. To add one: write `read_<format>` and name it in `READERS`.

`table` stands apart in `training.data.readers.table`: it alone is told its columns.
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
