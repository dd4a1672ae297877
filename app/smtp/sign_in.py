"""Signs in on a connection under TLS: one try, one mechanism (RFC 4954; XOAUTH2 as Microsoft describes it).

LOGIN for a password, PLAIN where only that is offered, XOAUTH2 for a token. A refusal is ``SignInRefused``; a 4xx, a
421 or a broken connection is ``ConnectTrouble`` and says nothing about the credential. What the server echoes of a
credential never leaves this file.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable

from app.mail.reply import Phase, reply_of
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.smtp.failures import Step, reply_trouble, trouble_of
from app.smtp.parser import RawReply
from app.smtp.wire import Broken, Wire

# RFC 4954 §4: what a server must take as one line of a sign-in, with its ending.
_LINE_LIMIT = 12_288
_WORDS = 300

_BLOT = "***"
# A stretch of a credential that a server may have cut out of a line.
_RUN = re.compile(r"[\w.~+/=-]{8,}")
# A shorter password is no secret that could be told from ordinary words.
_SHORTEST = 6


class Dialogue:
    """One sign-in on one connection; ``seconds`` is given for each answer, ``place`` names the server."""

    def __init__(self, wire: Wire, mechanisms: Collection[str], seconds: float, place: str) -> None:
        self._wire = wire
        self._mechanisms = mechanisms
        self._seconds = seconds
        self._place = place
        self._secrets: list[str] = []

    async def with_password(self, username: str, password: str) -> None:
        """Sign in by LOGIN or PLAIN; raises ``ConnectTrouble``, ``SignInRefused``."""
        mechanism = self._choose(("LOGIN", "PLAIN"))
        user, secret = username.encode(), password.encode()
        self._hide(password)
        if mechanism == "PLAIN":
            self._conclude(await self._say(b"AUTH PLAIN ", b64encode(b"\0%b\0%b" % (user, secret))))
            return
        reply = await self._say(b"AUTH LOGIN " + b64encode(user))
        if reply.code == 334 and asks_for_user(reply):
            reply = await self._say(b64encode(user))
        if reply.code == 334:
            reply = await self._say(b"", b64encode(secret))
        self._conclude(reply)

    async def with_token(self, username: str, token: str) -> None:
        """Sign in by XOAUTH2, in one line or, where the server wants that, after its 334; raises as above.

        A 334 with words in it is a refusal: it is answered by an empty line, and the final reply follows.
        """
        self._choose(("XOAUTH2",))
        encoded = b64encode(b"user=%b\x01auth=Bearer %b\x01\x01" % (username.encode(), token.encode()))
        self._hide(token)
        verb = b"AUTH XOAUTH2"
        reply = None
        if len(verb) + len(encoded) + 3 <= _LINE_LIMIT:
            reply = await self._say(verb + b" ", encoded)
        if reply is None or says_too_long(reply):
            reply = await self._say(verb)
        if reply.code == 334 and not challenge_of(reply):
            reply = await self._say(b"", encoded)
        words = ""
        if reply.code == 334:
            words = words_of(challenge_of(reply))
            reply = await self._say(b"")
        self._conclude(reply, words)

    def _choose(self, wanted: Iterable[str]) -> str:
        for mechanism in wanted:
            if mechanism in self._mechanisms:
                return mechanism
        offered = ", ".join(sorted(self._mechanisms)) or "no sign-in"
        raise ConnectTrouble("reply", f"{self._place} offers {offered}, not {' or '.join(wanted)}")

    async def _say(self, line: bytes, secret: bytes = b"") -> RawReply:
        self._hide(secret.decode("ascii"))
        try:
            raw = await self._wire.reply(line + secret, self._seconds)
        except Broken as broken:
            raise self._trouble(broken) from None
        return RawReply(raw.code, tuple(without(text, self._secrets) for text in raw.lines))

    def _trouble(self, broken: Broken) -> ConnectTrouble:
        told = Broken(broken.reason, without(broken.text, self._secrets))
        return trouble_of(told, Step.AUTH, self._place, self._seconds)

    def _hide(self, secret: str) -> None:
        if len(secret) >= _SHORTEST:
            self._secrets.append(secret)

    def _conclude(self, raw: RawReply, words: str = "") -> None:
        """Return if the server took us; raises otherwise."""
        if raw.code == 235:
            if self._wire.broken is not None:
                raise self._trouble(self._wire.broken)
            return
        if raw.code < 500:
            raise reply_trouble(raw, Step.AUTH, self._place)
        reply = reply_of(raw.code, raw.lines, Phase.AUTH)
        code = f"{reply.code} {reply.enhanced}" if reply.enhanced else str(reply.code)
        told = f"; it told: {without(words, self._secrets)}" if words else ""
        raise SignInRefused(code, f"{self._place} refused the sign-in: {reply}{told}", reply)


def is_worth_a_fresh_token(refusal: SignInRefused) -> bool:
    """Whether a newer token may help: the server said of the token no more than that it is not good.

    ``535 5.7.139`` names a reason that no token removes.
    """
    reply = refusal.reply
    return reply is not None and reply.code == 535 and reply.enhanced in (None, "5.7.3", "5.7.8")


def says_too_long(reply: RawReply) -> bool:
    """Whether the server takes no line of this length, and so wants the token after its 334."""
    return reply.code == 500 or (reply.code == 501 and "long" in " ".join(reply.lines).lower())


def challenge_of(reply: RawReply) -> str:
    """Return the decoded challenge of a 334, or its text where it is not base64."""
    text = reply.lines[0].strip()
    try:
        return b64decode(text, validate=True).decode("utf-8", "replace").strip()
    except (binascii.Error, ValueError):
        return text


def asks_for_user(reply: RawReply) -> bool:
    """Whether a 334 of AUTH LOGIN asks (again) for the user name."""
    return challenge_of(reply).lower().startswith("user")


def words_of(challenge: str) -> str:
    """Return the members of a JSON challenge as ``name value, …``; other text as it is. Bounded, on one line."""
    try:
        told = json.loads(challenge)
    except ValueError:
        told = None
    words = ", ".join(f"{name} {value}" for name, value in told.items()) if isinstance(told, dict) else challenge
    return "".join(char if char.isprintable() else " " for char in words)[:_WORDS]


def without(text: str, secrets: Collection[str]) -> str:
    """Return a text with every secret in it blotted out, and every longer piece of one.

    Some servers echo what they do not understand, whole or cut.
    """
    for secret in secrets:
        text = text.replace(secret, _BLOT)
    return _RUN.sub(lambda run: _BLOT if any(run[0] in secret for secret in secrets) else run[0], text)
