"""What goes wrong on order: the phases of a conversation, the actions, one fault, and the book that holds them.

A fault names a phase, what to do there, and whom it concerns; every condition left out matches everything. The book
decides which fault an occasion meets; performing it is the speaker's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from app.emulator.accounts import canonical, matches
from app.emulator.replies import check_reply


class Phase(StrEnum):
    """Where in a session a fault strikes."""

    CONNECT = "connect"  # in place of the banner
    EHLO = "ehlo"
    STARTTLS = "starttls"
    TLS = "tls"  # the handshake, after the 220
    AUTH = "auth"  # the final reply of a sign-in
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"  # after ``octets`` of the content, before the dot
    DOT = "dot"
    RSET = "rset"
    NOOP = "noop"
    QUIT = "quit"


class Action(StrEnum):
    """What a fault does; without one it gives its reply."""

    DROP = "drop"  # TCP reset
    CLOSE = "close"  # close_notify and FIN, after the reply if there is one
    TRUNCATE_TLS = "truncate-tls"  # FIN without close_notify
    STALL = "stall"  # nothing for some seconds, or until the client leaves; then things go on
    LATE_REPLY = "late-reply"  # the work is done at once, the reply comes some seconds later
    HALF_REPLY = "half-reply"  # half of a line, then FIN; with seconds: a silence first
    OVERLONG_REPLY = "overlong-reply"  # a line of more than 8 KiB
    BARE_LF = "bare-lf"  # lines that end in LF
    NO_CODE = "no-code"  # words where the three digits of a reply should be
    OUT_OF_TURN = "out-of-turn"  # the right reply and one that nobody asked for
    DROP_AFTER_DOT = "drop-after-dot"  # taken, then TCP reset instead of the reply
    ANYWAY_354 = "354-anyway"  # 354 to DATA although MAIL or every RCPT was refused
    INJECT_PLAINTEXT = "inject-plaintext"  # the reply's text behind the 220 of STARTTLS, in the same segment
    CHALLENGE = "challenge"  # XOAUTH2 refused by 334 and JSON first (RFC 7628 §3.2.3 style)
    NO_STARTTLS = "no-starttls"  # a man in the middle took it out; AUTH is offered in the clear
    NO_AUTH = "no-auth"
    NO_PIPELINING = "no-pipelining"
    NO_SMTPUTF8 = "no-smtputf8"
    NO_8BITMIME = "no-8bitmime"
    NO_SIZE = "no-size"
    WRONG_NAME = "wrong-name"  # certificates that must not be trusted
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    SELF_SIGNED = "self-signed"
    UNKNOWN_CA = "unknown-ca"
    OLD_TLS = "old-tls"  # a server that speaks nothing newer than TLS 1.1


FEATURES = frozenset(
    {
        Action.NO_STARTTLS,
        Action.NO_AUTH,
        Action.NO_PIPELINING,
        Action.NO_SMTPUTF8,
        Action.NO_8BITMIME,
        Action.NO_SIZE,
    }
)
CERTIFICATES = frozenset(
    {
        Action.WRONG_NAME,
        Action.EXPIRED,
        Action.NOT_YET_VALID,
        Action.SELF_SIGNED,
        Action.UNKNOWN_CA,
        Action.OLD_TLS,
    }
)
_OWN_PHASE = {
    Action.DROP_AFTER_DOT: Phase.DOT,
    Action.ANYWAY_354: Phase.DATA,
    Action.INJECT_PLAINTEXT: Phase.STARTTLS,
    Action.CHALLENGE: Phase.AUTH,
    **dict.fromkeys(FEATURES, Phase.EHLO),
    **dict.fromkeys(CERTIFICATES, Phase.TLS),
}
# An end of the handshake is all that can be ordered there; there is nobody to say a reply to.
_TLS_ACTIONS = CERTIFICATES | {Action.DROP, Action.CLOSE, Action.STALL}
_CONTENT_ACTIONS = frozenset(
    {Action.DROP, Action.CLOSE, Action.TRUNCATE_TLS, Action.STALL, Action.OUT_OF_TURN, Action.HALF_REPLY}
)
_IN_TRANSACTION = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.DOT})
_AFTER_SIGN_IN = _IN_TRANSACTION | {Phase.AUTH, Phase.RSET, Phase.NOOP, Phase.QUIT}


@dataclass(slots=True, eq=False, kw_only=True)
class Fault:
    """One thing that goes wrong.

    What: ``phase`` (may be left out where the action has one of its own), ``reply`` (code and text; ``\\n`` between
    lines) and/or ``action``; ``seconds`` for stall (None: until the client leaves), late-reply and half-reply;
    ``octets`` of content before phase ``content`` strikes.

    Whom: ``recipient`` and ``sender`` (the return path) as address or pattern, ``message_id`` (phase dot only),
    ``login``, ``session`` (its number, from 1). When: ``attempt`` – only the nth occasion that matches, from 1;
    ``times`` – how often at most.

    In phase ``mail`` a recipient is known only where the client pipelines; else the fault strikes at that RCPT.
    """

    phase: Phase | None = None
    reply: str | None = None
    action: Action | None = None
    seconds: float | None = None
    octets: int = 1
    recipient: str | None = None
    sender: str | None = None
    message_id: str | None = None
    login: str | None = None
    session: int | None = None
    attempt: int | None = None
    times: int | None = None
    seen: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.action = Action(self.action) if self.action is not None else None
        own = _OWN_PHASE.get(self.action) if self.action is not None else None
        self.phase = Phase(self.phase) if self.phase is not None else own
        problem = self._problem(own)
        if problem:
            raise ValueError(f"a fault {problem}")

    def _problem(self, own: Phase | None) -> str | None:
        if self.phase is None:
            return "needs a phase"
        if own is not None and self.phase is not own:
            return f"with action {self.action} strikes in phase {own} only"
        if self.reply is None and self.action is None:
            return "needs a reply or an action"
        if self.reply is not None and self.action is not Action.INJECT_PLAINTEXT:
            check_reply(self.reply)
        if self.phase is Phase.TLS and (self.action not in _TLS_ACTIONS or self.reply is not None):
            return "in phase tls is a certificate, drop, close or stall"
        if self.phase is Phase.CONTENT and self.action is not None and self.action not in _CONTENT_ACTIONS:
            return f"in phase content cannot be {self.action}"
        if self.phase not in _IN_TRANSACTION and (self.recipient or self.sender):
            return f"in phase {self.phase} cannot name a recipient or a sender: nobody knows them yet"
        if self.phase is not Phase.DOT and self.message_id:
            return f"in phase {self.phase} cannot name a Message-ID: it is read at the dot"
        if self.phase not in _AFTER_SIGN_IN and self.login:
            return f"in phase {self.phase} cannot name a login: nobody has signed in yet"
        if any(number is not None and number < 1 for number in (self.session, self.attempt, self.times, self.octets)):
            return "counts session, attempt, times and octets from 1"
        if self.seconds is not None and not 0 <= self.seconds < float("inf"):
            return "takes seconds from 0"
        return None

    @property
    def replacement(self) -> str | None:
        """The reply given in place of the right one; None where ``reply`` is something beside it, or nothing."""
        return None if self.action in (Action.OUT_OF_TURN, Action.INJECT_PLAINTEXT) else self.reply

    def concerns(self, occasion: Occasion) -> bool:
        """Whether every condition but the counts holds."""
        return (
            self.phase is occasion.phase
            and (self.session is None or self.session == occasion.session)
            and _under(self.login, (occasion.login,))
            and _under(self.sender, (occasion.sender,))
            and _under(self.recipient, occasion.recipients)
            and (self.message_id is None or self.message_id.strip("<>") == (occasion.message_id or "").strip("<>"))
        )

    def strikes(self) -> bool:
        """Count an occasion that matches; say whether the fault strikes on it."""
        self.seen += 1
        if (self.attempt is not None and self.seen != self.attempt) or (
            self.times is not None and self.fired >= self.times
        ):
            return False
        self.fired += 1
        return True


def _under(pattern: str | None, addresses: Iterable[str | None]) -> bool:
    if pattern is None:
        return True
    wanted = canonical(pattern)
    return any(address is not None and matches(wanted, canonical(address)) for address in addresses)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is known at the moment at which a fault may strike."""

    phase: Phase
    session: int
    login: str | None = None
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    message_id: str | None = None


class FaultBook:
    """The faults on order, in the order in which they were given; the first that strikes wins."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)

    def add(self, fault: Fault) -> Fault:
        """Order one more; return it, its ``fired`` tells how often it struck."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Order nothing any more."""
        self._faults.clear()

    def take(self, occasion: Occasion, only: frozenset[Action] | None = None) -> Fault | None:
        """Return the fault that strikes now; ``only`` limits it to some actions, else features are left aside."""
        for fault in self._faults:
            fits = fault.action in only if only is not None else fault.action not in FEATURES
            if fits and fault.concerns(occasion) and fault.strikes():
                return fault
        return None

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._faults))

    def __len__(self) -> int:
        return len(self._faults)
