"""Bodies, decoded: those of the hot routes within the limits that are set.

The limits are settings, so the decoding types are made once per application from those of `scoring.messages`; the
OpenAPI document is made from the same types.
"""

import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from userip.scoring.errors import InvalidRequestError
from userip.scoring.messages import BatchRequest, FieldProblem, ScoreRequest
from userip.service.errors import MalformedBodyError, in_sentence
from userip.service.settings import Settings

T = TypeVar("T")


class Decoders(NamedTuple):
    """Decoders of both bodies with the limits inside, and the types that they decode to."""

    score: msgspec.json.Decoder[ScoreRequest]
    batch: msgspec.json.Decoder[BatchRequest]
    types: tuple[type[Struct], type[Struct]]


def make_decoders(settings: Settings) -> Decoders:
    """Make the decoders for these limits."""
    # NUL is checked beside the decoder (`_refuse_nul`): a pattern here would run on every id.
    text = Annotated[
        str,
        Meta(min_length=1, max_length=settings.max_id_length, extra_json_schema={"pattern": "^[^\\u0000]*$"}),
    ]
    score = msgspec.defstruct(
        "ScoreRequest",
        [
            ("user_id", text),
            ("item_ids", Annotated[list[text], Meta(max_length=settings.max_candidates)]),
            ("context", dict[text, text] | None, None),
        ],
        bases=(ScoreRequest,),
        namespace={"__doc__": ScoreRequest.__doc__},
        frozen=True,
        forbid_unknown_fields=True,
        gc=False,
    )
    batch = msgspec.defstruct(
        "BatchRequest",
        [("requests", Annotated[list[score], Meta(max_length=settings.max_batch)])],  # type: ignore[valid-type]
        bases=(BatchRequest,),
        namespace={"__doc__": BatchRequest.__doc__},
        frozen=True,
        forbid_unknown_fields=True,
        gc=False,
    )
    return Decoders(msgspec.json.Decoder(score), msgspec.json.Decoder(batch), (score, batch))


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode one body. Raises MalformedBodyError or InvalidRequestError, naming the field."""
    try:
        message = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequestError([_field_problem(str(error))]) from None
    except msgspec.DecodeError as error:
        raise MalformedBodyError(str(error).removeprefix("JSON is malformed: ")) from None
    except (UnicodeDecodeError, RecursionError):
        raise MalformedBodyError("not UTF-8, or nested too deeply") from None
    if b"\\u0000" in body:  # the only way to write NUL in JSON, and cheaper to find than to look into every id
        _refuse_nul(message)
    return message


_LONGEST_NAME = 64  # of an unknown field in an answer: the client knows what it sent
_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`(?: in `(?P<within>[^`]*)`)?)?$", re.DOTALL)
_NAMED = re.compile(r"(?:required|unknown) field `(?P<name>.*)`$", re.DOTALL)


def _field_problem(text: str) -> FieldProblem:
    """Turn "Expected `str`, got `int` - at `$.item_ids[3]`" into ("item_ids[3]", "expected str, got int")."""
    match = _AT.match(text)
    if match is None:
        return FieldProblem("body", text)
    path = match["within"] or match["path"] or "$"
    what = match["what"]
    field = path.removeprefix("$").removeprefix(".")
    if match["within"]:
        what += " for a key"
    if named := _NAMED.search(what):
        name = named["name"] if len(named["name"]) <= _LONGEST_NAME else f"{named['name'][:_LONGEST_NAME]}..."
        field = f"{field}.{name}" if field else name
        what = "missing" if "missing" in what else "no such field"
    what = what.replace("`", "")
    return FieldProblem(field or "body", in_sentence(what))


def _refuse_nul(message: object) -> None:
    problems = [FieldProblem(field, "must not contain NUL") for field, text in _texts(message) if "\x00" in text]
    if problems:
        raise InvalidRequestError(problems[:20])


def _texts(message: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a message, with the field that it stands in."""
    if isinstance(message, str):
        yield path, message
    elif isinstance(message, list):
        for number, part in enumerate(message):
            yield from _texts(part, f"{path}[{number}]")
    elif isinstance(message, dict):
        for name, value in message.items():
            yield path, name
            yield from _texts(value, f"{path}.{name}")
    elif isinstance(message, Struct):
        for name in message.__struct_fields__:
            yield from _texts(getattr(message, name), f"{path}.{name}" if path else name)
