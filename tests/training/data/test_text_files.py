import gzip
from pathlib import Path

import pytest

from userip.training.data.raw import LINE, RowReport
from userip.training.data.text_files import find, need, read_csv, read_delimited
from userip.training.errors import BadRowsError, DataError


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,x\n2,y\n",
        b"a,b\n1,x\n2,y",
        b"\xef\xbb\xbfa,b\r\n1,x\r\n2,y\r\n",
        b" a , b\n1,x\n2,y\n",
        b"\na,b\n1,x\n\n2,y\n\n",
        b'"a","b"\n"1","x"\n2,y\n',
    ],
    ids=["plain", "no last line end", "mark and CRLF", "spaced names", "blank lines", "quotes"],
)
def test_csv_of_any_make_gives_the_same_rows(tmp_path: Path, content: bytes) -> None:
    """Byte order mark, CRLF, blank lines, quotes and a missing last line end make no difference."""
    report = RowReport()
    table = read_csv(written(tmp_path / "t.csv", content), report)
    assert table.drop(LINE).to_dicts() == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]
    assert report.total_bad == 0
    assert report.seen[tmp_path / "t.csv"] == 2


def test_gzipped_files_are_unpacked(tmp_path: Path) -> None:
    """`.gz` is read like the plain file; half of one is an error that names it."""
    packed = gzip.compress(b"a\n1\n" * 500)
    assert read_csv(written(tmp_path / "t.csv.gz", packed), RowReport()).height == 999
    with pytest.raises(DataError, match=r"half\.csv\.gz: damaged or incomplete gzip file"):
        read_csv(written(tmp_path / "half.csv.gz", packed[:-10]), RowReport())


def test_surplus_cells_are_bad_rows_with_their_line(tmp_path: Path) -> None:
    """A row with too many cells is left out and named; the rows around it stay."""
    report = RowReport()
    table = read_csv(written(tmp_path / "t.csv", b'a,b\n1,"x\ny"\n2,y,z\n3,w\n'), report)
    assert table.rows() == [(2, "1", "x\ny"), (5, "3", "w")]
    assert report.examples == ["t.csv:4: 3 cells, not 2"]


@pytest.mark.parametrize("blank", [b"", b"\n"], ids=["regular", "with a blank line"])
def test_missing_cells_are_null(tmp_path: Path, blank: bytes) -> None:
    """Whichever reader takes the file, a short row ends in nulls."""
    table = read_csv(written(tmp_path / "t.csv", b"a,b\n1\n" + blank + b"2,y\n"), RowReport())
    assert table["b"].to_list() == [None, "y"]


def test_lines_are_right_behind_cells_that_span_lines(tmp_path: Path) -> None:
    """A row's line is the one that it begins on."""
    table = read_csv(written(tmp_path / "t.csv", b'a,b\n1,"x\n\ny"\n2,"p\nq"\n3,z\n'), RowReport())
    assert table[LINE].to_list() == [2, 5, 7]


def test_an_open_quote_costs_every_line_that_it_swallows(tmp_path: Path) -> None:
    """The lines behind a quote that is never closed count as bad, so that the share tells the truth."""
    report = RowReport()
    content = b'a,b\n1,x\n2,"y\n' + b"3,z\n" * 10
    read_csv(written(tmp_path / "t.csv", content), report)
    assert report.total_bad >= 10
    with pytest.raises(BadRowsError):
        report.refuse_if_many(allowed=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\xff\xfea\0,\0b\0\n\0", "zero bytes"),
        (b"a,a\n1,2\n", "duplicate"),
        (b'a,b\n1,"' + b"x\n" * 100_000, "not CSV"),
    ],
    ids=["empty", "UTF-16", "repeated names", "endless quote"],
)
def test_what_is_no_csv_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """Files that cannot be a table are refused by name and reason."""
    with pytest.raises(DataError, match=rf"t\.csv.*{said}"):
        read_csv(written(tmp_path / "t.csv", content), RowReport())


def test_lines_that_are_not_utf8_are_bad_rows_or_latin1(tmp_path: Path) -> None:
    """Where Latin-1 is no option, such lines are left out by number; where it is, they are read."""
    path = written(tmp_path / "m.dat", "1::Caf\u00e9\n2::B\n".encode("latin-1"))
    report = RowReport()
    assert read_delimited(path, "::", ("id", "title"), report).rows() == [(2, "2", "B")]
    assert report.examples == ["m.dat:1: not UTF-8 at byte 7 of the line"]
    assert report.seen[path] == 2
    latin = read_delimited(path, "::", ("id", "title"), RowReport(), latin1=True)
    assert latin["title"].to_list() == ["Caf\u00e9", "B"]


def test_delimited_lines_have_exactly_the_columns(tmp_path: Path) -> None:
    """Quotes mean nothing in these formats; a line with another number of cells is a bad row."""
    report = RowReport()
    path = written(tmp_path / "r.dat", b'\xef\xbb\xbf1::"A::5\r\n2::B\r\n\r\n3::C::4::9\r\n4::D::1')
    table = read_delimited(path, "::", ("user", "item", "rating"), report)
    assert table.rows() == [(1, "1", '"A', "5"), (5, "4", "D", "1")]
    assert report.examples == ["r.dat:2: 2 cells, not 3", "r.dat:4: 4 cells, not 3"]


def test_a_file_is_found_plain_or_packed_and_only_once(tmp_path: Path) -> None:
    """`need` takes `.gz` too, says what the folder holds where the file is missing, and refuses two."""
    written(tmp_path / "other.txt", b"")
    with pytest.raises(DataError, match=r"no ratings\.csv.*it holds: other\.txt"):
        need(tmp_path, "ratings.csv")
    written(tmp_path / "ratings.csv.gz", b"")
    assert need(tmp_path, "ratings.csv").name == "ratings.csv.gz"
    written(tmp_path / "ratings.csv", b"")
    with pytest.raises(DataError, match="several files match"):
        find(tmp_path, "ratings.csv")
    with pytest.raises(DataError, match="not a directory"):
        find(tmp_path / "nowhere", "ratings.csv")


@pytest.mark.parametrize(("bad", "refused"), [(1, False), (2, True)])
def test_more_than_one_percent_of_bad_rows_is_refused(bad: int, refused: bool) -> None:
    """One row of a hundred passes, two do not, unless they are allowed."""
    report = RowReport()
    report.saw(Path("r.csv"), 100)
    report.leave_out(Path("r.csv"), [(7, "rating 'x' is not a number")] * bad)
    report.refuse_if_many(allowed=True)
    if refused:
        with pytest.raises(BadRowsError, match=r"2 of 100 rows.*r\.csv:7: rating 'x'.*--allow-bad-rows"):
            report.refuse_if_many(allowed=False)
    else:
        report.refuse_if_many(allowed=False)
