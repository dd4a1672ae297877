"""POST /v1/messages: a message comes in, as JSON or as multipart, and is on disk before it is answered."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.api import twins
from app.api.drafting import alone_in, read_model, to_draft
from app.api.json_text import fingerprint
from app.api.query import read_flag, read_query
from app.api.reader import JsonReader, check_coding, is_json
from app.api.refusals import TOO_SLOW, as_problems, quota_headers
from app.api.schemas import MessageIn
from app.api.services import ApiServices
from app.api.twins import Patience, Twins
from app.api.uploads import Reception
from app.api.views import acceptance_body, dry_run_body, encode, message_view
from app.intake.outcome import Refused, Submission, Submitted
from app.kit.deadline import Deadline
from app.web.call import Call, call_of
from app.web.keys import SEND
from app.web.problems import Fault, Problem

ROUTE: Final = "/v1/messages"
_TEST_ROUTE: Final = "test:/v1/messages"
LONGEST_WAIT: Final = 30
# What a large message may take longer.
_SLOWEST_DISK: Final = 4 * 1024 * 1024

_KEY: Final = re.compile(rb"[\x20-\x7e]{1,256}")
_WAIT: Final = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:[,;]|$)", re.IGNORECASE)


class Sending:
    """The route of POST /v1/messages."""

    def __init__(self, services: ApiServices, reader: JsonReader) -> None:
        self._services = services
        self._reader = reader
        self._twins = Twins()

    async def post(self, request: Request) -> Response:
        """Take a message in."""
        call = call_of(request)
        call.tenant(SEND)
        raw = request.scope["query_string"]
        is_dry = bool(raw) and read_flag(read_query(raw, ("dry_run",)).get("dry_run"), "dry_run")
        key = idempotency_key(request)
        if is_dry:
            key = None  # leaves nothing that could be repeated
        check_coding(call)
        with as_problems():
            if key is None:
                submitted = await self._take(call, key, twins.FIRST, is_dry)
            else:
                with self._twins.named(call.caller().tenant or "", key) as patience:
                    submitted = await self._take(call, key, patience, is_dry)
        self._services.failpoints.reach("accept-before-answer")
        return await self._answer(call, submitted, is_dry)

    async def _take(self, call: Call, key: str | None, patience: Patience, is_dry: bool) -> Submitted:
        content_type = call.header(b"content-type") or ""
        if is_json(content_type):
            return await self._from_json(call, key, patience, is_dry)
        if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
            return await self._from_parts(call, content_type, key, patience, is_dry)
        raise Problem("unsupported-media-type", "send application/json or multipart/form-data")

    async def _from_json(self, call: Call, key: str | None, patience: Patience, is_dry: bool) -> Submitted:
        body = await call.body.read()
        octets = len(body)
        document = await self._reader.read(body)
        del body  # what was read of it is enough; a large one must not be kept through composing
        draft = to_draft(read_model(MessageIn, document), self._services.clock.now())
        alone = alone_in(document)
        mark = b""
        if key is not None and octets > JsonReader.LARGE:
            mark = await asyncio.to_thread(fingerprint, "POST", ROUTE, document)
        elif key is not None:
            mark = fingerprint("POST", ROUTE, document)
        del document
        submission = self._submission(call, key, mark)
        render = dry_run_body if is_dry else acceptance_body
        try:
            with Deadline(patience.seconds + octets / _SLOWEST_DISK):
                return await self._services.intake.submit(submission, draft, render, dry_run=is_dry)
        except Refused as refused:
            refused.point_at_one(alone)
            raise
        except TimeoutError:
            raise Problem(patience.problem, TOO_SLOW) from None

    async def _from_parts(
        self, call: Call, content_type: str, key: str | None, patience: Patience, is_dry: bool
    ) -> Submitted:
        services = self._services
        submission = self._submission(call, key, b"")
        render = dry_run_body if is_dry else acceptance_body
        begin = partial(services.intake.upload, submission, render=render, dry_run=is_dry)
        reception = Reception(call.body, content_type, self._reader, services.clock.now(), begin, ROUTE)
        return await reception.take(patience)

    @staticmethod
    def _submission(call: Call, key: str | None, mark: bytes) -> Submission:
        caller = call.caller()
        return Submission(
            tenant=caller.tenant or "",
            key_id=caller.key_id,
            request_id=call.request_id,
            is_test=caller.is_test,
            # Keys used for rehearsals name nothing that is sent: the same key must not keep the real message back.
            route=_TEST_ROUTE if caller.is_test else ROUTE,
            idempotency_key=key,
            fingerprint=mark,
        )

    async def _answer(self, call: Call, submitted: Submitted, is_dry: bool) -> Response:
        headers = quota_headers(submitted.quotas)
        if is_dry:
            return Response(submitted.body, submitted.status, headers, media_type="application/json")
        call.message_id = submitted.id
        headers["location"] = submitted.location
        if submitted.is_replay:
            headers["idempotent-replayed"] = "true"
            return Response(submitted.body, submitted.status, headers, media_type="application/json")
        wait = preferred_wait(call.header(b"prefer"))
        if wait is None:
            return Response(submitted.body, submitted.status, headers, media_type="application/json")
        headers["preference-applied"] = f"wait={wait}"
        whole = await self._when_finished(call, submitted.id, wait)
        if whole is None:
            return Response(submitted.body, submitted.status, headers, media_type="application/json")
        return Response(whole, 200, headers, media_type="application/json")

    async def _when_finished(self, call: Call, message: str, wait: int) -> bytes | None:
        """Return the whole message once it is done or held; None when it is not in time, or the doors close."""
        services = self._services
        finished = asyncio.ensure_future(services.finished(message, wait))
        closed = asyncio.ensure_future(services.state.closed())
        try:
            await asyncio.wait({finished, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not finished.done() or not finished.result():
                return None
        finally:
            finished.cancel()
            closed.cancel()
        view = await services.store.message(call.caller().tenant or "", message)
        if view is None:
            return None
        return encode(message_view(view, services.forecast(view), services.clock.now()))


def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key, quoted (a structured-field string) or bare; 400 for one that cannot be used."""
    if b"idempotency-key" not in call_of(request).headers:
        return None
    given = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    key = given[0].strip()
    if len(key) >= 2 and key[:1] == key[-1:] == b'"':
        key = key[1:-1]
    if len(given) > 1 or not _KEY.fullmatch(key):
        fault = Fault("Idempotency-Key", "idempotency_key", "must be 1 to 256 printable ASCII characters", "header")
        raise Problem("invalid-idempotency-key", errors=[fault])
    return str(key, "ascii")


def preferred_wait(prefer: str | None) -> int | None:
    """Return how many seconds a caller would like to wait (RFC 7240 §4.3), 30 at most; what is not understood is not
    applied.
    """
    match = _WAIT.search(prefer) if prefer else None
    return min(int(match.group(1)), LONGEST_WAIT) or None if match else None
