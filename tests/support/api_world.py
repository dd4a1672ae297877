"""A service's HTTP doors over a real store, with a small way in, for stories about the doors."""

from __future__ import annotations

import asyncio
import io
import json
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from app.api.doors import create_api
from app.api.services import ApiServices
from app.intake.outcome import Acceptance, Forecast, Refused, RefusedByQuota, Render, Submission, Submitted
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.kit.log import Lines
from app.kit.metrics import Metrics
from app.mail.draft import Attachment, Draft
from app.mail.message import Kind, Result, Work, api_status
from app.queue.contract import QueueStore, StoreError
from app.queue.rows import (
    Accepted,
    Idempotency,
    KeyReused,
    MessageView,
    NewMessage,
    NewRecipient,
    OverQuota,
    QuotaPolicy,
    Replayed,
)
from app.queue.sqlite import SqliteStore
from app.web.body import BodyLimits
from app.web.guard import Guard
from app.web.keys import DEFAULT_SCOPES, SCOPES, KeyEntry, KeyRing, NewKey, new_key
from app.web.network import Network
from app.web.server import BoundedProtocol
from app.web.state import Phase, State

LIFETIME = timedelta(hours=72)
HELLO: dict[str, Any] = {
    "from": "Billing <billing@contoso.com>",
    "to": ["Ada Byron <ada@customer.example>"],
    "subject": "Invoice 8812",
    "text": "Please find the invoice attached.",
}


class SmallIntake:
    """Takes drafts in as ``app.intake`` does, without composing: the content is a few lines and the files' octets.

    ``trouble`` is raised instead, where set; ``drafts`` and ``files`` keep what came.
    """

    def __init__(self, store: QueueStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.trouble: Exception | None = None
        self.quotas: tuple[QuotaPolicy, ...] = ()
        self.drafts: list[Draft] = []
        self.submissions: list[Submission] = []
        self.files: list[tuple[Attachment, bytearray]] = []
        self.aborted = 0

    async def submit(self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False) -> Submitted:
        self.drafts.append(draft)
        self.submissions.append(submission)
        if self.trouble is not None:
            raise self.trouble
        now = self._clock.now()
        if submission.idempotency_key is not None and not dry_run:
            known = await self._store.replay(
                submission.tenant, submission.route, submission.idempotency_key, submission.fingerprint, now
            )
            if known is not None:
                return self._again(known)
        identity = new_id("msg")
        result = Result.SENT if submission.is_test else Result.PENDING
        due = max(now, draft.scheduled_at or now)
        waits = result is Result.PENDING
        work = Work.QUEUED if waits else Work.DONE
        status = api_status(work, [result], tried=False, scheduled=due > now)
        body = render(Acceptance(identity, status, now, Forecast(due if waits else None, None)))
        location = f"/v1/messages/{identity}"
        if dry_run:
            return Submitted(identity, 200, location, body, is_replay=False)
        outcome = await self._store.accept(self._new(identity, submission, draft, result, due, location, body))
        if isinstance(outcome, OverQuota):
            raise RefusedByQuota(outcome.violated, outcome.quotas)
        if not isinstance(outcome, Accepted):
            return self._again(outcome)
        return Submitted(identity, 202, location, body, is_replay=False, quotas=outcome.quotas)

    async def upload(
        self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False
    ) -> SmallUpload:
        if isinstance(self.trouble, Refused):
            raise self.trouble
        return SmallUpload(self, submission, draft, render, dry_run)

    def _new(
        self,
        identity: str,
        submission: Submission,
        draft: Draft,
        result: Result,
        due: datetime,
        location: str,
        body: bytes,
    ) -> NewMessage:
        now = self._clock.now()
        recipients = {
            named.address.key: NewRecipient(named.address.given, named.address.key, named.address.wire, kind, result)
            for kind, named in (
                *((Kind.BCC, each) for each in draft.bcc),
                *((Kind.CC, each) for each in draft.cc),
                *((Kind.TO, each) for each in draft.to),
            )
        }
        key = submission.idempotency_key
        return NewMessage(
            id=identity,
            tenant=submission.tenant,
            sender=str(draft.sender),
            sender_key=draft.sender.address.key,
            subject=draft.subject,
            message_id=f"<{identity.lower()}@{draft.sender.address.domain}>",
            created_at=now,
            scheduled_at=draft.scheduled_at,
            due_at=due,
            expires_at=draft.expires_at or due + LIFETIME,
            date=due,
            priority=draft.priority,
            size=64,
            smtputf8=False,
            tags=draft.tags,
            metadata=draft.metadata,
            recipients=tuple(recipients.values()),
            content=[b"Subject: a message\r\n\r\nHello\r\n"],
            is_test=submission.is_test,
            key_id=submission.key_id,
            request_id=submission.request_id,
            idempotency=Idempotency(submission.route, key, submission.fingerprint, 202, location, body)
            if key
            else None,
            quotas=self.quotas,
        )

    @staticmethod
    def _again(found: Replayed | KeyReused) -> Submitted:
        if isinstance(found, KeyReused):
            raise Refused("idempotency-key-reused", "this Idempotency-Key was used with another request")
        identity = found.location.rpartition("/")[2]
        return Submitted(identity, found.status, found.location, found.body, is_replay=True)


class SmallUpload:
    """Keeps files in memory, then submits."""

    def __init__(
        self, intake: SmallIntake, submission: Submission, draft: Draft, render: Render, dry_run: bool
    ) -> None:
        self._intake = intake
        self._rest: tuple[Any, ...] = (draft, render)
        self._submission = submission
        self._dry_run = dry_run

    async def file(self, attachment: Attachment) -> None:
        self._intake.files.append((attachment, bytearray()))

    async def write(self, chunk: bytes) -> None:
        self._intake.files[-1][1].extend(chunk)

    async def finish(self, fingerprint: bytes) -> Submitted:
        submission = Submission(
            self._submission.tenant,
            self._submission.key_id,
            self._submission.request_id,
            self._submission.is_test,
            "api",
            self._submission.route,
            self._submission.idempotency_key,
            fingerprint,
        )
        return await self._intake.submit(submission, *self._rest, dry_run=self._dry_run)

    async def abort(self) -> None:
        self._intake.aborted += 1


class World:
    """Everything behind one API, and what happened there."""

    def __init__(self, store: SqliteStore, clock: Clock, path: Path, **settings: Any) -> None:
        self.path = path
        self.none = timedelta(0)
        self.store = store
        self.clock = clock
        self.intake = SmallIntake(store, clock)
        self.state = State()
        self.state.enter(Phase.SERVING)
        self.metrics = Metrics(CollectorRegistry(), "0.1.0")
        self.changed: list[MessageView] = []
        self.finish: asyncio.Event = asyncio.Event()
        self.networks: dict[str, Sequence[Network]] = {}
        self.is_alive = True
        self.stream = io.StringIO()
        rng = random.Random(7)  # the keys of a story are no secrets
        self.key = new_key(False, rng)
        self.test_key = new_key(True, rng)
        self.other_key = new_key(False, rng)
        self.full_key = new_key(False, rng)
        self.admin_key = new_key(False, rng)
        self.ring = KeyRing(
            [
                ("billing", [_entry(self.key), _entry(self.test_key), _entry(self.full_key, frozenset(SCOPES))]),
                ("shop", [_entry(self.other_key)]),
                (None, [_entry(self.admin_key)]),
            ]
        )
        self.limits = settings.pop("limits", BodyLimits(body=40 * 1024 * 1024, memory=128 * 1024 * 1024, timeout=60.0))
        self.log = structlog.wrap_logger(
            structlog.WriteLogger(self.stream),
            processors=[Lines("masked", b"k" * 32)],
            wrapper_class=structlog.make_filtering_bound_logger(10),
        )
        self.services = ApiServices(
            intake=self.intake,
            store=store,
            keys=lambda: self.ring,
            clock=clock,
            state=self.state,
            metrics=self.metrics,
            log=self.log,
            limits=self.limits,
            lifetime=LIFETIME,
            forecast=lambda view: Forecast(view.due_at, None),
            changed=self.changed.append,
            finished=self._finished,
            alive=lambda: self.is_alive,
            version="0.1.0",
            networks=lambda tenant: self.networks.get(tenant, ()),
            **settings,
        )
        self.app: Guard = create_api(self.services)

    async def _finished(self, message: str, seconds: float) -> bool:
        await self.finish.wait()
        return True

    def scope(self, key: NewKey, *scopes: str) -> None:
        """Give a tenant's key only these scopes."""
        self.ring = KeyRing([("billing", [_entry(key, frozenset(scopes))])])

    def all_scopes(self, key: NewKey) -> list[KeyEntry]:
        """Entries that let a key do everything."""
        return [_entry(key, frozenset(SCOPES))]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def client(self, key: NewKey | None = None, **options: Any) -> httpx.AsyncClient:
        """Return a client that calls the application without sockets."""
        headers = {"Authorization": f"Bearer {(key or self.key).text}"}
        transport = httpx.ASGITransport(
            self.app, raise_app_exceptions=False, client=options.pop("peer", ("10.0.0.9", 1))
        )
        return httpx.AsyncClient(transport=transport, base_url="http://postroom.test", headers=headers, **options)

    async def stored(self) -> int:
        """How many messages the store holds."""
        return sum((await self.store.counts()).by_work.values())

    @asynccontextmanager
    async def served(self) -> AsyncIterator[tuple[str, int]]:
        """Serve on a socket of loopback, by the real server."""
        async with serving(self.app) as address:
            yield address


def _entry(key: NewKey, scopes: frozenset[str] = DEFAULT_SCOPES) -> KeyEntry:
    return KeyEntry(key.id, key.hash, scopes)


class _QuietServer(uvicorn.Server):
    """uvicorn's server without its hands on the process's signals."""

    def capture_signals(self) -> Any:
        return nullcontext()


@asynccontextmanager
async def serving(app: Callable[..., Any]) -> AsyncIterator[tuple[str, int]]:
    """Serve an application on a socket of loopback as the service does; yields host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def open_world(folder: Path, clock: Clock, **settings: Any) -> AsyncIterator[World]:
    """Open a store and build the doors over it."""
    store = await SqliteStore.open(folder / "postroom.db", clock=clock, queue_limit=0, disk_floor=0)
    try:
        yield World(store, clock, folder / "postroom.db", **settings)
    finally:
        await store.close()


__all__ = ["HELLO", "LIFETIME", "SmallIntake", "StoreError", "World", "open_world", "serving"]
