"""Ends a request with a problem, and writes the answer that tells it (RFC 9457).

Nothing of the request is repeated in the answer but its path, and that only where it is harmless. The kinds are in
``kinds``; ``docs/problems.md`` is written from them here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.responses import Response

from app.web.kinds import KINDS, TABLE

MEDIA_TYPE: Final = "application/problem+json"
_SHOWABLE_PATH: Final = re.compile(r"[\w/.~%-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one place of a request; ``where``: ``pointer`` (into the body), ``parameter``, ``header``."""

    at: str
    code: str
    detail: str
    where: str = "pointer"

    def as_member(self) -> dict[str, str]:
        """Return the fault as an entry of ``errors``."""
        return {self.where: self.at, "code": self.code, "detail": self.detail}


class Problem(Exception):
    """Ends a request with a problem. ``members`` are told beside the standard ones; ``headers`` go out with it."""

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: Sequence[Fault] = (),
        status: int | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code)
        self.kind = KINDS[code]
        self.detail = detail or self.kind.cure
        self.errors = tuple(errors)
        self.status = status or self.kind.status
        self.retry_after = retry_after if retry_after is not None else self.kind.retry_after
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def invalid(faults: Sequence[Fault]) -> Problem:
    """Return the problem of a request with these faults."""
    detail = "1 field is invalid" if len(faults) == 1 else f"{len(faults)} fields are invalid"
    return Problem("validation-error", detail, errors=faults)


def pointer(steps: Sequence[object]) -> str:
    """Return a JSON Pointer in a URI fragment (RFC 6901 §6) for the steps to a place of the body.

    A step may be a name of the caller's; it is shortened where it cannot be a slip of the pen.
    """
    words = (str(step)[:64].replace("~", "~0").replace("/", "~1") for step in steps)
    return "#" + "".join("/" + quote(word, safe="~!$&'()*+,;=:@", errors="replace") for word in words)


def answer(problem: Problem, request_id: str, path: str) -> Response:
    """Return the answer that tells a problem; ``path`` as it stood in the request."""
    kind = problem.kind
    body: dict[str, object] = {
        "type": kind.type,
        "code": kind.code,
        "title": kind.title,
        "status": problem.status,
        "detail": problem.detail,
    }
    if _SHOWABLE_PATH.fullmatch(path):
        body["instance"] = path
    body["request_id"] = request_id
    if problem.errors:
        body["errors"] = [fault.as_member() for fault in problem.errors]
    body.update(problem.members)
    headers = {"cache-control": "no-store", **problem.headers}
    if problem.status == 401:
        headers["www-authenticate"] = 'Bearer realm="postroom"'
    if problem.retry_after is not None:
        headers["retry-after"] = str(max(1, problem.retry_after))
    return Response(json.dumps(body, ensure_ascii=False).encode(), problem.status, headers, media_type=MEDIA_TYPE)


def problems_page() -> str:
    """Return ``docs/problems.md``: each kind with its status, its meaning and its cure."""
    lines = [
        "# Problems",
        "",
        "Every error of the HTTP interface is an `application/problem+json` document (RFC 9457). `type` is one of",
        "the URIs below, `code` its last word, `request_id` names the request in the log. `errors` names each faulty",
        "place: `pointer` (a JSON Pointer into the body), `parameter` (of the query) or `header`. This page is",
        "written from `app/web/kinds.py`.",
        "",
        "| status | code | meaning | what to do |",
        "| --- | --- | --- | --- |",
    ]
    for kind in TABLE:
        status = f"{kind.status} ({kind.also} on GET)" if kind.also else str(kind.status)
        lines.append(f'| {status} | <a id="{kind.code}"></a>`{kind.code}` | {kind.title} | {kind.cure} |')
    lines += ["", "| code | type |", "| --- | --- |"]
    lines += [f"| `{kind.code}` | `{kind.type}` |" for kind in TABLE]
    return "\n".join(lines) + "\n"
