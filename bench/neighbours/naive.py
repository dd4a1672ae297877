"""Naive: the endpoint that most people write. Connect, STARTTLS, AUTH, send and QUIT within the request."""

from __future__ import annotations

import os
import ssl
from email.message import EmailMessage

import aiosmtplib
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, EmailStr, Field

app = FastAPI()
tls = ssl.create_default_context(cafile=os.environ["BENCH_CA"])
smtp_port = int(os.environ["BENCH_SMTP_PORT"])


class Mail(BaseModel):
    sender: EmailStr = Field(alias="from")
    to: EmailStr
    subject: str
    text: str


def letter(mail: Mail) -> EmailMessage:
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message.set_content(mail.text)
    return message


@app.post("/send")
async def send(mail: Mail) -> dict[str, str]:
    _, said = await aiosmtplib.send(
        letter(mail),
        hostname="127.0.0.1",
        port=smtp_port,
        start_tls=True,
        tls_context=tls,
        username="bench",
        password="bench",
        local_hostname="localhost",  # else a look-up of the machine's name for each mail
    )
    return {"status": "sent", "said": said}


if __name__ == "__main__":
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
