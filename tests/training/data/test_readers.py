"""Each public format: its cells, its odd files, and what is left out."""

import gzip
import json
from pathlib import Path

import pytest

from userip.training.data.raw import RawData, RowReport
from userip.training.data.readers import READERS
from userip.training.errors import DataError


def write(directory: Path, **files: str) -> Path:
    """Write files; `__` in a name stands for a dot."""
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(content, encoding="utf-8")
    return directory


def read(form: str, source: Path) -> tuple[RawData, RowReport]:
    report = RowReport()
    return READERS[form](source, report), report


def test_movietweetings(tmp_path: Path) -> None:
    """Ids keep their leading zeros, genres their bars; the decade follows from the title's year."""
    write(
        tmp_path,
        ratings__dat="1::0104257::8::1364690142\n2::1259521::0::1364118447\n",
        movies__dat="0104257::A Few Good Men (1992)::Crime|Drama\n1259521::Le d\u00e9sert rouge (2011)::\n",
    )
    raw, report = read("movietweetings", tmp_path)
    assert report.total_bad == 0
    assert raw.interactions.rows() == [("1", "0104257", 8.0, 1364690142), ("2", "1259521", 0.0, 1364118447)]
    assert raw.items.rows() == [
        ("0104257", "A Few Good Men (1992)", "Crime|Drama", "1992", "1990s"),
        ("1259521", "Le d\u00e9sert rouge (2011)", None, "2011", "2010s"),
    ]
    assert raw.positive_above == 6.0
    assert raw.attributes == ("genres", "decade")


def test_rows_that_do_not_parse_are_named(tmp_path: Path) -> None:
    """Every kind of bad cell is reported with file, line, column and content."""
    bad = [
        "1::a::ten::5",
        "1::a::nan::5",
        "1::a::inf::5",
        "::a::5::5",
        "1:: ::5::5",
        "1::a::5::soon",
        "1::a::5",
    ]
    write(tmp_path, ratings__dat="1::a::5::6\n" + "\n".join(bad), movies__dat="a::A (2000)::Drama\n")
    report = RowReport()
    raw = READERS["movietweetings"](tmp_path, report)
    assert raw.interactions.height == 1
    assert report.total_bad == len(bad)
    assert report.examples == [
        "ratings.dat:8: 3 cells, not 4",
        "ratings.dat:2: rating 'ten' is not a number",
        "ratings.dat:3: rating 'nan' is not a number",
        "ratings.dat:4: rating 'inf' is not a number",
        "ratings.dat:5: user id is empty",
    ]


def test_movielens_latest(tmp_path: Path) -> None:
    """Quoted titles with commas, titles without a year, and films without genres."""
    write(
        tmp_path,
        ratings__csv="userId,movieId,rating,timestamp\n1,11,3.5,964982703\n",
        movies__csv=(
            'movieId,title,genres\n11,"American President, The (1995)",Comedy|Drama\n'
            "40697,Babylon 5,(no genres listed)\n7,Elite (2007-) ,Drama\n"
        ),
    )
    raw, _ = read("movielens", tmp_path)
    assert raw.interactions.rows() == [("1", "11", 3.5, 964982703)]
    assert raw.items.rows() == [
        ("11", "American President, The (1995)", "Comedy|Drama", "1995", "1990s"),
        ("40697", "Babylon 5", None, None, None),
        ("7", "Elite (2007-)", "Drama", "2007", "2000s"),
    ]
    assert [field.role for field in raw.fields] == ["item"]


def test_movielens_100k(tmp_path: Path) -> None:
    """Tabs, genre flags, Latin-1, and the user's gender, age band and occupation."""
    flags = ["0"] * 19
    flags[3] = flags[5] = "1"
    film = "1|Le caf\u00e9 (1995)|01-Jan-1995||http://x|" + "|".join(flags) + "\n"
    unknown = "2|unknown||||1" + "|0" * 18 + "\n"
    (tmp_path / "u.item").write_bytes((film + unknown).encode("latin-1"))
    write(tmp_path, u__data="196\t1\t3\t881250949\n", u__user="196|49|M|writer|55105\n")
    raw, report = read("movielens", tmp_path)
    assert report.total_bad == 0
    assert raw.interactions.rows() == [("196", "1", 3.0, 881250949, "male", "45-49", "writer")]
    assert raw.items.select("title", "genres").rows() == [
        ("Le caf\u00e9 (1995)", "Animation|Comedy"),
        ("unknown", None),
    ]
    assert [(field.name, field.role) for field in raw.fields][1:] == [
        ("gender", "user"),
        ("age", "user"),
        ("occupation", "user"),
    ]


def test_movielens_1m(tmp_path: Path) -> None:
    """Latin-1 films and the coded occupation and age of `users.dat`; a user who is not there has nulls."""
    (tmp_path / "movies.dat").write_bytes("1::Caf\u00e9 (2000)::Drama\n".encode("latin-1"))
    write(
        tmp_path,
        ratings__dat="1::1::5::978300760\n2::1::4::978300761\n",
        users__dat="1::F::1::10::48067\n",
    )
    raw, _ = read("movielens", tmp_path)
    assert raw.interactions.rows() == [
        ("1", "1", 5.0, 978300760, "female", "under 18", "K-12 student"),
        ("2", "1", 4.0, 978300761, None, None, None),
    ]
    assert raw.items["title"].to_list() == ["Caf\u00e9 (2000)"]


def test_movielens_of_no_known_layout(tmp_path: Path) -> None:
    """An empty folder is refused with the three layouts."""
    with pytest.raises(DataError, match=r"ratings\.csv \(latest\), ratings\.dat \(1M\) or u\.data \(100K\)"):
        read("movielens", tmp_path)


def test_xwines(tmp_path: Path) -> None:
    """Python-style lists become words, the winery joins the title, and "N.V." harms nobody."""
    write(
        tmp_path,
        XWines_Test_1K_ratings__csv=(
            "RatingID,UserID,WineID,Vintage,Rating,Date\n143,1356810,100001,N.V.,4.5,2021-11-02 20:52:59\n"
        ),
        XWines_Test_100_wines__csv=(
            "WineID,WineName,Type,Grapes,Harmonize,Body,Acidity,Country,RegionName,WineryName\n"
            "100001,Espumante Moscatel,Sparkling,['Muscat/Moscato'],\"['Pork', 'Rich Fish']\",Light-bodied,"
            "High,Brazil,Serra Ga\u00facha,Casa Perini\n"
            '100002,Perini Nero,Red,"[""Nero d\'Avola"", \'Merlot\']",[],Full-bodied,'
            "Low,Italy,Sicilia,Perini\n"
        ),
    )
    raw, report = read("xwines", tmp_path)
    assert report.total_bad == 0
    assert raw.interactions.rows() == [("1356810", "100001", 4.5, 1635886379)]
    assert raw.items["title"].to_list() == ["Casa Perini Espumante Moscatel", "Perini Nero"]
    assert raw.items["Grapes"].to_list() == ["Muscat/Moscato", "Nero d'Avola|Merlot"]
    assert raw.items["Harmonize"].to_list() == ["Pork|Rich Fish", ""]
    assert raw.attributes[:3] == ("Type", "Grapes", "Country")


def test_a_missing_column_is_named_with_those_that_exist(tmp_path: Path) -> None:
    """The error says which column is missing and which there are."""
    write(tmp_path, ratings__csv="userId,movieId,stars,timestamp\n", movies__csv="movieId,title,genres\n")
    with pytest.raises(DataError, match=r"ratings\.csv: no column 'rating'; it has: userId, movieId, stars, timestamp"):
        read("movielens", tmp_path)


def test_amazon(tmp_path: Path) -> None:
    """JSON reviews, metadata as Python literals; prices become words; products nobody reviewed stay out."""
    reviews = [
        {
            "reviewerID": "A1",
            "asin": "B1",
            "overall": 5.0,
            "unixReviewTime": 1400000000,
            "reviewText": "Good",
        },
        {"reviewerID": "A2", "asin": "B2", "overall": 2.0, "unixReviewTime": 1400000001, "helpful": [0, 1]},
    ]
    products = [
        "{'asin': 'B1', 'title': \"Men's shoe &amp; sock\", 'price': 59.99, 'brand': 'Acme', "
        "'categories': [['Clothing, Shoes & Jewelry', 'Men'], ['Men', 'Shoes']], 'related': None}",
        "{'asin': 'B9', 'title': 'never reviewed'}",
        json.dumps({"asin": "B2", "title": "Sock", "price": "$5.00 - $9.99", "category": ["Clothing", "Sock"]}),
        json.dumps({"asin": "B3", "title": "Hat", "price": "\n.bad { color: red }", "brand": ""}),
    ]
    with gzip.open(tmp_path / "reviews_Clothing_5.json.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, [*reviews, {**reviews[0], "asin": "B3"}])))
    with gzip.open(tmp_path / "meta_Clothing.json.gz", "wt") as file:
        file.write("\n".join(products))
    raw, report = read("amazon", tmp_path)
    assert report.total_bad == 0
    assert raw.interactions.rows()[:2] == [("A1", "B1", 5.0, 1400000000), ("A2", "B2", 2.0, 1400000001)]
    assert raw.items.select("item_id", "title", "categories", "brand", "price").rows() == [
        ("B1", "Men's shoe & sock", "Clothing, Shoes & Jewelry|Men|Shoes", "Acme", "expensive"),
        ("B2", "Sock", "Clothing|Sock", None, "cheap"),
        ("B3", "Hat", None, "", None),
    ]


def test_amazon_lines_that_are_no_objects_are_bad_rows(tmp_path: Path) -> None:
    """Neither JSON nor a literal, code, a missing key, a rating that is no number: each named by its line."""
    good = '{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1400000000}'
    bad = [
        '{"reviewerID": "A1", ',
        "__import__('os').getcwd()",
        '{"reviewerID": "A1", "asin": "B1", "unixReviewTime": 1400000000}',
        '{"reviewerID": "A1", "asin": "B1", "overall": NaN, "unixReviewTime": 1400000000}',
        "[1, 2]",
    ]
    write(tmp_path, reviews_x__json="\n".join([good, *bad]), meta_x__json='{"asin": "B1"}\n')
    raw, report = read("amazon", tmp_path)
    assert raw.interactions.height == 1
    assert report.total_bad == len(bad)
    assert [example.split(": ")[0] for example in report.examples] == [f"reviews_x.json:{n}" for n in range(2, 7)]
    assert "missing required field `overall`" in report.examples[2]


def test_yelp(tmp_path: Path) -> None:
    """Categories split at commas, both date forms; the sums over all reviews stay out of the catalogue."""
    write(
        tmp_path,
        yelp_academic_dataset_business__json=(
            '{"business_id": "b1", "name": "Caf\u00e9 Uno", "city": "Reno", "state": "NV", "stars": 4.5, '
            '"categories": "Coffee & Tea, Bakeries", "attributes": {"WiFi": "free"}}\n'
            '{"business_id": "b2", "name": "Due", "city": "Reno", "state": "NV", "categories": null}\n'
        ),
        yelp_academic_dataset_review__json=(
            '{"review_id": "r1", "user_id": "u1", "business_id": "b1", "stars": 4, "date": "2016-05-28"}\n'
            '{"user_id": "u1", "business_id": "b2", "stars": 1.0, "date": "2016-05-28 00:00:10"}\n'
            '{"user_id": "u1", "business_id": "b2", "stars": 1.0, "date": "yesterday"}\n'
        ),
    )
    raw, report = read("yelp", tmp_path)
    assert raw.interactions.rows() == [("u1", "b1", 4.0, 1464393600), ("u1", "b2", 1.0, 1464393610)]
    assert raw.items.rows() == [
        ("b1", "Caf\u00e9 Uno", "Coffee & Tea|Bakeries", "Reno", "NV"),
        ("b2", "Due", None, "Reno", "NV"),
    ]
    assert report.examples == ["yelp_academic_dataset_review.json:3: date 'yesterday' is not a time"]
