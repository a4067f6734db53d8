"""The operator's routes: reload the release directory, roll the bank back."""

import asyncio
from contextlib import closing
from dataclasses import dataclass

import msgspec
from fastapi import APIRouter, Request, Response

from userip.bank.errors import BankError, BankRefusedError, BankUnavailableError, UnknownReleaseError
from userip.bank.opening import open_bank
from userip.scoring.errors import BankAwayError, ReloadError
from userip.scoring.messages import Reloaded, ReloadRequest, RolledBack
from userip.service.errors import AdminOffError, ConflictError
from userip.service.parts import Parts
from userip.service.routes.decoding import decode
from userip.service.routes.openapi import KEYED, answer_docs, body_docs
from userip.service.routes.public import json_answer

_RELOAD = msgspec.json.Decoder(ReloadRequest | None)


@dataclass(frozen=True)
class AdminRoutes:
    """Only made when there are keys: without any, `admin_off` answers."""

    parts: Parts

    def router(self) -> APIRouter:
        """The routes and what each of them can answer."""
        router = APIRouter(
            prefix="/admin", dependencies=self.parts.auth.needs("admin"), default_response_class=Response
        )
        router.add_api_route(
            "/reload",
            self.reload,
            name="reload_release",
            methods=["POST"],
            responses=answer_docs(Reloaded, 400, 413, 415, 422, *KEYED, 409, 503),
            openapi_extra=body_docs(ReloadRequest),
            summary="Load a release",
        )
        router.add_api_route(
            "/rollback",
            self.rollback,
            methods=["POST"],
            responses=answer_docs(RolledBack, *KEYED, 409, 503),
            summary="Make the bank's release before the active one active again",
        )
        return router

    async def reload(self, request: Request) -> Response:
        """Load beside, check, warm up and swap between two requests. A failure keeps the served release.

        Without a name the release directory is read again. Where the service follows the bank, the order holds until
        another release becomes active.
        Other workers of this service follow within a second. The key file is read again as well.
        """
        body = await request.body()
        order = decode(_RELOAD, body) if body else None
        self.parts.auth.refresh()
        try:
            name, before = await self.parts.sync.reload(None if order is None else order.release)
        except ReloadError as error:
            raise ConflictError(f"{self.parts.current.release.name} is still served: {error}") from None
        return json_answer(Reloaded(name, before))

    async def rollback(self) -> Response:
        """Move the bank's pointer. A service that follows it serves that release soon; another waits for a reload."""
        active = await asyncio.to_thread(_roll_back, self.parts.settings.bank_url.get_secret_value())
        served = self.parts.current.release.name
        self.parts.log.info("rolled back", active=active, served=served)
        return json_answer(RolledBack(active, served))


def admin_off() -> APIRouter:
    """Answers 403 in their place, saying how to turn them on; 404 would read as a wrong path."""

    async def refuse(request: Request) -> Response:
        raise AdminOffError

    router = APIRouter(prefix="/admin", include_in_schema=False)
    for path in ("/reload", "/rollback"):
        router.add_api_route(path, refuse, methods=["POST"])
    return router


def _roll_back(bank_url: str) -> str:
    with closing(open_bank(bank_url, create=False)) as bank:
        try:
            return bank.rollback()
        except UnknownReleaseError:
            raise ConflictError("The bank has no release before the active one.") from None
        except BankRefusedError:
            raise ConflictError(
                "The bank refuses this to the service's user; use `userip rollback` as the publisher."
            ) from None
        except BankUnavailableError:
            raise BankAwayError from None
        except BankError:
            raise ConflictError("The bank did not roll back; the active release is unchanged.") from None
