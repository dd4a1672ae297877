"""Composes a message's content for the way in: what cannot be written becomes a refusal, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final, TypeVar

from app.intake.outcome import Refused
from app.mail.compose import compose
from app.mail.draft import Draft
from app.mail.plan import ContentError, Plan

# From this many characters of html on, making a text of it is left to a thread: 64 KiB take 10 ms, 2 MiB 330 ms.
APART_FROM: Final = 64 * 1024

_Chunk = TypeVar("_Chunk")


async def composed(draft: Draft, message_id: str, identity: str) -> Plan:
    """Return the plan of a draft's content; raises ``Refused`` for what cannot be written."""
    writing = partial(compose, draft, message_id=message_id, boundary=identity.lower())
    try:
        if draft.html is not None and len(draft.html) >= APART_FROM:
            return await asyncio.to_thread(writing)
        return writing()
    except ContentError as error:
        raise _refused(error) from None


def checked(chunks: Iterable[_Chunk]) -> Iterator[_Chunk]:
    """Yield what a plan yields; raises ``Refused`` for base64 that is none, which shows only here."""
    try:
        yield from chunks
    except ContentError as error:
        raise _refused(error) from None


def _refused(error: ContentError) -> Refused:
    return Refused("validation-error", str(error), error.pointer or None, fault=error.code)
