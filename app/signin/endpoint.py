"""Posts a form to a token endpoint and reads a bounded answer.

TLS chain and name are verified, with extra trust from a file where one is given; proxies of the environment are not
used, redirects not followed, compressed or over-long answers not read. ``httpx`` errors end here: they become ``Busy``.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import httpx

from app.signin.answer import Answer, Busy, read_answer
from app.signin.files import CredentialUnreadable
from app.signin.proof import Proof

_ANSWER_LIMIT = 64 * 1024

_Wanted = TypeVar("_Wanted", bound=BaseException)


@dataclass(frozen=True, slots=True)
class Limits:
    """Time-outs in seconds: for the connection, and for everything from the first file read to the last octet."""

    connect: float = 5.0
    total: float = 15.0


LIMITS = Limits()


def tls_context(url: str, ca_file: Path | None) -> ssl.SSLContext:
    """Return a verifying context; blocking, reads the machine's trust and ``ca_file`` anew.

    Raises ``CredentialUnreadable`` when ``ca_file`` is no set of certificates.
    """
    if url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loopback only; trusts nobody, is not used
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:
            raise CredentialUnreadable(ca_file, "holds no certificates in PEM") from None
        except OSError as error:
            raise CredentialUnreadable(ca_file, f"cannot be read: {error.strerror}") from None
    return context


async def post(url: str, proof: Proof, context: ssl.SSLContext, limits: Limits, now: datetime) -> Answer:
    """Show ``proof`` to the token endpoint at ``url`` and judge the answer; raises nothing of ``httpx``."""
    try:
        async with (
            httpx.AsyncClient(
                verify=context,
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(limits.total, connect=limits.connect),
                # Identity: what is bounded is what is read.
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "postroom"},
            ) as client,
            client.stream("POST", url, data=dict(proof.form)) as response,
        ):
            headers = {name.lower(): value for name, value in response.headers.items()}
            if headers.get("content-encoding", "identity").strip().lower() != "identity":
                return Busy("malformed", "the token endpoint answered with an encoding it was not offered")
            body = await _bounded(response)
    except httpx.HTTPError as error:
        return trouble_of(error, limits, httpx.URL(url).host)
    if body is None:
        return Busy("malformed", f"the token endpoint answered with more than {_ANSWER_LIMIT} octets")
    return read_answer(response.status_code, headers, body, sent=proof.secrets, now=now)


async def _bounded(response: httpx.Response) -> bytes | None:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _ANSWER_LIMIT:
            return None
    return bytes(body)


def timed_out(limits: Limits) -> Busy:
    """Return the trouble of an endpoint that did not answer in time."""
    return Busy("timeout", f"the token endpoint did not answer within {limits.total:g} s")


def trouble_of(error: httpx.HTTPError, limits: Limits, host: str) -> Busy:
    """Translate what ``httpx`` raised."""
    if isinstance(error, httpx.ConnectTimeout):
        return Busy("timeout", f"no connection to the token endpoint {host} within {limits.connect:g} s")
    if isinstance(error, httpx.TimeoutException):
        return timed_out(limits)
    verification = _cause(error, ssl.SSLCertVerificationError)
    if verification is not None:
        return Busy("tls", f"the certificate of the token endpoint {host} is not valid: {verification.verify_message}")
    if _cause(error, ssl.SSLError) is not None:
        return Busy("tls", f"the TLS handshake with the token endpoint {host} failed")
    if isinstance(error, httpx.ConnectError):
        return Busy("unreachable", f"the token endpoint {host} cannot be reached: {error}")
    if isinstance(error, httpx.RemoteProtocolError):
        return Busy("malformed", "the token endpoint broke off its answer, or did not speak HTTP")
    return Busy("unreachable", f"the connection to the token endpoint {host} broke ({type(error).__name__})")


def _cause(error: BaseException | None, wanted: type[_Wanted]) -> _Wanted | None:
    while error is not None:
        if isinstance(error, wanted):
            return error
        error = error.__cause__ or error.__context__
    return None
