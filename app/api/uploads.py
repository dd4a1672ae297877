"""Takes a message as multipart/form-data: the part ``message`` (JSON) first, then files, streamed as they arrive.

An attachment of the message names its file part in ``part``; a file part that no attachment names is attached under its
own name and type. Files are never whole in memory: each piece goes on as it comes.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final

from app.api import fields
from app.api.drafting import alone_in, read_model, to_draft
from app.api.json_text import Json, fingerprint
from app.api.parts import Event, PartBegins, PartData, PartEnds, Parts
from app.api.reader import JsonReader
from app.api.refusals import within
from app.api.schemas import MOST_ATTACHMENTS, MessageIn
from app.api.twins import Patience
from app.intake.outcome import Refused, Submitted, Upload
from app.mail.draft import Attachment, Draft
from app.web.body import Body
from app.web.problems import Fault, Problem, invalid, pointer

MESSAGE: Final = "message"
_ATTACHMENT: Final = re.compile(r"/attachments/(\d+)(/.*)?")


class Digests:
    """What identifies each file: name of the part, file name, type, and SHA-256 of the octets."""

    def __init__(self) -> None:
        self._files: list[tuple[tuple[str, str, str], hashlib._Hash]] = []

    def begin(self, part: str, attachment: Attachment) -> None:
        """Begin a file."""
        self._files.append(((part, attachment.filename, attachment.content_type), hashlib.sha256()))

    def add(self, octets: bytes) -> None:
        """Take octets of the file begun last."""
        self._files[-1][1].update(octets)

    def told(self) -> list[tuple[str, ...]]:
        """Return the identities of all files."""
        return [(*names, digest.hexdigest()) for names, digest in self._files]


class Reception:
    """One multipart request being taken in.

    ``begin`` gets the draft (without the attachments that come as parts) and starts the upload; ``route`` is what the
    fingerprint belongs to.
    """

    def __init__(
        self,
        body: Body,
        content_type: str,
        reader: JsonReader,
        now: datetime,
        begin: Callable[[Draft], Awaitable[Upload]],
        route: str,
    ) -> None:
        self._body = body
        self._parts = Parts(content_type)
        self._reader = reader
        self._now = now
        self._begin = begin
        self._route = route
        self._declared: dict[str, Attachment] = {}
        self._places: dict[str, int] = {}
        self._alone: frozenset[str] = frozenset()
        # What stands where the way in sees attachments: their place in the message, or the name of an undeclared part.
        self._seen: list[int | str] = []

    async def take(self, patience: Patience) -> Submitted:
        """Take the whole request in and return the answer of intake; ``patience`` is for the last step."""
        events = self._events()
        document, draft = await self._message(events)
        with self._placing():
            upload = await self._begin(draft)
        try:
            with self._placing():
                digests = Digests()
                async for event in events:
                    if isinstance(event, PartBegins):
                        attachment = self._attachment(event)
                        digests.begin(event.name, attachment)
                        await upload.file(attachment)
                    elif isinstance(event, PartData):
                        digests.add(event.octets)
                        await upload.write(event.octets)
                self._check_complete()
                mark = await asyncio.to_thread(fingerprint, "POST", self._route, document, digests.told())
                async with within(patience.seconds, patience.problem):
                    return await upload.finish(mark)
        except BaseException:
            # Whatever ended it, nothing of it stays; also when the caller went away or the service stops.
            await asyncio.shield(upload.abort())
            raise

    async def _events(self) -> AsyncIterator[Event]:
        async for chunk in self._body.stream():
            for event in self._parts.feed(chunk):
                yield event
        if not self._parts.is_complete:
            raise Problem("malformed-multipart", "the closing boundary is missing")

    async def _message(self, events: AsyncIterator[Event]) -> tuple[Json, Draft]:
        """Read the first part, which must be the message."""
        octets = bytearray()
        async for event in events:
            if isinstance(event, PartBegins) and event.name != MESSAGE:
                break
            if isinstance(event, PartData):
                self._body.hold(len(event.octets))
                octets += event.octets
            elif isinstance(event, PartEnds):
                document = await self._reader.read(octets)
                return document, self._draft(document)
        raise Problem("malformed-multipart", f"the first part must be the JSON of the message, named {MESSAGE}")

    def _draft(self, document: Json) -> Draft:
        draft = to_draft(read_model(MessageIn, document), self._now, multipart=True)
        self._alone = alone_in(document)
        faults: list[Fault] = []
        for place, attachment in enumerate(draft.attachments):
            if attachment.part is None:
                continue
            if attachment.part in self._declared or attachment.part == MESSAGE:
                faults.append(Fault(pointer(("attachments", place, "part")), "duplicate", "stands twice"))
            self._declared[attachment.part] = attachment
            self._places[attachment.part] = place
        if faults:
            raise invalid(faults)
        inline = [place for place, each in enumerate(draft.attachments) if each.part is None]
        self._seen = [*inline]
        return replace(draft, attachments=tuple(draft.attachments[place] for place in inline))

    def _attachment(self, part: PartBegins) -> Attachment:
        """Return what a file part becomes: what the message says of it, else what the part says itself."""
        if len(self._seen) >= MOST_ATTACHMENTS:
            raise invalid([Fault(part.name[:64], "too_many", f"at most {MOST_ATTACHMENTS} attachments", "part")])
        if part.name in self._places and part.name not in self._declared:
            raise invalid([Fault(part.name[:64], "duplicate", "stands twice", "part")])
        declared = self._declared.pop(part.name, None)
        self._seen.append(part.name if declared is None else self._places[part.name])
        if declared is None and part.filename is None:
            raise invalid([Fault(part.name[:64], "unknown", "is neither a file nor named by an attachment", "part")])
        base = declared or Attachment("", "", None, part=part.name)
        try:
            filename = base.filename or fields.filename(part.filename) or ""
            content_type = base.content_type or fields.media_type(part.media_type) or fields.guessed_type(filename)
        except fields.Faulty as error:
            flaw = error.flaws[0]
            raise invalid([Fault(part.name[:64], flaw.code, flaw.text, "part")]) from None
        return replace(base, filename=filename, content_type=content_type)

    @contextmanager
    def _placing(self) -> Iterator[None]:
        """Let faults of attachments point into the caller's own document, or name the part that came without one."""
        try:
            yield
        except Refused as refused:
            refused.point_at_one(self._alone)
            found = _ATTACHMENT.fullmatch(refused.pointer or "")
            if found is None:
                raise
            place = self._seen[int(found[1])]
            if isinstance(place, int):
                refused.pointer = f"/attachments/{place}{found[2]}"
                raise
            code = str(refused.members.get("fault", refused.code))
            raise invalid([Fault(place[:64], code, refused.text, "part")]) from None

    def _check_complete(self) -> None:
        missing = [
            Fault(pointer(("attachments", self._places[name], "part")), "missing", "no such part came")
            for name in self._declared
        ]
        if missing:
            raise invalid(missing)
