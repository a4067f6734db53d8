"""The tokenizer that is trained on the catalogue."""

import json

from tests.training.tiny_language import ATTRIBUTES, FACETS, catalogue, tokenizer
from userip.training.language.config import HistoryConfig
from userip.training.language.item_texts import DISLIKED, LIKED
from userip.training.language.prompt_builder import tokenizer_texts
from userip.training.language.slot_initializer import GENEROSITY, UNKNOWN
from userip.training.language.tokenizer import train_tokenizer

TEXTS = tokenizer_texts(catalogue(), ATTRIBUTES, FACETS, HistoryConfig())


def _ids(text: str) -> list[int]:
    return list(tokenizer()(text, add_special_tokens=False)["input_ids"])


def test_polarity_and_slot_words_are_single_tokens() -> None:
    """One token decides liked or disliked; every slot word has an embedding of its own."""
    for word in (LIKED, DISLIKED, UNKNOWN, *GENEROSITY, ":"):
        assert len(_ids(word)) == 1, word
    assert _ids(" river: liked")[-2:] == [*_ids(":"), *_ids(LIKED)]


def test_any_text_comes_back() -> None:
    """Bytes are the alphabet: titles in any script survive, though they were not trained on."""
    for text in (" Amélie, 天空の城ラピュタ (1986)", " Käse é: disliked", " tab\tand\nline"):
        assert tokenizer().decode(_ids(text)) == text


def test_the_vocabulary_keeps_to_its_size() -> None:
    """Merges, alphabet and polarity words together are at most what was asked for."""
    assert 256 + 3 <= len(tokenizer()) <= 420
    assert len(train_tokenizer(TEXTS, 300)) <= 300


def test_training_twice_gives_the_same_bytes() -> None:
    """Ties between merges do not depend on the run."""
    first, second = (train_tokenizer(TEXTS, 420).backend_tokenizer.to_str() for _ in range(2))
    assert first == second
    assert json.loads(first)["model"]["type"] == "BPE"


def test_it_begins_with_bos() -> None:
    """The id that begins every sequence is a token of its own, never one of the text's."""
    bos = tokenizer().bos_token_id
    assert bos is not None
    assert bos not in {token for text in TEXTS for token in _ids(text)}
