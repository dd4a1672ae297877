"""Examines the way to a server step by step, for people who look for what is wrong; carries no mail.

Name, every address, banner, STARTTLS, certificate, EHLO, and where it is asked for the sign-in: each by the very code
that delivers. It takes the place of one of the mailbox's sessions, and its sign-in stands in the mailbox's queue of
sign-ins. Nothing is decided here; whoever asked judges.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from cryptography import x509

from app.kit.clock import Clock
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.smtp.failures import Step, trouble_of
from app.smtp.opening import Opening
from app.smtp.pool import Pool
from app.smtp.target import Features, Target
from app.smtp.wire import Wire

# A packet that gets through is answered within a second or two; the operator waits for the rest.
_KNOCK_SECONDS = 10.0
_QUIT_SECONDS = 5.0

_CERTIFICATE_REASONS = frozenset({"tls-name", "tls-expired", "tls-not-yet-valid", "tls-untrusted"})
_NO_WAY_REASONS = frozenset({"refused", "unreachable"})


class Stage(StrEnum):
    """The steps, in order."""

    DNS = "dns"
    TCP = "tcp"
    BANNER = "banner"
    STARTTLS = "starttls"
    CERTIFICATE = "certificate"
    EHLO = "ehlo"
    AUTH = "auth"


@dataclass(frozen=True, slots=True)
class Knock:
    """One attempt at one address: how long it took, and the trouble it ended in (None: connected)."""

    address: str
    seconds: float
    trouble: ConnectTrouble | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server's certificate says of itself; instants in UTC."""

    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime


@dataclass(slots=True)
class Examination:
    """What became known. ``broke_at`` names the step that failed by ``trouble``; later steps were not made.

    ``is_resolver_down`` tells a resolver that does not answer from a name that does not exist. ``greeted_at`` is our
    time at the greeting. ``certificate`` is told also when it was not to be trusted. ``signed_in_seconds`` is how long
    the sign-in took, None where none succeeded.
    """

    place: str
    knocks: tuple[Knock, ...] = ()
    is_resolver_down: bool = False
    greeting: str = ""
    greeted_at: datetime | None = None
    tls_version: str | None = None
    certificate: Certificate | None = None
    hello: tuple[str, ...] = ()
    features: Features | None = None
    signed_in_seconds: float | None = None
    broke_at: Stage | None = None
    trouble: ConnectTrouble | SignInRefused | None = None

    def has_passed(self, stage: Stage) -> bool:
        """Whether a step was made and went well."""
        return self.broke_at is None or _ORDER.index(stage) < _ORDER.index(self.broke_at)

    def was_reached(self, stage: Stage) -> bool:
        """Whether a step was made."""
        return self.broke_at is None or _ORDER.index(stage) <= _ORDER.index(self.broke_at)


_ORDER = tuple(Stage)


async def examine(pool: Pool, clock: Clock, signs_in: Callable[[], bool]) -> Examination:
    """Examine the way to the server of a pool's mailbox; ``signs_in`` is asked, when it comes to that, whether to.

    Waits for a place among the mailbox's sessions. Raises nothing but cancellation, and then leaves nothing open.
    """
    found = Examination(str(pool.target))
    try:
        async with pool.room() as entrance:
            await _connect(found, pool.target, clock)
            if found.broke_at is None and signs_in():
                began = clock.boot()
                try:
                    session = await entrance.enter()
                except (ConnectTrouble, SignInRefused) as problem:
                    found.broke_at, found.trouble = Stage.AUTH, problem
                    return found
                found.signed_in_seconds = clock.boot() - began
                await session.wire.leave(_QUIT_SECONDS)
    except ConnectTrouble as trouble:  # the pool is being closed
        found.broke_at, found.trouble = Stage.DNS, trouble
    return found


async def _connect(found: Examination, target: Target, clock: Clock) -> None:
    """Go as far as the EHLO under TLS, and say goodbye."""
    addresses = await _resolve(found, target)
    if not addresses:
        return
    found.knocks = tuple(await asyncio.gather(*(_knock(address, target, clock) for address in addresses)))
    if all(knock.trouble is not None for knock in found.knocks):
        found.broke_at, found.trouble = Stage.TCP, _most_telling(found.knocks)
        return
    opening = Opening(target)
    try:
        opened = await opening.run()
    except ConnectTrouble as trouble:
        found.broke_at, found.trouble = _stage_of(opening.step, trouble.reason), trouble
        if found.broke_at is Stage.CERTIFICATE:
            found.certificate = await _look_at_certificate(target)
        return
    finally:
        found.greeting, found.greeted_at = opening.greeting, clock.now()
    found.hello, found.features = opened.hello, opened.features
    found.tls_version, found.certificate = _tls_of(opened.wire)
    await opened.wire.leave(_QUIT_SECONDS)


async def _resolve(found: Examination, target: Target) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(target.timeouts.connect):
            told = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:  # TimeoutError is an OSError
        failed = problem.errno if isinstance(problem, socket.gaierror) else None
        found.is_resolver_down = isinstance(problem, TimeoutError) or failed == socket.EAI_AGAIN
        found.broke_at = Stage.DNS
        found.trouble = trouble_of(problem, Step.CONNECT, str(target), target.timeouts.connect)
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in told))


async def _knock(address: str, target: Target, clock: Clock) -> Knock:
    """Connect to one address and leave at once: shows who answers, before anybody speaks."""
    loop = asyncio.get_running_loop()
    began = clock.boot()
    seconds = min(_KNOCK_SECONDS, target.timeouts.connect)
    try:
        async with asyncio.timeout(seconds):
            transport, _ = await loop.create_connection(asyncio.Protocol, address, target.port)
    except OSError as problem:
        trouble = trouble_of(problem, Step.CONNECT, f"{address} port {target.port}", seconds)
        return Knock(address, clock.boot() - began, trouble)
    transport.abort()
    return Knock(address, clock.boot() - began)


def _most_telling(knocks: tuple[Knock, ...]) -> ConnectTrouble | None:
    """Return the trouble that says most: somebody refused, nobody answered, there is no way."""
    troubles = [knock.trouble for knock in knocks if knock.trouble is not None]
    order = ("refused", "timeout")
    return min(troubles, key=lambda each: order.index(each.reason) if each.reason in order else len(order))


def _stage_of(step: Step, reason: str) -> Stage:
    """Return which of our steps ended where the opening of a connection did; somebody has answered the knock."""
    if reason in _CERTIFICATE_REASONS:
        return Stage.CERTIFICATE
    if step is Step.CONNECT:
        return Stage.TCP if reason in _NO_WAY_REASONS else Stage.BANNER
    return Stage.EHLO if step is Step.TLS_EHLO else Stage.STARTTLS


def _tls_of(wire: Wire) -> tuple[str | None, Certificate | None]:
    if wire.tls is None:
        return None, None
    der = wire.tls.getpeercert(binary_form=True)
    return wire.tls.version(), None if der is None else certificate_of(der)


async def _look_at_certificate(target: Target) -> Certificate | None:
    """Read the certificate that was not to be trusted, to tell its names and its end. Only EHLO is said to it."""
    lenient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lenient.check_hostname = False
    lenient.verify_mode = ssl.CERT_NONE
    opening = Opening(replace(target, tls=lenient))
    try:
        opened = await opening.run()
    except ConnectTrouble:
        return None
    _, certificate = _tls_of(opened.wire)
    opening.abort()
    return certificate


def certificate_of(der: bytes) -> Certificate | None:
    """Return what a certificate (DER) says; None where it cannot be read."""
    try:
        read = x509.load_der_x509_certificate(der)
        names = _names_of(read)
        return Certificate(names, read.issuer.rfc4514_string(), read.not_valid_before_utc, read.not_valid_after_utc)
    except ValueError:
        return None


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        stated = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (certificate.subject.rfc4514_string(),)
    return (
        *stated.get_values_for_type(x509.DNSName),
        *(str(address) for address in stated.get_values_for_type(x509.IPAddress)),
    )
