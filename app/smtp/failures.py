"""Translates what other libraries raise while a session is opened into ``ConnectTrouble``; once, here.

The class of such an error says little (a bad certificate is a bare ``ssl`` error, a refused connection is wrapped
twice), so causes, numbers and codes are read. Pure.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Sequence
from enum import Enum

import aiosmtplib

from app.mail.reply import Phase, Reply, reply_of
from app.mail.transaction import ConnectTrouble
from app.smtp.parser import RawReply
from app.smtp.wire import Broken


class Step(Enum):
    """Where in the opening of a session we are: words for people, and the phase of a reply that comes there."""

    CONNECT = "connecting", Phase.CONNECT
    EHLO = "EHLO", Phase.CONNECT
    STARTTLS = "STARTTLS and the TLS handshake", Phase.STARTTLS
    TLS_EHLO = "EHLO under TLS", Phase.STARTTLS
    AUTH = "the sign-in", Phase.AUTH

    def __init__(self, words: str, phase: Phase) -> None:
        self.words = words
        self.phase = phase


# X509_V_ERR_* of OpenSSL: certificate not yet valid, expired; name or IP address mismatch. The rest is trust.
_CERTIFICATE_REASONS = {9: "tls-not-yet-valid", 10: "tls-expired", 62: "tls-name", 64: "tls-name"}

_ERRNO = re.compile(r"\[Errno (\d+)\]")
_TIMED_OUT = frozenset({errno.ETIMEDOUT})
_CLOSED = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})


def trouble_of(problem: Exception, step: Step, place: str, seconds: float) -> ConnectTrouble:
    """Return the trouble that an error means at ``step`` towards ``place``; ``seconds`` is the time-out that ran."""
    if isinstance(problem, ConnectTrouble):
        return problem
    if isinstance(problem, aiosmtplib.SMTPResponseException):
        return _reply_trouble(problem, step, place)
    if isinstance(problem, Broken):
        return _broken_trouble(problem, step, place)
    reason, why = _reason_of(problem)
    if reason == "timeout":
        return ConnectTrouble(reason, f"no answer from {place} within {seconds:g} s ({step.words})")
    return ConnectTrouble(reason, f"no session with {place} ({step.words}): {why}")


def reply_trouble(raw: RawReply, step: Step, place: str) -> ConnectTrouble:
    """Return the trouble that a reply means which is neither what was hoped for nor a refused credential."""
    reply = reply_of(raw.code, raw.lines, step.phase)
    return ConnectTrouble("reply", f"{place} answered {reply} ({step.words})", reply)


def _reply_trouble(problem: aiosmtplib.SMTPResponseException, step: Step, place: str) -> ConnectTrouble:
    reason = "greeting" if step is Step.CONNECT else "reply"
    if not 200 <= problem.code < 600:  # the library's -1: not a reply at all
        return ConnectTrouble(reason, f"{place} does not speak SMTP ({step.words})")
    reply = _reply_of(problem, step.phase)
    return ConnectTrouble(reason, f"{place} answered {reply} ({step.words})", reply)


def _reply_of(problem: aiosmtplib.SMTPResponseException, phase: Phase) -> Reply:
    lines = ["".join(char if char.isprintable() else " " for char in line) for line in problem.message.split("\n")]
    return reply_of(problem.code, lines, phase)


def _broken_trouble(problem: Broken, step: Step, place: str) -> ConnectTrouble:
    reason = {"timeout": "timeout", "lost": "closed", "aborted": "closed"}.get(problem.reason, "reply")
    return ConnectTrouble(reason, f"no session with {place} ({step.words}): {problem.text}")


def _reason_of(problem: Exception) -> tuple[str, str]:
    """Return the bounded reason and a few words."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        reason = _CERTIFICATE_REASONS.get(problem.verify_code, "tls-untrusted")
        return reason, f"its certificate is refused: {problem.verify_message.rstrip('.')}"
    if isinstance(problem, ssl.SSLError):
        return "tls-failed", f"TLS failed: {problem.reason or 'the other side ended it'}"
    if isinstance(problem, TimeoutError | aiosmtplib.SMTPTimeoutError):
        return "timeout", ""
    if isinstance(problem, aiosmtplib.SMTPConnectError) and isinstance(problem.__cause__, Exception):
        return _reason_of(problem.__cause__)
    if isinstance(problem, socket.gaierror | UnicodeError):
        return "dns", f"its name cannot be resolved ({getattr(problem, 'strerror', None) or 'not a name'})"
    if isinstance(problem, aiosmtplib.SMTPServerDisconnected):
        return "closed", "it closed the connection"
    if isinstance(problem, OSError):
        return _network_reason(_numbers(problem)), _network_words(problem)
    return "closed", "the connection ended"


def _numbers(problem: OSError) -> Sequence[int]:
    """Return the error numbers; of several addresses tried, asyncio tells all in one sentence."""
    if problem.errno is not None:
        return (problem.errno,)
    return [int(number) for number in _ERRNO.findall(str(problem))]


def _network_reason(numbers: Sequence[int]) -> str:
    # The most telling of several: somebody answered, nobody answered, there is no way.
    if errno.ECONNREFUSED in numbers:
        return "refused"
    if not _TIMED_OUT.isdisjoint(numbers):
        return "timeout"
    return "closed" if not numbers or not _CLOSED.isdisjoint(numbers) else "unreachable"


def _network_words(problem: OSError) -> str:
    return problem.strerror or str(problem) or "the connection ended"
