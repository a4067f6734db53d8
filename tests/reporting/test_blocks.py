"""Blocks whose parts do not fit each other."""

from collections.abc import Callable

import pytest

from userip.reporting.blocks import Block, CodeMap, Column, Lines, Reference, Series, Table


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Table("t", (Column("a"), Column("b"), Column("c")), (("x", 1.0),)),
            "t: row 0 has 2 cells for 3 columns",
        ),
        (lambda: Lines("t", "x", "y", (Series("s", (1, 2), (1,)),)), "series s: lengths differ"),
        (lambda: Lines("t", "x", "y", (Series("s", (1,), (1,), (0,)),)), "series s: lengths differ"),
        (lambda: Lines("t", "x", "y", (Series("s", (0,), (1,)),), log_x=True), "t: a logarithmic axis"),
        (lambda: Lines("t", "x", "y", (Series("s", ("a",), (1,)),), log_x=True), "t: a logarithmic axis"),
        (lambda: Lines("t", "x", "y", (Series("s", (1,), (0,)),), log_y=True), "t: a logarithmic axis"),
        (lambda: Lines("t", "x", "y", (), references=(Reference("r", 0),), log_y=True), "t: a logarithmic axis"),
        (lambda: CodeMap("t", (1,), (1,), ()), "t: 1 x, 1 y and 0 codes"),
        (lambda: CodeMap("t", (1,), (1,), (-1,)), "t: a code is below 0"),
    ],
)
def test_a_block_refuses_parts_that_do_not_fit(make: Callable[[], Block], message: str) -> None:
    """Where it is made, naming itself: in a drawing the mistake would be a picture."""
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
