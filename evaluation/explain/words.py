"""The vocabulary's words nearest to a soft token, and whether they are nearer than chance.

Some word is nearest to any vector, so a list of nearest words alone says nothing (docs/method.md#explaining-codes).
Each list comes with how near the nearest word of random vectors is, and the share of them that have a nearer one: the
p-value. Nearness is the cosine, which no vector's length enters, so random vectors need no rescaling to the token's
norm. Random vectors are normal with the mean and covariance of
    words     the embeddings of the words themselves: is the token nearer than any point of that cloud?
    profiles  all users' soft tokens of the facet: does this code point at a word more than a profile as such?
Where profiles start at slot words (infer.start "filler"), they lie among those words' embeddings by construction: then
the first says little, and only the second can surprise.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from userip.training.errors import ConfigError
from userip.training.language.frozen import FrozenLM
from userip.training.language.item_texts import DISLIKED, LIKED, item_strings
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.slot_initializer import filler_vocabulary

_WORD: Final = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True)
class Near:
    """A word and its cosine with the vector."""

    word: str
    cosine: float


@dataclass(frozen=True)
class Chance:
    """How near random vectors come. like: "words" or "profiles", what they are distributed as.

    p         (1 + random vectors with a nearer nearest word) / (1 + random vectors)
    adjusted  p times the number of vectors asked about together, at most 1
    """

    like: str
    p: float
    adjusted: float


@dataclass(frozen=True)
class NearestWords:
    """The words nearest to the vector `name`, nearest first, and what chance would say."""

    name: str
    words: tuple[Near, ...]
    chances: tuple[Chance, ...]


@dataclass(frozen=True, eq=False)
class WholeWords:
    """Words that are one token behind a space, and their embeddings, float32 [n, d]."""

    words: tuple[str, ...]
    embeddings: Tensor

    @classmethod
    def of(cls, lm: FrozenLM, reader: PromptBuilder) -> "WholeWords":
        """The words of catalogue, prompt and slots, of three letters or more, that the tokenizer keeps in one piece.

        Pieces of words are left out: nobody could say what they mean. Raises ConfigError where no word is left.
        """
        texts = item_strings(reader.items, reader.attributes)
        texts += [facet.phrase for facet in reader.facets]
        texts += [reader.history.task, LIKED, DISLIKED, *filler_vocabulary()]
        words, tokens = [], []
        for word in sorted({word for text in texts for word in _WORD.findall(text)}):
            ids = reader.encode(" " + word)
            if len(ids) == 1:
                words.append(word)
                tokens.append(ids[0])
        if not words:
            raise ConfigError("language.path: its tokenizer keeps no word of the catalogue in one piece")
        return cls(tuple(words), lm.table[torch.tensor(tokens)].detach().float())


def nearest_words(
    vocabulary: WholeWords,
    vectors: Tensor,
    names: Sequence[str],
    *,
    profiles: Tensor | None = None,
    draws: int = 999,
    most: int = 8,
    seed: int = 0,
) -> tuple[NearestWords, ...]:
    """Words nearest to vectors float [n, d], named by `names`, against chance.

    profiles float [N, d]: soft tokens of users, for the second kind of chance; draws: random vectors of each kind.
    Raises ValueError for another number of names than vectors.
    """
    if len(names) != len(vectors):
        raise ValueError(f"{len(names)} names for {len(vectors)} vectors")
    directions = _unit(vocabulary.embeddings)
    clouds = {"words": vocabulary.embeddings} | ({} if profiles is None else {"profiles": profiles})
    nearest = {
        like: (_unit(_like(cloud, draws, seed + number)) @ directions.T).amax(dim=1)
        for number, (like, cloud) in enumerate(clouds.items())
    }
    cosine = _unit(vectors) @ directions.T
    value, index = cosine.topk(min(most, len(directions)), dim=1)
    found = []
    for row, name in enumerate(names):
        chances = []
        for like, random in nearest.items():
            p = (1 + int((random >= value[row, 0]).sum())) / (1 + draws)
            chances.append(Chance(like, p, min(1.0, p * len(vectors))))
        near = zip(index[row].tolist(), value[row].tolist(), strict=True)
        words = tuple(Near(vocabulary.words[word], closeness) for word, closeness in near)
        found.append(NearestWords(name, words, tuple(chances)))
    return tuple(found)


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.detach().float(), dim=1)


def _like(cloud: Tensor, draws: int, seed: int) -> Tensor:
    """Normal vectors [draws, d] with the mean and covariance of cloud [n, d]."""
    points = cloud.detach().double()
    mean = points.mean(dim=0)
    values, axes = torch.linalg.eigh((points - mean).T @ (points - mean) / len(points))
    noise = torch.from_numpy(np.random.default_rng([seed, 11]).standard_normal((draws, len(values))))
    drawn: Tensor = mean + noise * values.clamp(min=0).sqrt() @ axes.T
    return drawn.float()
