"""MovieLens in its three public layouts.

latest  `ratings.csv`, `movies.csv` with headers (also 20M, 25M and 32M)
1M      `ratings.dat`, `movies.dat`, `users.dat` with "::" between cells, Latin-1 (10M: UTF-8, without users)
100K    `u.data` (tabs), `u.item` ("|", one column of 0 or 1 per genre), `u.user`, Latin-1
"""

from pathlib import Path
from typing import Final

import polars as pl

from userip.training.data.dataset import FieldInfo
from userip.training.data.raw import RawData, RowReport, banded, keep_good, missing, parse_interactions, whole_number
from userip.training.data.readers.movies import ATTRIBUTES, FIELDS, movie_items
from userip.training.data.text_files import find, need, need_columns, read_csv, read_delimited
from userip.training.errors import DataError

RATING_COLUMNS: Final = ("userId", "movieId", "rating", "timestamp")
# The columns of u.item, in the order of u.genre.
GENRES_100K: Final = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
# The occupations of users.dat, by their number (README of 1M).
OCCUPATIONS_1M: Final = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer",
    "programmer", "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer",
    "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip
# The age bands of 1M; 100K states years, which fall into the same bands.
AGE_STARTS: Final = (18, 25, 35, 45, 50, 56)
AGE_BANDS: Final = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56 and over")
GENDERS: Final = {"M": "male", "F": "female"}
Table = tuple[Path, pl.DataFrame]
USER_FIELDS: Final = tuple(FieldInfo(name=name, role="user") for name in ("gender", "age", "occupation"))


def read_movielens(source: Path, report: RowReport) -> RawData:
    """Read a MovieLens directory of any public layout. A rating above 3 is positive."""
    if find(source, "ratings.csv"):
        return _latest(source, report)
    if find(source, "ratings.dat"):
        return _one_million(source, report)
    if find(source, "u.data"):
        return _hundred_thousand(source, report)
    raise DataError(f"{source}: no ratings.csv (latest), ratings.dat (1M) or u.data (100K); unpack MovieLens")


def _latest(source: Path, report: RowReport) -> RawData:
    ratings, movies = need(source, "ratings.csv"), need(source, "movies.csv")
    rows, films = read_csv(ratings, report), read_csv(movies, report)
    need_columns(rows, ratings, RATING_COLUMNS)
    need_columns(films, movies, ("movieId", "title", "genres"))
    return _data((ratings, rows), (movies, films), None, report)


def _one_million(source: Path, report: RowReport) -> RawData:
    ratings, movies = need(source, "ratings.dat"), need(source, "movies.dat")
    people = find(source, "users.dat")
    rows = read_delimited(ratings, "::", RATING_COLUMNS, report)
    films = read_delimited(movies, "::", ("movieId", "title", "genres"), report, latin1=True)
    users: Table | None = None
    if people is not None:
        columns = ("userId", "gender", "age", "occupation", "zip")
        known = read_delimited(people, "::", columns, report, latin1=True)
        codes = [str(code) for code in range(len(OCCUPATIONS_1M))]
        named = pl.col("occupation").replace_strict(codes, OCCUPATIONS_1M, default=None)
        users = people, known.with_columns(occupation=named)
    return _data((ratings, rows), (movies, films), users, report)


def _hundred_thousand(source: Path, report: RowReport) -> RawData:
    ratings, movies, people = need(source, "u.data"), need(source, "u.item"), find(source, "u.user")
    rows = read_delimited(ratings, "\t", RATING_COLUMNS, report)
    film_columns = ("movieId", "title", "release", "video", "url", *GENRES_100K)
    films = read_delimited(movies, "|", film_columns, report, latin1=True)
    flags = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES_100K[1:]]
    films = films.with_columns(genres=pl.concat_str(flags, separator="|", ignore_nulls=True))
    users: Table | None = None
    if people is not None:
        columns = ("userId", "age", "gender", "occupation", "zip")
        users = people, read_delimited(people, "|", columns, report, latin1=True)
    return _data((ratings, rows), (movies, films), users, report)


def _data(ratings: Table, movies: Table, people: Table | None, report: RowReport) -> RawData:
    interactions = parse_interactions(
        ratings[1], ratings[0], report, names=RATING_COLUMNS, time=whole_number("timestamp")
    )
    films = keep_good(movies[1], movies[0], report, [missing("movieId")])
    if people is not None:
        users = keep_good(people[1], people[0], report, [missing("userId")]).select(
            user_id=pl.col("userId").str.strip_chars(),
            gender=pl.col("gender").replace(GENDERS),
            age=banded(whole_number("age"), AGE_STARTS, AGE_BANDS),
            occupation="occupation",
        )
        users = users.unique("user_id", keep="last")
        interactions = interactions.join(users, on="user_id", how="left", maintain_order="left")
    return RawData(
        interactions=interactions,
        items=films.select(movie_items(pl.col("movieId"), pl.col("title"), pl.col("genres"))),
        sources=tuple(table[0] for table in (ratings, movies, people) if table is not None),
        positive_above=3.0,
        fields=FIELDS + (USER_FIELDS if people is not None else ()),
        attributes=ATTRIBUTES,
    )
