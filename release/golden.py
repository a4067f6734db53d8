"""Golden requests: what a release must answer, recorded by `export` and asked again whenever the release is loaded."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from userip.release.errors import ReleaseError
from userip.release.manifest import Manifest
from userip.release.tables import read_file

GOLDEN = "golden.json"
TOLERANCE = 1e-5  # of a probability: what float32 sums in another order may differ by, and no more


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GoldenRequest(_Frozen):
    """One request as it reaches the graph, without the user's id.

    row            `Record.row`; 0 = unseen when the recommender was trained
    codes          `Record.codes` (65535 = unknown), None for a user whom the bank does not hold
    probabilities  what torch gives for `items`, in their order
    """

    row: Annotated[int, Field(ge=0)]
    codes: tuple[Annotated[int, Field(ge=0, le=65535)], ...] | None
    items: tuple[str, ...]
    context: dict[str, str]
    probabilities: tuple[Annotated[float, Field(ge=0, le=1)], ...]


class Golden(_Frozen):
    """The content of `golden.json`."""

    requests: tuple[GoldenRequest, ...]


def read_golden(directory: Path, manifest: Manifest) -> Golden | None:
    """The golden requests of a release, None for one without any. Raises ReleaseError, naming what is wrong."""
    if GOLDEN not in manifest.files:
        return None
    try:
        return Golden.model_validate_json(read_file(directory, GOLDEN, manifest))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ReleaseError(f"{directory / GOLDEN}: {where}: {first['msg']}; export again") from None
