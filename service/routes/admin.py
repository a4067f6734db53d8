"""The operator's routes: reload the release directory, roll the bank back."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from structlog.typing import FilteringBoundLogger

from userip.bank.errors import BankError, BankRefusedError, BankUnavailableError, UnknownReleaseError
from userip.bank.opening import open_bank
from userip.release.manifest import RELEASE_NAME
from userip.scoring.current_release import Serving
from userip.scoring.errors import BankAwayError, ReloadError
from userip.scoring.release_sync import Reloader
from userip.service.auth.access import Guard
from userip.service.errors import ConflictError
from userip.service.routes.answers import Reloaded, RolledBack
from userip.service.routes.openapi import KEYED, problem_docs
from userip.service.settings import Settings


class ReloadOrder(BaseModel):
    """Which release to load."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: str | None = Field(
        None, pattern=RELEASE_NAME, description="one that lies in release_dir or releases_dir, by its name"
    )


class _AnyType(APIRoute):
    """A route that reads JSON whatever the client calls it, as the hot routes do: `curl -d` says that it is a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
            json = {"headers": [*headers, (b"content-type", b"application/json")]}
            return await handle(Request({**request.scope, **json}, request.receive))

        return handle_json


def admin_routes(
    serving: Serving, reloader: Reloader, guard: Guard, settings: Settings, log: FilteringBoundLogger
) -> APIRouter:
    """Only made when there are keys: without any the routes are not there at all."""
    router = APIRouter(prefix="/admin", route_class=_AnyType, dependencies=guard.needs("admin"))

    @router.post(
        "/reload",
        response_model=Reloaded,
        responses=problem_docs(400, 413, 415, 422, *KEYED, 409, 503),
        summary="Load a release",
    )
    async def reload_release(order: ReloadOrder | None = None) -> Reloaded:
        """Load beside, check, warm up and swap between two requests. A failure keeps the served release.

        Without a name the release directory is read again. Where the service follows the bank, the order holds until
        another release becomes active.
        Other workers of this service follow within a second. The key file is read again as well.
        """
        guard.refresh()
        try:
            name, before = await reloader.reload(None if order is None else order.release)
        except ReloadError as error:
            raise ConflictError(f"{serving.current.name} is still served: {error}") from None
        return Reloaded(release=name, before=before)

    @router.post(
        "/rollback",
        response_model=RolledBack,
        responses=problem_docs(*KEYED, 409, 503),
        summary="Make the bank's release before the active one active again",
    )
    async def rollback() -> RolledBack:
        """Move the bank's pointer. A service that follows it serves that release soon; another waits for a reload."""
        active = await asyncio.to_thread(_roll_back, settings)
        log.info("rolled back", active=active, served=serving.current.name)
        return RolledBack(active=active, served=serving.current.name)

    return router


def _roll_back(settings: Settings) -> str:
    bank = open_bank(settings.bank_url.get_secret_value(), create=False)
    try:
        return bank.rollback()
    except UnknownReleaseError:
        raise ConflictError("The bank has no release before the active one.") from None
    except BankRefusedError:
        raise ConflictError("The service's login may not write to the bank: roll back as the publisher.") from None
    except BankUnavailableError:
        raise BankAwayError from None
    except BankError:
        raise ConflictError("The bank did not roll back; the active release is as it was.") from None
    finally:
        bank.close()
