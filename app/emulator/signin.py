"""Signing in: AUTH LOGIN with a password, AUTH XOAUTH2 with a token, refused in Exchange's words."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING

from app.emulator import replies
from app.emulator.catalogue import wording
from app.emulator.faults import Action, Phase
from app.emulator.wire import LineTooLong

if TYPE_CHECKING:
    from app.emulator.session import Session

_ASK_USERNAME = "334 VXNlcm5hbWU6"
_ASK_PASSWORD = "334 UGFzc3dvcmQ6"  # noqa: S105 - the prompt "Password:"
_ASK_TOKEN = "334 "  # noqa: S105
_CANCELLED = "501 5.7.0 Authentication cancelled"
_NOT_BASE64 = "501 5.5.2 Cannot decode response"

# user=NAME ^A auth=Bearer TOKEN ^A ^A; as documented for IMAP, POP and SMTP with OAuth.
_XOAUTH2 = re.compile(r"user=([^\x01]+)\x01auth=Bearer ([\x21-\x7e]+)\x01\x01", re.IGNORECASE)


class _Refused(Exception):
    """The dialogue itself failed; nobody was named."""


class SignIn:
    """One AUTH command and the dialogue behind it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def run(self, argument: str) -> None:
        """Lead the dialogue to its final reply."""
        mechanism, _, initial = argument.partition(" ")
        led = {"LOGIN": self._login, "XOAUTH2": self._xoauth2}.get(mechanism.upper(), self._unknown)
        try:
            await led(initial)
        except _Refused as refused:
            self._session.state.counters.auth_failed += 1
            await self._session.speaker.say(str(refused))
        except LineTooLong:
            self._session.state.counters.auth_failed += 1
            await self._session.speaker.say(replies.LINE_TOO_LONG)

    async def _login(self, initial: str) -> None:
        username = _decoded(initial or await self._ask(_ASK_USERNAME))
        password = _decoded(await self._ask(_ASK_PASSWORD))
        account = self._session.state.accounts.find(username)
        is_right = account is not None and account.knows(password)
        await self._conclude(username, None if is_right else wording("wrong-credentials"))

    async def _xoauth2(self, initial: str) -> None:
        found = _XOAUTH2.fullmatch(_decoded(initial or await self._ask(_ASK_TOKEN)))
        if found is None:
            raise _Refused(wording("invalid-xoauth2"))
        user, token = found.groups()
        state = self._session.state
        is_right = state.accounts.find(user) is not None and state.tokens.admits(token, user)
        await self._conclude(user, None if is_right else wording("auth-unsuccessful"))

    async def _unknown(self, _initial: str) -> None:
        raise _Refused(wording("unrecognized-mechanism"))

    async def _conclude(self, login: str, refusal: str | None) -> None:
        session, state = self._session, self._session.state
        occasion = session.occasion(Phase.AUTH, login=login)
        fault = session.speaker.ordered(occasion)
        await session.speaker.before(fault)
        if fault is not None and fault.action is Action.CHALLENGE:
            await self._challenge()
            refusal = fault.reply or wording("auth-unsuccessful")
        elif fault is not None and fault.replacement is not None:
            refusal = None if replies.code_of(fault.replacement) == 235 else fault.replacement
        if refusal is None:
            account = state.accounts.find(login)
            if account is not None:
                session.sign_in(account, login)
            await session.speaker.answer(Phase.AUTH, replies.SIGNED_IN, fault)
            return
        state.counters.auth_failed += 1
        session.refused_sign_in = refusal.removesuffix(f" {replies.TRAIL}")
        if state.exchange.limits.auth_failure_delay:
            await session.wire.pause(state.exchange.limits.auth_failure_delay)
        await session.speaker.answer(Phase.AUTH, refusal, fault)

    async def _challenge(self) -> None:
        """Show the error as JSON behind a 334 and wait for the client's empty line, as other servers do."""
        error = json.dumps({"status": "401", "schemes": "bearer", "scope": "https://outlook.office365.com/"})
        await self._ask(f"334 {base64.b64encode(error.encode()).decode()}")

    async def _ask(self, prompt: str) -> str:
        session = self._session
        await session.speaker.say(prompt)
        line = await session.wire.line()
        if session.wire.tls_version is None:
            session.state.counters.plaintext_credential_octets += len(line)
        answer = line.strip().decode("ascii", "replace")
        if answer == "*":
            raise _Refused(_CANCELLED)
        return answer


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("" if text == "=" else text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise _Refused(_NOT_BASE64) from None
