"""The routes that people and probes call; plain FastAPI, since microseconds do not matter here."""

from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from userip.scoring.current_release import Serving
from userip.scoring.dataplane import Dataplane
from userip.scoring.errors import FieldProblem, InvalidRequestError
from userip.scoring.lookup import Profiles
from userip.scoring.shadow import Shadow
from userip.service.auth.access import Guard
from userip.service.errors import NotReadyError
from userip.service.http.draining import Drain
from userip.service.observe.metrics import CONTENT_TYPE, Metrics
from userip.service.observe.request_record import exchange_of
from userip.service.routes.answers import (
    FacetAnswer,
    FieldAnswer,
    Health,
    ProfileAnswer,
    ProfileCode,
    Readiness,
    ReleaseAnswer,
    ReloadAnswer,
    ShadowAnswer,
)
from userip.service.routes.openapi import KEYED, problem_docs
from userip.service.routes.probes import not_ready_reasons
from userip.service.settings import Settings


class _AnyId(Convertor[str]):
    """Like `path`, but a line end is a character like any other."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_id", _AnyId())


def open_routes(
    dataplane: Dataplane,
    serving: Serving,
    profiles: Profiles,
    metrics: Metrics,
    drain: Drain,
    guard: Guard,
    settings: Settings,
) -> APIRouter:
    """What people and probes ask. Probes and metrics never need a key: they say nothing of any user."""
    router = APIRouter()
    keyed = problem_docs(*KEYED) if guard.closed else {}

    @router.get(
        "/profile/{user_id:any_id}",
        response_model=ProfileAnswer,
        responses=problem_docs(404, 422, 503) | keyed,
        dependencies=guard.needs("profile"),
        summary="A user's codes and what they stand for",
    )
    async def profile(user_id: str, request: Request) -> ProfileAnswer:
        """Slashes and other special characters of the user id are percent-encoded."""
        _check_user_id(user_id, request.scope["raw_path"], settings.max_id_length)
        release, codes = await dataplane.profile(user_id, exchange_of(request.scope).facts)
        return ProfileAnswer(
            user_id=user_id,
            release=release,
            codes=[
                ProfileCode(
                    facet=code.facet,
                    code=code.code,
                    codebook_size=code.codebook_size,
                    description=list(code.description),
                )
                for code in codes
            ],
        )

    @router.get("/healthz", response_model=Health, summary="Alive")
    async def healthz() -> Health:
        return Health(status="ok")

    @router.get("/readyz", response_model=Readiness, responses=problem_docs(503), summary="Ready for traffic")
    async def readyz() -> Readiness:
        if drain.begun:
            raise NotReadyError([FieldProblem("service", "is stopping; it answers what still comes")])
        name = serving.current.name
        if reasons := await not_ready_reasons(profiles.reader, name, follows=settings.follows):
            raise NotReadyError(reasons)
        return Readiness(status="ready", release=name)

    for path, endpoint in (("/healthz", healthz), ("/readyz", readyz)):  # probes that ask for no body
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        summary="Prometheus metrics",
    )
    async def prometheus() -> Response:
        return Response(metrics.render(), headers={"content-type": CONTENT_TYPE})

    @router.get(
        "/release",
        response_model=ReleaseAnswer,
        responses=problem_docs(503) | keyed,
        dependencies=guard.needs(None),
        summary="What is served",
    )
    async def release() -> ReleaseAnswer:
        return _describe(serving, dataplane.shadow)

    return router


def _check_user_id(user_id: str, raw_path: bytes, max_length: int) -> None:
    try:
        # The server decodes the path leniently; an id that is not UTF-8 must not become another user's.
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        raise InvalidRequestError([FieldProblem("user_id", "is not UTF-8, percent-encoded")]) from None
    if not user_id:
        raise InvalidRequestError([FieldProblem("user_id", "must not be empty")])
    if len(user_id) > max_length:
        raise InvalidRequestError([FieldProblem("user_id", f"is longer than {max_length} characters")])
    if "\x00" in user_id:
        raise InvalidRequestError([FieldProblem("user_id", "must not contain NUL")])


def _describe_shadow(shadow: Shadow) -> ShadowAnswer:
    seen = shadow.seen
    some = seen.candidates > 0
    return ShadowAnswer(
        release=shadow.release.name,
        share=shadow.share,
        compared=seen.compared,
        dropped=seen.dropped,
        failed=seen.failed,
        candidates=seen.candidates,
        mean_difference=seen.total / seen.candidates if some else None,
        mean_absolute_difference=seen.absolute / seen.candidates if some else None,
        largest_difference=seen.largest if some else None,
    )


def _describe(serving: Serving, shadow: Shadow | None) -> ReleaseAnswer:
    release, last = serving.current, serving.last_reload
    manifest = release.manifest
    dataset = manifest.dataset.get("name")
    return ReleaseAnswer(
        release=manifest.release,
        created=manifest.created,
        loaded_at=release.loaded_at,
        dataset=dataset if isinstance(dataset, str) else None,
        users=manifest.users,
        items=manifest.items,
        fields=[
            FieldAnswer(
                name=field.name,
                source=field.source,
                size=field.size,
                values=list(field.values) if field.source == "context" and field.values is not None else None,
            )
            for field in manifest.fields
        ],
        facets=[FacetAnswer(name=facet.name, codebook_size=facet.codebook_size) for facet in manifest.facets],
        metrics=manifest.metrics,
        wanted=serving.wanted,
        last_reload=None
        if last is None
        else ReloadAnswer(ok=last.ok, at=last.at, release=last.release, problem=last.problem),
        shadow=None if shadow is None else _describe_shadow(shadow),
    )
