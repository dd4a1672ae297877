"""Asks the token endpoint's host for the time: one HEAD without any credential."""

from __future__ import annotations

from datetime import datetime

import httpx

from app.doctor.credentials import date_of
from app.signin.endpoint import tls_context
from app.signin.files import CredentialUnreadable
from app.signin.methods import SignIn

_SECONDS = 5.0


async def endpoint_date(sign_in: SignIn) -> datetime | None:
    """Return what the Date header of the token endpoint's host says; None where it does not answer."""
    url = sign_in.endpoint.authority
    try:
        context = tls_context(url, sign_in.endpoint.ca_file)
        async with httpx.AsyncClient(verify=context, trust_env=False, timeout=_SECONDS) as client:
            answer = await client.head(url)
    except (httpx.HTTPError, CredentialUnreadable):
        return None
    return date_of(answer.headers.get("date", ""))
