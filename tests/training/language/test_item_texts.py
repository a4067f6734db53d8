"""How an item reads, and which of its tokens weigh what."""

import polars as pl
import pytest

from userip.training.language.item_texts import ItemTexts, build_item_texts, item_strings


def _encode(text: str) -> list[int]:
    """One token per character: what stands where can be counted by hand."""
    return [ord(character) for character in text]


def _texts(lines: list[str], **settings: bool | int) -> ItemTexts:
    chosen = {"item_tokens": 5, "polarity": True} | settings
    return build_item_texts(
        lines,
        _encode,
        item_tokens=int(chosen["item_tokens"]),
        polarity=bool(chosen["polarity"]),
        title_weight=0.1,
        polarity_weight=5.0,
    )


def _read(texts: ItemTexts, side: int, row: int) -> str:
    return "".join(map(chr, texts.tokens[side, row, : texts.length[side, row]]))


def test_a_line_is_title_and_attributes() -> None:
    """Several values of one attribute are parted; missing ones are left out."""
    items = pl.DataFrame({"title": ["Heat", "Up"], "genres": ["Crime|Drama", None], "decade": ["1990s", ""]})
    assert item_strings(items, ["genres", "decade"]) == [" Heat, Crime, Drama, 1990s", " Up"]
    assert item_strings(items, []) == [" Heat", " Up"]


def test_polarity_stands_behind_the_cut_text() -> None:
    """The text is cut to `item_tokens`; the polarity word is never cut away."""
    texts = _texts([" Heat, Crime", " Up"])
    assert [_read(texts, side, row) for side in (0, 1) for row in (0, 1)] == [
        " Heat: disliked", " Up: disliked", " Heat: liked", " Up: liked",
    ]  # fmt: skip


def test_weights_follow_the_words() -> None:
    """Title tokens and the colon weigh as title, polarity tokens as polarity, padding nothing; masks agree."""
    texts = _texts([" Heat, Crime", " Up"])
    for side, word in ((0, " disliked"), (1, " liked")):
        for row in (0, 1):
            length = int(texts.length[side, row])
            body = length - len(word)
            assert texts.weight[side, row, :body].tolist() == pytest.approx([0.1] * body)
            assert texts.weight[side, row, body:length].tolist() == [5.0] * len(word)
            assert texts.weight[side, row, length:].sum() == 0
            assert texts.polar[side, row].nonzero()[0].tolist() == list(range(body, length))


def test_without_polarity_both_sides_read_the_same() -> None:
    """A polarity-free history holds titles alone."""
    texts = _texts([" Heat", " Up"], polarity=False)
    assert (texts.tokens[0] == texts.tokens[1]).all()
    assert not texts.polar.any()
    assert _read(texts, 1, 0) == " Heat"


def test_a_tokenizer_that_merges_over_the_colon_is_served() -> None:
    """Where ": liked" is one token, that token is the polarity: nothing is taken for the title's."""

    def merging(text: str) -> list[int]:
        return [{": liked": 900, ": disliked": 901}[text]] if text in (": liked", ": disliked") else _encode(text)

    texts = build_item_texts([" Up"], merging, item_tokens=9, polarity=True, title_weight=0.1, polarity_weight=5.0)
    assert texts.tokens[:, 0, 3].tolist() == [901, 900]
    assert texts.polar[:, 0, 3].all()
    assert not texts.polar[:, 0, :3].any()


def test_an_empty_catalogue() -> None:
    """No items, no texts, no error."""
    assert _texts([]).length.shape == (2, 0)
