"""A bare SMTP client for the emulator's tests: says exactly what it is told, and shows exactly what came back."""

from __future__ import annotations

import asyncio
import base64
import ssl
from types import TracebackType

from app.emulator import DEFAULT_ADDRESS, DEFAULT_PASSWORD, Emulator

PATIENCE = 5.0
CONTENT = b"From: <me@contoso.test>\r\nMessage-ID: <1@contoso.test>\r\nSubject: Hello\r\n\r\nHello.\r\n"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Talk:
    """One connection; ``async with Talk(emu) as talk``."""

    def __init__(self, emu: Emulator) -> None:
        self._emu = emu

    async def __aenter__(self) -> Talk:
        self._reader, self._writer = await asyncio.open_connection("localhost", self._emu.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()

    async def send(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()

    async def reply(self) -> str:
        """Return one whole reply, its lines joined by newline."""
        lines = []
        while True:
            line = await asyncio.wait_for(self._reader.readline(), PATIENCE)
            if not line:
                raise EOFError("".join(lines))
            lines.append(line.decode().rstrip("\r\n"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    async def rest(self) -> bytes:
        """Return everything up to the end of the connection; raises ConnectionResetError on a reset."""
        return await asyncio.wait_for(self._reader.read(), PATIENCE)

    async def say(self, line: str) -> str:
        await self.send(line.encode() + b"\r\n")
        return await self.reply()

    async def start_tls(self) -> str:
        """Greet, upgrade, greet again; return the second list of keywords."""
        assert (await self.reply()).startswith("220 ")
        await self.say("EHLO client.test")
        assert (await self.say("STARTTLS")).startswith("220 ")
        await self.handshake()
        return await self.say("EHLO client.test")

    async def handshake(self) -> None:
        context = ssl.create_default_context(cadata=self._emu.ca_pem.decode())
        await asyncio.wait_for(self._writer.start_tls(context, server_hostname="localhost"), PATIENCE)

    async def sign_in(self, login: str = DEFAULT_ADDRESS, password: str = DEFAULT_PASSWORD) -> str:
        """Upgrade and sign in; return the final reply."""
        await self.start_tls()
        await self.say(f"AUTH LOGIN {b64(login)}")
        return await self.say(b64(password))

    async def submit(self, *recipients: str, content: bytes = CONTENT, sender: str = DEFAULT_ADDRESS) -> list[str]:
        """Do a whole pipelined transaction as Postroom does; return the replies."""
        commands = ["RSET", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"]
        await self.send("".join(f"{command}\r\n" for command in commands).encode())
        replies = [await self.reply() for _ in commands]
        if replies[-1].startswith("354"):
            await self.send(content + b".\r\n")
            replies.append(await self.reply())
        return replies
