"""Reads JSON documents for the routes: small ones at once, large ones in a thread, one at a time.

One at a time, since two large ones would not be read sooner, only hold more memory.
"""

from __future__ import annotations

import asyncio
from typing import Final

from app.api.json_text import Json, read_json, read_large_json


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
