"""Makes every error of a FastAPI application a problem, whatever raised it. Input is never repeated."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from app.web.call import call_of
from app.web.problems import Fault, Problem, answer, invalid, pointer

_BY_STATUS = {404: "not-found", 405: "method-not-allowed", 413: "payload-too-large", 415: "unsupported-media-type"}


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Exception, _on_anything)


def _tell(request: Request, problem: Problem) -> Response:
    call = call_of(request)
    call.reason = call.reason or problem.kind.code
    return answer(problem, call.request_id, request.scope.get("raw_path", b"").decode("latin-1"))


async def _on_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - the registration says so
    return _tell(request, problem)


async def _on_http(request: Request, error: Exception) -> Response:
    """What the router itself refuses: 404, and 405 with its Allow."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the registration says so
    code = _BY_STATUS.get(error.status_code, "internal-error")
    headers = {"allow": _allowed(request)} if code == "method-not-allowed" else error.headers
    return _tell(request, Problem(code, headers=headers))


def _allowed(request: Request) -> str:
    """Return every method that the path takes; the router names those of the first route only."""
    methods: set[str] = set()
    for route in request.app.router.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods
    return ", ".join(sorted(methods))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the registration says so
    return _tell(request, invalid([_fault(each) for each in error.errors()]))


def _fault(error: dict[str, Any]) -> Fault:
    place, *rest = error["loc"]
    if place == "body":
        return Fault(pointer(rest), error["type"], "is not valid")
    return Fault(
        "/".join(map(str, rest)), error["type"], "is not valid", "header" if place == "header" else "parameter"
    )


async def _on_anything(request: Request, _error: Exception) -> Response:
    """Anything else; Starlette raises it again behind the answer, and the guard logs it."""
    return _tell(request, Problem("internal-error"))
