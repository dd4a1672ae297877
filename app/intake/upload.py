"""A submission whose files arrive one after the other: encoded and staged as they come, never whole in memory.

Keeps the promise of ``outcome.Upload``. What stands between the files (headers of parts, boundaries) is known only when
all have arrived; it is staged last, under numbers that put it in its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from app.intake.content import checked
from app.intake.outcome import Refused, Submitted
from app.mail.base64_lines import Base64Lines
from app.mail.compose import zone_of
from app.mail.draft import Attachment, Draft
from app.mail.plan import CHUNK_LIMIT, Plan, chunk_number, slot_of
from app.queue.contract import QueueStore

Finish = Callable[[Plan, int, bytes], Coroutine[Any, Any, Submitted]]


class FileUpload:
    """One upload. ``finish_with(plan, size, fingerprint)`` accepts; ``largest`` is the size nobody takes (0: none)."""

    def __init__(
        self,
        store: QueueStore,
        message: str,
        draft: Draft,
        compose: Callable[[Draft], Awaitable[Plan]],
        finish_with: Finish,
        largest: int,
        *,
        stores: bool,
    ) -> None:
        self._store = store
        self._message = message
        self._draft = draft
        self._compose = compose
        self._finish_with = finish_with
        self._largest = largest
        self._stores = stores
        self._files: list[Attachment] = []
        self._encoder: Base64Lines | None = None
        self._slot = self._chunk = 0
        self._waiting = bytearray()
        self._size = 0

    async def file(self, attachment: Attachment) -> None:
        """Begin a file."""
        await self._end_file()
        self._slot = slot_of(zone_of(self._draft, attachment), len(self._files))
        self._chunk = 0
        self._files.append(attachment)
        self._encoder = Base64Lines()

    async def write(self, chunk: bytes) -> None:
        """Take octets of the file begun last; refuses at the first octet that no mailbox would take."""
        if self._encoder is None:
            raise ValueError("no file was begun")
        self._waiting += self._encoder.feed(chunk)
        while len(self._waiting) >= CHUNK_LIMIT:
            await self._stage(bytes(self._waiting[:CHUNK_LIMIT]))
            del self._waiting[:CHUNK_LIMIT]

    async def finish(self, fingerprint: bytes) -> Submitted:
        """Stage what stands between the files and accept the message."""
        await self._end_file()
        plan = await self._compose(replace(self._draft, attachments=(*self._draft.attachments, *self._files)))
        size = plan.size + self._size
        for number, chunk in checked(plan.numbered()):
            if self._stores:
                await self._store.stage(self._message, number, chunk)
        return await self._finish_with(plan, size, fingerprint)

    async def abort(self) -> None:
        """Drop what has arrived."""
        if self._stores:
            await self._store.unstage(self._message)

    async def _end_file(self) -> None:
        if self._encoder is not None:
            self._waiting += self._encoder.finish()
            if self._waiting:
                await self._stage(bytes(self._waiting))
            self._waiting.clear()
            self._encoder = None

    async def _stage(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._largest and self._size > self._largest:
            text = f"larger on the wire than the {self._largest} octets that the mailboxes which may send this take"
            raise Refused("message-too-large", text, size=self._size, limit=self._largest)
        if self._stores:
            await self._store.stage(self._message, chunk_number(self._slot, self._chunk), chunk)
        self._chunk += 1
