"""How the processes of a measurement talk: one JSON object a line, commands on stdin, answers on stdout.

A child says one line when it is ready, answers each command with one line, and ends with its stdin; so it never
outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Command = Callable[..., "dict[str, Any] | Awaitable[dict[str, Any]]"]
_LONGEST = 4 * 1024 * 1024


async def obey(ready: dict[str, Any], commands: Mapping[str, Command]) -> None:
    """Say that this process is ready and carry out commands until stdin ends."""
    reader = asyncio.StreamReader(limit=_LONGEST)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say(ready)
    while line := await reader.readline():
        order = json.loads(line)
        answer = commands[order.pop("do")](**order)
        _say(await answer if inspect.isawaitable(answer) else answer)


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
