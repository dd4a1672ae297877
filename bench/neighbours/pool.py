"""Pool: the better endpoint that people write. An asyncio.Queue in memory and three kept aiosmtplib sessions.

It answers before the mail is sent and forgets everything when it ends.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import aiosmtplib
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, EmailStr, Field

SESSIONS = 3
queue: asyncio.Queue[EmailMessage] = asyncio.Queue()


class Mail(BaseModel):
    sender: EmailStr = Field(alias="from")
    to: EmailStr
    subject: str
    text: str


async def work() -> None:
    client = aiosmtplib.SMTP(
        hostname="127.0.0.1",
        port=int(os.environ["BENCH_SMTP_PORT"]),
        start_tls=True,
        tls_context=ssl.create_default_context(cafile=os.environ["BENCH_CA"]),
        username="bench",
        password="bench",
        local_hostname="localhost",
    )
    while True:
        message = await queue.get()
        if not client.is_connected:
            await client.connect()
        await client.send_message(message)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    workers = [asyncio.create_task(work()) for _ in range(SESSIONS)]
    yield
    for worker in workers:
        worker.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/send", status_code=202)
async def send(mail: Mail) -> dict[str, str]:
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message.set_content(mail.text)
    queue.put_nowait(message)
    return {"status": "queued"}


if __name__ == "__main__":
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
