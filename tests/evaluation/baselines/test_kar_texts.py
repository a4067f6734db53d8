"""Texts say what was rated, the newest first, both sides of it, within the budget."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from userip.evaluation.baselines.kar_texts import item_texts, item_words, user_texts
from userip.training.crossfit.histories import Histories

ITEMS = pl.DataFrame(
    {
        "item_id": ["i0", "i1", "i2", "i3"],
        "title": ["Kid", "Dusk", "Race", "Moon"],
        "genres": ["Comedy|Drama", "Horror", "Comedy", None],
        "decade": ["1920s", "1920s", "2010s", None],
    }
)
ATTRIBUTES = ("genres", "decade")


def _texts(*users: Sequence[tuple[int, bool]], budget: int = 1000) -> list[str]:
    """One list of (item, liked) per user, the oldest first."""
    flat = [row for user in users for row in user]
    offsets = np.cumsum([0, *map(len, users)]).astype(np.int64)
    histories = Histories(offsets, np.array([i for i, _ in flat], np.int64), np.array([y for _, y in flat], np.bool_))
    return user_texts(histories, item_words(ITEMS, ATTRIBUTES), budget)


def test_an_item_is_its_title_and_its_attributes() -> None:
    """Every attribute that has a value, with its name."""
    texts = item_texts(ITEMS, ATTRIBUTES)
    assert texts[0] == "Kid. genres: Comedy, Drama. decade: 1920s."
    assert texts[3] == "Moon."


def test_a_user_is_told_from_the_newest_row() -> None:
    """Share of likes, values on balance liked or disliked (the clearest first), titles newest first."""
    [text] = _texts([(0, True), (1, False), (2, True), (3, True)])
    assert text == (
        "This user likes most of what they rate. Likes Comedy, 2010s, Drama. Dislikes Horror. "
        "Liked: Moon; Race, Comedy; Kid, Comedy, Drama. Disliked: Dusk, Horror."
    )


def test_the_polarity_of_every_row_is_in_the_text() -> None:
    """The same items with the other polarity read otherwise; so do users who like all or nothing."""
    all_liked, none_liked, mixed = _texts([(0, True), (1, True)], [(0, False), (1, False)], [(0, True), (1, False)])
    assert "likes almost everything" in all_liked
    assert "Disliked" not in all_liked
    assert "likes almost nothing" in none_liked
    assert "Liked" not in none_liked
    assert "Liked: Kid, Comedy, Drama. Disliked: Dusk, Horror." in mixed


def test_no_history_is_no_text() -> None:
    """A user of whom nothing is known has an empty text, which is not encoded."""
    empty, one = _texts([], [(1, True)])
    assert empty == ""
    assert one.endswith("Liked: Dusk, Horror.")


def test_the_budget_cuts_the_oldest_and_leaves_the_smaller_side_its_half() -> None:
    """Of 12 likes at 12 characters and 2 dislikes at 12, a budget of 60 keeps both dislikes and 3 likes."""
    likes = [(2, True)] * 12  # "Race, Comedy" is 12 characters long, "Dusk, Horror" too
    [text] = _texts([(1, False), *likes, (1, False)], budget=60)
    assert text.count("Race, Comedy") == 3
    assert text.count("Dusk, Horror") == 2
    [text] = _texts([(0, True), *likes], budget=25)
    assert text.count("Race, Comedy") == 2
    assert "Kid" not in text, "the oldest row is the first to go"
