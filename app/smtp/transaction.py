"""One mail transaction: RSET, MAIL, RCPT, DATA in one flight, the content, the dot; two round trips on a warm session.

The fence: the dot is written only after ``hand_over`` has returned True, in one write with the end of the content (at
most 64 KiB), and nothing else writes it. Small content is committed while the first flight is under way; of large
content everything but the last write goes first. So a transaction that ends without its dot written was not taken
(RFC 5321 §4.1.1.10), and one that ends after it without a complete reply is unknown (RFC 1047).

Where commands are pipelined, the mark of a small message may have been committed although its envelope was refused. No
dot follows then, and ``ANSWERED`` with ``dot`` None says so: the mark is harmless as soon as the replies are settled. A
refused mark goes before everything: the session is cut at once, whatever the server says to the envelope.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum, auto

from app.kit.deadline import Deadline
from app.mail.reply import Phase, Reply, reply_of
from app.mail.transaction import Content, Envelope, Fate, HandOver, Replies
from app.smtp.commands import DATA, commands_of
from app.smtp.parser import RawReply
from app.smtp.target import Features, Timeouts
from app.smtp.upload import Unreadable, Upload
from app.smtp.wire import Broken, Wire

_IDLE_CUT = "the idle session had been closed by the server"


class Course(Enum):
    """What the replies to an envelope ask for."""

    CONTENT = auto()  # go on
    ENDED = auto()  # refused; the session is clean after the next RSET
    LONE_DOT = auto()  # every recipient refused and yet 354: end the content that there is not
    INCIDENT = auto()  # MAIL refused and yet 354: some servers would send under the old sender; cut


def course_of(mail: Reply | None, recipients: Sequence[Reply | None], data: Reply | None) -> Course:
    """Decide what follows the first flight; None: not asked, after a refusal."""
    if data is None or data.code != 354:
        return Course.ENDED
    if mail is None or not mail.is_positive:
        return Course.INCIDENT
    return Course.CONTENT if has_taker(recipients) else Course.LONE_DOT


def has_taker(recipients: Sequence[Reply | None]) -> bool:
    """Whether a recipient was accepted."""
    for reply in recipients:  # noqa: SIM110 - asked twice for each message; a generator costs three times as much
        if reply is not None and reply.is_positive:
            return True
    return False


class _Withheld(Exception):
    """The mark was not given; there will be no dot."""


class Transaction:
    """See the module's promise; used once."""

    def __init__(
        self,
        wire: Wire,
        envelope: Envelope,
        features: Features,
        timeouts: Timeouts,
        *,
        is_pipelining: bool,
        has_rested: bool,
    ) -> None:
        self._wire = wire
        self._envelope = envelope
        self._features = features
        self._timeouts = timeouts
        self._is_pipelining = is_pipelining
        self._has_rested = has_rested
        self._noted = 0  # replies to RSET, MAIL, RCPT..., DATA so far
        self._mail: Reply | None = None
        self._recipients: list[Reply | None] = [None] * len(envelope.recipients)
        self._data: Reply | None = None
        self._dot: Reply | None = None
        self._is_dot_written = False
        self._incident: str | None = None
        self._loop = asyncio.get_running_loop()
        self.is_amid = False  # whether it has begun and not come to an end that both sides know
        self.seconds: tuple[float, float] | None = None  # until 354; from there to the reply to the dot

    async def run(self, content: Content, hand_over: HandOver) -> Replies:
        """Make the transaction; returns how it ended, whatever the server, the content or the mark do."""
        if self._envelope.smtputf8 and not self._features.smtputf8:
            return self._refused_here()
        upload = Upload(content)
        try:
            await upload.begin()
            await self._converse(upload, hand_over)
        except Broken as broken:
            return self._broken(broken)
        except _Withheld as withheld:
            self._wire.cut("withheld", str(withheld))
            self._note_rest()
            return self._told(Fate.WITHHELD, str(withheld))
        except Unreadable as unreadable:
            return self.ended(str(unreadable))
        finally:
            await upload.close()
        return self._told(Fate.ANSWERED)

    def ended(self, trouble: str) -> Replies:
        """Return how a transaction ended that broke off just now."""
        return self._told(Fate.UNANSWERED if self._is_dot_written else Fate.NOT_TAKEN, trouble)

    # ------------------------------------------------------------ the steps

    async def _converse(self, upload: Upload, hand_over: HandOver) -> None:
        began = self._loop.time()
        is_marked = await self._envelope_phase(hand_over if upload.is_small else None)
        course = course_of(self._mail, self._recipients, self._data)
        if course is Course.INCIDENT:
            self._incident = f"354 to DATA although MAIL was refused ({self._mail})"
            self._wire.cut("confused", self._incident)
            return
        if course is Course.LONE_DOT:
            await self._send_lone_dot()
        elif course is Course.CONTENT:
            accepted = self._loop.time()
            await self._send_content(upload, hand_over, is_marked=is_marked)
            self.seconds = (accepted - began, self._loop.time() - accepted)
        self.is_amid = False

    async def _envelope_phase(self, hand_over: HandOver | None) -> bool:
        """Say the envelope and note the replies; return whether the mark has been committed meanwhile."""
        commands = commands_of(self._envelope, self._features)
        self.is_amid = True
        if self._is_pipelining:
            self._wire.send(b"".join(commands), replies=len(commands))
            if hand_over is not None:
                await self._mark(hand_over)
            await self._listen(len(commands))
            return hand_over is not None
        for command in commands:
            is_refused = self._mail is not None and not self._mail.is_positive
            if is_refused or (command is DATA and not has_taker(self._recipients)):
                return False
            self._wire.send(command, replies=1)
            await self._listen(1)
        return False

    async def _send_content(self, upload: Upload, hand_over: HandOver, *, is_marked: bool) -> None:
        if upload.is_small:
            last = upload.whole()
        else:
            held = b""
            async for piece in upload.pieces():
                if held:
                    self._wire.send(held)
                    await self._wire.drain(self._timeouts.data)
                held = piece
            last = held + upload.end()
        if not is_marked:
            await self._mark(hand_over)
        self._write_dot(last)
        raw = (await self._wire.replies(1, self._timeouts.final))[0]
        reply = reply_of(raw.code, raw.lines, Phase.DOT)
        if 300 <= reply.code < 400:
            self._incident = f"the reply to the dot is no verdict ({reply})"
            raise Broken("confused", self._incident)
        self._dot = reply

    def _write_dot(self, last: bytes) -> None:
        if self._wire.broken is not None:
            raise self._wire.broken
        self._is_dot_written = True
        self._wire.send(last, replies=1)

    async def _send_lone_dot(self) -> None:
        """End an empty message to nobody. There is nothing to mark; the verdicts on the recipients stand."""
        try:
            self._wire.send(b".\r\n", replies=1)
            raw = (await self._wire.replies(1, self._timeouts.final))[0]
        except Broken:
            return
        if raw.code < 400:
            reply = reply_of(raw.code, raw.lines, Phase.DOT)
            self._incident = f"every recipient was refused, and yet the empty message was taken ({reply})"

    async def _mark(self, hand_over: HandOver) -> None:
        try:
            with Deadline(self._timeouts.command):
                is_granted = await hand_over()
        except TimeoutError:
            raise _Withheld("the hand-over mark did not come in time") from None
        except Exception as problem:
            raise _Withheld(f"the hand-over mark failed ({type(problem).__name__})") from problem
        if not is_granted:
            raise _Withheld("the hand-over mark was refused")

    # ------------------------------------------------------------ what was said

    async def _listen(self, count: int) -> None:
        for raw in await self._wire.replies(count, self._timeouts.command):
            self._note(raw)
        if self._wire.broken is not None and self._wire.broken.reason == "closing":
            raise self._wire.broken  # 421: the replies stand, the session does not

    def _note(self, raw: RawReply) -> None:
        """Put a reply to the envelope in its place; raises ``Broken`` where it cannot be an answer to that command."""
        place = self._noted
        self._noted += 1
        if place == 0:
            if not 200 <= raw.code < 300 and raw.code != 421:
                # On a session that had rested, this is the server's goodbye, which crossed our first command.
                what = _IDLE_CUT if self._has_rested else "RSET was refused"
                raise Broken("confused", f"{what}: {raw.code} {' '.join(raw.lines)}")
            return
        if place == 1:
            self._mail = reply = reply_of(raw.code, raw.lines, Phase.MAIL)
        elif place <= len(self._recipients) + 1:
            self._recipients[place - 2] = reply = reply_of(raw.code, raw.lines, Phase.RCPT)
        else:
            self._data = reply = reply_of(raw.code, raw.lines, Phase.DATA)
        is_last = reply is self._data
        if (is_last and 200 <= reply.code < 400 and reply.code != 354) or (not is_last and 300 <= reply.code < 400):
            self._incident = f"a reply that answers nothing ({reply})"
            raise Broken("confused", self._incident)

    def _note_rest(self) -> Broken | None:
        """Note what came before a break; return the first fault among it, which says more than the break itself."""
        try:
            for raw in self._wire.take():
                self._note(raw)
        except Broken as broken:
            return broken
        return None

    # ------------------------------------------------------------ the account

    def _broken(self, broken: Broken) -> Replies:
        is_unheard = not self._noted and not self._wire.has_heard
        self._wire.cut(broken.reason, broken.text)
        if self._is_dot_written:
            return self.ended(broken.text)
        fault = self._note_rest() or broken
        if self._has_rested and is_unheard and broken.reason == "lost":
            return self.ended(_IDLE_CUT)
        return self.ended(fault.text)

    def _refused_here(self) -> Replies:
        """Refuse before a word is said: this server has no way to be told of such an address (RFC 6531 §3.2)."""
        self._mail = Reply(
            553, "5.6.7", "Not asked: the server does not offer SMTPUTF8, which an address needs", Phase.MAIL
        )
        return self._told(Fate.ANSWERED)

    def _told(self, fate: Fate, trouble: str | None = None) -> Replies:
        return Replies(
            fate=fate,
            mail=self._mail,
            recipients=tuple(self._recipients),
            data=self._data,
            dot=self._dot,
            trouble=trouble,
            incident=self._incident,
        )
