"""Reads the JSON bodies of the routes: small ones at once, large ones in a thread, one at a time.

One at a time, since two large ones would not be read sooner, only hold more memory.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from app.api.json_text import Json, read_json, read_large_json
from app.web.call import Call
from app.web.problems import Problem

# A parameter may be empty (RFC 9110 §5.6.6).
_JSON: Final = re.compile(r"application/json\s*(?:;\s*(?:charset=\"?utf-?8\"?)?\s*)*", re.IGNORECASE)


class JsonReader:
    """Reads documents; see the module's promise."""

    #: Above this many octets a document is read off the loop.
    LARGE: Final = 1024 * 1024

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Semaphore(1)

    async def read(self, body: bytes | bytearray) -> Json:
        """Return the document; ``body`` is used up."""
        if len(body) <= self.LARGE:
            return read_json(body)
        async with self._one_at_a_time:
            return await asyncio.to_thread(read_large_json, body if isinstance(body, bytearray) else bytearray(body))

    async def document(self, call: Call) -> Json:
        """Return the document of a request whose route takes nothing but JSON; raises ``Problem``."""
        check_coding(call)
        if not is_json(call.header(b"content-type") or ""):
            raise Problem("unsupported-media-type", "send application/json")
        return await self.read(await call.body.read())


def is_json(content_type: str) -> bool:
    """Whether a content type says JSON, and in no other charset than its only one (RFC 8259 §8.1)."""
    return _JSON.fullmatch(content_type) is not None


def check_coding(call: Call) -> None:
    """Refuse a body that is compressed (RFC 9110 §8.4): it would have to be unpacked to know how large it is."""
    if call.headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Problem(
            "unsupported-media-type", "send the body without Content-Encoding", headers={"accept-encoding": "identity"}
        )
