"""A service's HTTP doors over the real way in and a real store, without delivery, for stories about the doors."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import structlog
from prometheus_client import CollectorRegistry

from app.api.doors import create_api
from app.api.services import ApiServices
from app.intake.intake import Delivery, Intake
from app.intake.outcome import Forecast, Render, Submission, Submitted, Upload
from app.intake.rules import TenantRules
from app.kit.clock import Clock
from app.kit.log import Lines
from app.kit.metrics import Metrics
from app.mail.address import parse_pattern
from app.mail.draft import Attachment, Draft
from app.mail.message import Priority
from app.mail.senders import Cover, Directory, Limits
from app.queue.rows import QuotaPolicy, QuotaState
from app.queue.sqlite import SqliteStore
from app.queue.views import MessageView
from app.web.body import BodyLimits
from app.web.guard import Guard
from app.web.keys import DEFAULT_SCOPES, SCOPES, KeyEntry, KeyRing, NewKey, new_key
from app.web.network import Network
from app.web.serving import Listener, bind
from app.web.state import Phase, State

LIFETIME = timedelta(hours=72)
HELLO: dict[str, Any] = {
    "from": "Billing <billing@contoso.com>",
    "to": ["Ada Byron <ada@customer.example>"],
    "subject": "Invoice 8812",
    "text": "Please find the invoice attached.",
}


class WatchedIntake:
    """The real way in, and what came through it. ``trouble`` is raised instead, where set."""

    def __init__(self, intake: Intake, tenants: dict[str, TenantRules]) -> None:
        self._intake = intake
        self._tenants = tenants
        self.trouble: Exception | None = None
        self.drafts: list[Draft] = []
        self.submissions: list[Submission] = []
        self.files: list[tuple[Attachment, bytearray]] = []
        self.begun = self.aborted = 0

    def limit(self, *quotas: QuotaPolicy) -> None:
        """Give every tenant these limits."""
        for name, rules in self._tenants.items():
            self._tenants[name] = replace(rules, quotas=quotas)

    async def submit(self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False) -> Submitted:
        self._note(submission, draft)
        return await self._intake.submit(submission, draft, render, dry_run=dry_run)

    async def upload(self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False) -> Upload:
        self._note(submission, draft)
        upload = await self._intake.upload(submission, draft, render, dry_run=dry_run)
        self.begun += 1
        return WatchedUpload(self, upload)

    def is_limited(self, tenant: str) -> bool:
        return self._intake.is_limited(tenant)

    async def quotas(self, tenant: str) -> Sequence[QuotaState]:
        return await self._intake.quotas(tenant)

    def _note(self, submission: Submission, draft: Draft) -> None:
        self.drafts.append(draft)
        self.submissions.append(submission)
        if self.trouble is not None:
            raise self.trouble


class WatchedUpload:
    """A real upload, and which files it got."""

    def __init__(self, watched: WatchedIntake, upload: Upload) -> None:
        self._watched = watched
        self._upload = upload

    async def file(self, attachment: Attachment) -> None:
        self._watched.files.append((attachment, bytearray()))
        await self._upload.file(attachment)

    async def write(self, chunk: bytes) -> None:
        self._watched.files[-1][1].extend(chunk)
        await self._upload.write(chunk)

    async def finish(self, fingerprint: bytes) -> Submitted:
        return await self._upload.finish(fingerprint)

    async def abort(self) -> None:
        await self._upload.abort()
        self._watched.aborted += 1


class World:
    """Everything behind one API, and what happened there."""

    def __init__(self, store: SqliteStore, clock: Clock, path: Path, **settings: Any) -> None:
        self.path = path
        self.none = timedelta(0)
        self.store = store
        self.clock = clock
        self.state = State()
        self.state.enter(Phase.SERVING)
        self.metrics = Metrics(CollectorRegistry(), "0.1.0")
        everything = parse_pattern("*@contoso.com")
        limits = Limits(recipients_per_message=500, message_size=35 * 1024 * 1024)
        cover = Cover("noreply", parse_pattern("noreply@contoso.com"), (everything,), limits)
        tenants = {name: TenantRules(name, (everything,), (), frozenset(Priority)) for name in ("billing", "shop")}
        intake = Intake(
            store=store,
            directory=Directory([cover]),
            tenants=tenants,
            lifetime=LIFETIME,
            clock=clock,
            delivery=Delivery(
                forecast=lambda _tenant, _sender, _priority, due: Forecast(due, None),
                note=lambda _lane, _tenant, _sender, _due: None,
                offers_smtputf8=lambda _sender: None,
            ),
            metrics=self.metrics,
        )
        self.intake = WatchedIntake(intake, tenants)
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
            lifetime=lambda: LIFETIME,
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


@asynccontextmanager
async def serving(app: Callable[..., Any]) -> AsyncIterator[tuple[str, int]]:
    """Serve an application on a socket of loopback as the service does; yields host and port."""
    listener = bind("127.0.0.1", 0)
    server = Listener(app, listener, 1, None)
    await server.start()
    try:
        yield listener.getsockname()
    finally:
        await server.stop()
        listener.close()


@asynccontextmanager
async def open_world(folder: Path, clock: Clock, **settings: Any) -> AsyncIterator[World]:
    """Open a store and build the doors over it."""
    store = await SqliteStore.open(folder / "postroom.db", clock=clock, queue_limit=0, disk_floor=0)
    try:
        yield World(store, clock, folder / "postroom.db", **settings)
    finally:
        await store.close()
