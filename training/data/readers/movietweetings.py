"""MovieTweetings snapshots, "::" between cells.

`ratings.dat` has user, movie, rating (0-10), unix time; `movies.dat` id, title (year), genres joined by "|".
"""

from pathlib import Path

import polars as pl

from userip.training.data.raw import RawData, RowReport, keep_good, missing, parse_interactions, whole_number
from userip.training.data.readers.movies import ATTRIBUTES, FIELDS, movie_items
from userip.training.data.text_files import need, read_delimited


def read_movietweetings(source: Path, report: RowReport) -> RawData:
    """Read a snapshot directory of MovieTweetings. A rating above 6 is positive."""
    ratings, movies = need(source, "ratings.dat"), need(source, "movies.dat")
    names = ("user id", "movie id", "rating", "time")
    rows = read_delimited(ratings, "::", names, report)
    films = read_delimited(movies, "::", ("movie id", "title", "genres"), report)
    films = keep_good(films, movies, report, [missing("movie id")])
    return RawData(
        interactions=parse_interactions(rows, ratings, report, names=names, time=whole_number("time")),
        items=films.select(movie_items(pl.col("movie id"), pl.col("title"), pl.col("genres"))),
        sources=(ratings, movies),
        positive_above=6.0,
        fields=FIELDS,
        attributes=ATTRIBUTES,
    )
