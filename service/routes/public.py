"""The routes that people and probes call; plain FastAPI, since microseconds do not matter here."""

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from userip.scoring.errors import InvalidRequestError
from userip.scoring.messages import (
    FacetAnswer,
    FieldAnswer,
    FieldProblem,
    Health,
    ProfileAnswer,
    Readiness,
    ReleaseAnswer,
)
from userip.service.errors import NotReadyError
from userip.service.observe.metrics import CONTENT_TYPE
from userip.service.observe.request_record import record_of
from userip.service.parts import Parts
from userip.service.routes.openapi import KEYED, answer_docs
from userip.service.routes.probes import not_ready_reasons


class _AnyId(Convertor[str]):
    """Like `path`, but a line end is a character like any other."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_id", _AnyId())


def json_answer(message: msgspec.Struct) -> Response:
    """A message of the API as an answer."""
    return Response(msgspec.json.encode(message), media_type="application/json")


@dataclass(frozen=True)
class PublicRoutes:
    """What people and probes ask. Probes and metrics never need a key: they say nothing of any user."""

    parts: Parts

    def router(self) -> APIRouter:
        """The routes and what each of them can answer."""
        router = APIRouter(default_response_class=Response)
        auth = self.parts.auth
        keyed = KEYED if auth.closed else ()
        router.add_api_route(
            "/profile/{user_id:any_id}",
            self.profile,
            responses=answer_docs(ProfileAnswer, 404, 422, 503, *keyed),
            dependencies=auth.needs("profile"),
            summary="A user's codes and what they stand for",
        )
        router.add_api_route("/healthz", self.healthz, responses=answer_docs(Health), summary="Alive")
        router.add_api_route("/readyz", self.readyz, responses=answer_docs(Readiness, 503), summary="Ready for traffic")
        for path, endpoint in (("/healthz", self.healthz), ("/readyz", self.readyz)):  # probes that ask for no body
            router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
        text: dict[int | str, Any] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
        router.add_api_route("/metrics", self.prometheus, responses=text, summary="Prometheus metrics")
        router.add_api_route(
            "/release",
            self.release,
            responses=answer_docs(ReleaseAnswer, 503, *keyed),
            dependencies=auth.needs(None),
            summary="What is served",
        )
        return router

    async def profile(self, user_id: str, request: Request) -> Response:
        """Slashes and other special characters of the user id are percent-encoded."""
        _check_user_id(user_id, request.scope["raw_path"], self.parts.settings.max_id_length)
        return json_answer(await self.parts.dataplane.profile(user_id, record_of(request.scope)))

    async def healthz(self) -> Response:
        """The process answers."""
        return json_answer(Health("ok"))

    async def readyz(self) -> Response:
        """The release is loaded, and the bank holds its records."""
        if self.parts.drain.begun:
            raise NotReadyError([FieldProblem("service", "is stopping; it still answers")])
        current = self.parts.current
        if reasons := await not_ready_reasons(self.parts.profiles.reader, current.release.name):
            raise NotReadyError(reasons)
        return json_answer(Readiness("ready", current.release.name, current.outdated))

    async def prometheus(self) -> Response:
        """In the text format, of all workers."""
        return Response(self.parts.metrics.recent(time.monotonic()), headers={"content-type": CONTENT_TYPE})

    async def release(self) -> Response:
        """The served release, the last reload, and the shadow."""
        release = self.parts.current.release
        manifest = release.manifest
        dataset = manifest.dataset.get("name")
        answer = ReleaseAnswer(
            release=manifest.release,
            created=manifest.created,
            loaded_at=release.loaded_at,
            dataset=dataset if isinstance(dataset, str) else None,
            users=manifest.users,
            items=manifest.items,
            fields=[
                FieldAnswer(
                    field.name,
                    field.source,
                    field.size,
                    list(field.values) if field.source == "context" and field.values is not None else None,
                )
                for field in manifest.fields
            ],
            facets=[FacetAnswer(facet.name, facet.codebook_size) for facet in manifest.facets],
            metrics=manifest.metrics,
            wanted=self.parts.current.wanted,
            last_reload=self.parts.current.last_reload,
            shadow=None if self.parts.shadow is None else self.parts.shadow.describe(),
        )
        return json_answer(answer)


def _check_user_id(user_id: str, raw_path: bytes, max_length: int) -> None:
    problem = None
    try:
        # The server decodes the path leniently; an id that is not UTF-8 must not become another user's.
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        problem = "is not UTF-8, percent-encoded"
    if not user_id:
        problem = "must not be empty"
    elif len(user_id) > max_length:
        problem = f"is longer than {max_length} characters"
    elif "\x00" in user_id:
        problem = "must not contain NUL"
    if problem is not None:
        raise InvalidRequestError([FieldProblem("user_id", problem)])
