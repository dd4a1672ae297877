"""One transaction: MAIL, RCPT, DATA, the content and its dot.

Like Exchange, it says yes to every well-formed envelope and gives its verdict at the dot. A message counts as taken
from the moment the verdict is 250, whether or not the client gets to read it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4

from app.emulator import replies
from app.emulator.catalogue import magic
from app.emulator.content import Header, read_header, unstuff
from app.emulator.exchange import Judgement, Submission
from app.emulator.faults import Action, Fault, Occasion, Phase
from app.emulator.inbox import Received
from app.emulator.speaker import Ended
from app.emulator.state import MAXIMUM_SIZE
from app.emulator.wire import Gone

if TYPE_CHECKING:
    from app.emulator.session import Session

RECIPIENT_LIMIT = 1000  # Exchange's upper bound for an organisation
_END = b"\r\n.\r\n"
_KEYWORD = r'(?:"(?:[^"\\\r\n]|\\.)*"|[^\s<>"@,;:()\[\]\\]+)'
_PATH = re.compile(rf"<((?:{_KEYWORD}@(?:\[[^\]\s]+\]|[^\s<>@,;:()\[\]\\]+))?)>(?: +(.*))?")
_RCPT_AHEAD = re.compile(rb"RCPT TO:\s*<([^>\r\n]*)>", re.IGNORECASE)
_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"})
_RCPT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})


class Transaction:
    """From MAIL to the reply to the dot, or to whatever ends it before."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state = session.state
        self._speaker = session.speaker
        self._first_flight = session.wire.flights
        self._sender: str | None = None
        self._named_sender: str | None = None
        self._is_utf8 = False
        self._recipients: list[str] = []
        self._named: list[str] = []
        self._ahead: frozenset[str] = frozenset()
        self._size = 0  # octets of content that have come
        self._arriving = 0  # of these, octets reserved in the inbox

    @property
    def has_sender(self) -> bool:
        """Whether MAIL was accepted."""
        return self._sender is not None

    async def mail(self, argument: str) -> None:
        """Take the return path."""
        path, parameters = _path_of(argument, "FROM:")
        self._named_sender = path
        ahead = _recipients_ahead(self._session.wire.unread)
        self._ahead = frozenset(ahead)
        self._is_utf8 = "SMTPUTF8" in parameters
        self._state.counters.transactions += 1
        if self._session.login is not None:
            self._state.counters.login(self._session.login).note_transaction(self._state.clock.boot())
        reply = self._mail_reply(path, parameters)
        if await self._step(self._occasion(Phase.MAIL, ahead), reply) == 250:
            self._sender = path or ""

    async def rcpt(self, argument: str) -> None:
        """Take a recipient, or refuse it."""
        path, parameters = _path_of(argument, "TO:")
        if path:
            self._named.append(path)
        if self._sender is None:
            await self._speaker.say(replies.MAIL_FIRST)
            return
        reply = replies.RECIPIENT_OK
        if not path or not self._is_speakable(path):
            reply = replies.BAD_RECIPIENT
        elif not _RCPT_PARAMETERS.issuperset(parameters):
            reply = replies.BAD_PARAMETER
        elif len(self._recipients) >= RECIPIENT_LIMIT:
            reply = replies.TOO_MANY_RECIPIENTS
        phase = Phase.RCPT
        recipient = (path or "",)
        fault = self._speaker.ordered(self._occasion(phase, recipient))
        if fault is None and path and path not in self._ahead:
            # Ordered for MAIL by recipient, but the client did not pipeline: here it is known at last.
            fault = self._speaker.ordered(self._occasion(Phase.MAIL, recipient))
        await self._speaker.before(fault)
        code = await self._told(phase, reply, fault)
        if code == 250 and path:
            self._recipients.append(path)

    async def data(self) -> bool:
        """Take the content and give the verdict; True when the transaction is over."""
        occasion = self._occasion(Phase.DATA, tuple(self._named))
        fault = self._speaker.ordered(occasion)
        await self._speaker.before(fault)
        reply = replies.START_INPUT
        if fault is None or fault.action is not Action.ANYWAY_354:
            if self._sender is None:
                reply = replies.MAIL_FIRST
            elif not self._recipients:
                reply = replies.RCPT_FIRST
        if await self._told(Phase.DATA, reply, fault) != 354:
            return False
        try:
            await self._verdict(await self._whole_content())
        finally:
            self._release()
        return True

    async def _whole_content(self) -> bytes | None:
        try:
            return await self._content()
        except (Ended, Gone):
            self._session.heard(f"<{self._size} octets, no dot>")
            raise

    def _mail_reply(self, path: str | None, parameters: dict[str, str]) -> str:
        session = self._session
        if session.login is None:
            refused = session.refused_sign_in
            embedded = f". Error: {refused}" if refused and "\n" not in refused else ""
            return f"530 5.7.57 Client not authenticated to send mail{embedded} {replies.TRAIL}"
        if path is None or not self._is_speakable(path):
            return replies.BAD_SENDER
        size = parameters.get("SIZE", "0")
        if not _MAIL_PARAMETERS.issuperset(parameters) or (self._is_utf8 and "SMTPUTF8" in session.without):
            return replies.BAD_PARAMETER
        if not (size.isascii() and size.isdigit() and len(size) <= 20):
            return replies.BAD_ARGUMENT
        return replies.TOO_LARGE if int(size) > MAXIMUM_SIZE else replies.SENDER_OK

    def _is_speakable(self, path: str) -> bool:
        """Whether the address can be said in this transaction (RFC 6531 §3.5)."""
        return path.isascii() or (self._is_utf8 and not any("\udc80" <= letter <= "\udcff" for letter in path))

    async def _content(self) -> bytes | None:
        """Read up to the dot and return what came before it; None where it was more than is taken."""
        wire, inbox = self._session.wire, self._state.inbox
        occasion = self._occasion(Phase.CONTENT, tuple(self._named))
        faults = [fault for fault in (*self._state.faults, magic(occasion)) if fault and fault.concerns(occasion)]
        content = bytearray(b"\r\n")
        is_kept = True
        while True:
            searched = max(0, len(content) - len(_END) + 1)
            piece = await wire.piece()
            content += piece
            self._size += len(piece)
            if is_kept:
                self._arriving += len(piece)
                is_kept = inbox.arriving(len(piece)) and self._size <= MAXIMUM_SIZE + len(_END)
            for fault in [fault for fault in faults if fault.octets <= self._size]:
                faults.remove(fault)
                if fault.strikes():
                    await self._strike_in_content(fault)
            end = content.find(_END, searched)
            if end >= 0:
                self._session.heard(f"<{self._size - len(content) + end + 2} octets and the dot>")
                wire.push_back(bytes(content[end + len(_END) :]))
                return bytes(content[2 : end + 2]) if is_kept else None
            if not is_kept:
                del content[: -len(_END)]

    async def _strike_in_content(self, fault: Fault) -> None:
        self._state.counters.faults += 1
        await self._speaker.before(fault)
        if fault.action is not Action.STALL:
            await self._speaker.answer(Phase.CONTENT, fault.reply or replies.NOOP_OK, fault)
            await self._session.wire.flush()

    async def _verdict(self, content: bytes | None) -> None:
        raw = unstuff(content or b"")
        header = read_header(raw)
        fault = self._speaker.ordered(self._occasion(Phase.DOT, tuple(self._named), header.message_id))
        try:
            await self._speaker.before(fault)
        except (Ended, Gone):
            self._keep(raw, header, None, is_taken=False)
            raise
        ordered = fault.replacement if fault is not None else None
        judgement = Judgement(ordered) if ordered is not None else await self._judge(content, raw, header)
        message_id = header.message_id or f"<{uuid4()}@{replies.FRONT}>"
        reply = judgement.reply or replies.taken(message_id)
        is_taken = replies.code_of(reply) == 250
        self._keep(raw, header, reply, is_taken=is_taken)
        self._count(reply, judgement.limit, is_taken=is_taken)
        await self._speaker.answer(Phase.DOT, reply, fault)

    async def _judge(self, content: bytes | None, raw: bytes, header: Header) -> Judgement:
        session = self._session
        if content is None:
            return Judgement(replies.TOO_LARGE if self._size > MAXIMUM_SIZE + len(_END) else replies.NO_MEMORY)
        if not self._recipients or session.account is None or session.login is None:
            return Judgement(replies.NO_RECIPIENTS)
        submission = Submission(
            account=session.account,
            login=session.login,
            session=session.number,
            recipients=len(self._recipients),
            size=len(raw),
            senders=header.senders,
            has_sender_field=header.has_sender_field,
            has_too_large_header=header.is_too_large,
        )
        while True:
            judgement = self._state.exchange.judge(submission)
            if not judgement.delay:
                return judgement
            await session.wire.pause(judgement.delay)

    def _count(self, reply: str, limit: str | None, *, is_taken: bool) -> None:
        counters, login = self._state.counters, self._session.login
        if limit is not None:
            counters.limits[limit] += 1
        if not is_taken:
            self._refused(reply)
            return
        counters.accepted += 1
        if login is not None:
            self._state.exchange.note_accepted(login, len(self._recipients))
            counters.login(login).note_accepted(self._state.clock.boot(), len(self._recipients))

    def _refused(self, reply: str) -> None:
        self._state.counters.refuse(reply)
        if self._session.login is not None:
            self._state.exchange.note_refused(self._session.login, reply)

    def _release(self) -> None:
        """Give the room of arriving content back."""
        self._state.inbox.arriving(-self._arriving)
        self._arriving = 0

    def _keep(self, raw: bytes, header: Header, reply: str | None, *, is_taken: bool) -> None:
        self._release()
        self._state.inbox.add(
            Received(
                number=self._state.inbox.next_number(),
                session=self._session.number,
                login=self._session.login,
                mail_from=self._sender or "",
                rcpt_tos=tuple(self._recipients),
                raw=raw,
                at=self._state.clock.now(),
                tls=self._session.wire.tls_version,
                accepted=is_taken,
                reply=reply,
                message_id=header.message_id,
                subject=header.subject,
                round_trips=self._session.wire.flights - self._first_flight + 1,
                has_bare_newline=not raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n"),
            )
        )

    async def _step(self, occasion: Occasion, reply: str) -> int:
        fault = self._speaker.ordered(occasion)
        await self._speaker.before(fault)
        return await self._told(occasion.phase, reply, fault)

    async def _told(self, phase: Phase, reply: str, fault: Fault | None) -> int:
        """Give a reply, or what was ordered in its place; count it if it is a refusal."""
        given = reply if fault is None or fault.replacement is None else fault.replacement
        if replies.code_of(given) >= 400:
            self._refused(given)
        return await self._speaker.answer(phase, reply, fault)

    def _occasion(self, phase: Phase, recipients: tuple[str, ...], message_id: str | None = None) -> Occasion:
        session = self._session
        return Occasion(phase, session.number, session.login, self._named_sender, recipients, message_id)


def _path_of(argument: str, keyword: str) -> tuple[str | None, dict[str, str]]:
    """Return the address in ``FROM:<…>`` or ``TO:<…>`` and the parameters behind; None where it is malformed."""
    if not argument.upper().startswith(keyword):
        return None, {}
    found = _PATH.fullmatch(argument[len(keyword) :].strip())
    if found is None:
        return None, {}
    pairs = (word.partition("=") for word in (found.group(2) or "").split())
    return found.group(1), {name.upper(): value for name, _, value in pairs}


def _recipients_ahead(unread: bytes) -> tuple[str, ...]:
    """Return the recipients that a pipelining client has already named behind its MAIL."""
    ahead = []
    for line in unread.split(b"\r\n"):
        found = _RCPT_AHEAD.match(line)
        if found is None:
            break
        ahead.append(found.group(1).decode("utf-8", "surrogateescape"))
    return tuple(ahead)
