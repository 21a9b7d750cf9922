"""Faults as answers: a status, a stable code, a sentence; never what the client sent."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Protocol

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from pneumoscope.errors import PneumoscopeError, RetryLater, UnsafeArchive

Handler = Callable[[Request, Exception], Awaitable[Response]]
_STATUS = {
    "no-such-frame": 404,
    "no-such-element": 404,
    "service-step": 409,
    "service-two-people": 409,
    "no-pixels": 406,
    "not-shown": 406,
    "unreadable-object": 500,
    "frame-too-large": 500,
}


class Problem(HTTPException):
    """A request that is answered with something else than what it asked for."""

    def __init__(self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


def answer(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """The body that every fault has."""
    return JSONResponse({"code": code, "message": message}, status, headers)


class Show(Protocol):
    """Makes a page of a fault."""

    def __call__(self, request: Request, *, status: int, code: str, message: str) -> Response:
        """The page, in the visitor's language."""


def install(app: FastAPI, show: Show | None = None) -> None:
    """Make ``app`` answer faults: programs by JSON, people by a page."""
    found: tuple[tuple[type[Exception], Handler], ...] = (
        (HTTPException, _http),
        (RequestValidationError, _invalid),
        (PneumoscopeError, _ours),
        (FileNotFoundError, _gone),
        (OperationalError, _database_away),
        (InterfaceError, _database_away),
    )
    for kind, handler in found:
        app.add_exception_handler(kind, _for_people(handler, show) if show else handler)


def _for_people(handler: Handler, show: Show) -> Handler:
    async def handle(request: Request, fault: Exception) -> Response:
        told = await handler(request, fault)
        if not _is_page(request):
            return told
        content = json.loads(bytes(told.body))
        shown = await anyio.to_thread.run_sync(partial(show, request, status=told.status_code, **content))
        for name, value in told.headers.items():
            if name not in ("content-type", "content-length"):
                shown.headers[name] = value
        return shown

    return handle


def _is_page(request: Request) -> bool:
    """Whether a person looks: a browser that goes to a page asks for HTML first."""
    return request.headers.get("accept", "").startswith("text/html") and "visitor" in request.scope


async def _http(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    phrase = HTTPStatus(fault.status_code).phrase
    code = fault.code if isinstance(fault, Problem) else phrase.lower().replace(" ", "-")
    message = fault.detail if isinstance(fault, Problem) else f"{phrase}."
    return answer(fault.status_code, code, message, dict(fault.headers or {}))


async def _invalid(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in fault.errors())
    return answer(400, "request-wrong", f"The request cannot be understood: {wrong}.")


async def _ours(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, PneumoscopeError)
    if isinstance(fault, UnsafeArchive):
        return answer(400, fault.code, str(fault))
    if isinstance(fault, RetryLater):
        return answer(503, fault.code, str(fault), {"Retry-After": "10"})
    default = 503 if fault.exit_status == 4 else 400
    return answer(_STATUS.get(fault.code, default), fault.code, str(fault))


async def _gone(_request: Request, _fault: Exception) -> Response:
    return answer(410, "gone", "It was removed meanwhile.")


async def _database_away(_request: Request, _fault: Exception) -> Response:
    return answer(503, "database-unreachable", "The database does not answer.", {"Retry-After": "10"})
