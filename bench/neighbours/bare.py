"""Bare: the least that a FastAPI route can do with the mail. No key, nothing stored, nothing sent.

The denominator of everything about accepting. It has a model of its own and shares nothing with the product, so that a
slow handler there cannot make itself look good.
"""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, EmailStr, Field

app = FastAPI()


class Mail(BaseModel):
    sender: EmailStr = Field(alias="from")
    to: EmailStr
    subject: str
    text: str


@app.post("/send", status_code=202)
async def send(mail: Mail) -> dict[str, str]:
    return {"status": "accepted", "to": mail.to}


if __name__ == "__main__":
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
