"""Speaks to the client: gives the reply of each step, or performs what was ordered in its place.

A step has two halves. ``before`` performs what keeps the step's work from being done (a stall, a cut); ``answer`` gives
the reply once the work is done, late, mangled or cut off where that was ordered. What the client gets to know and what
the emulator did are therefore never confused.
"""

from __future__ import annotations

from app.emulator.catalogue import magic
from app.emulator.faults import Action, Fault, Occasion, Phase
from app.emulator.replies import check_reply, code_of, encode, with_trail
from app.emulator.state import State
from app.emulator.wire import Wire

OVERLONG = 9000  # octets; clients read lines of at most 512 (RFC 5321 §4.5.3.1.5), patient ones 8,192
_CUTS = frozenset({Action.DROP, Action.CLOSE, Action.TRUNCATE_TLS})
_UNASKED = "250 2.0.0 OK, out of turn"


class Ended(Exception):
    """The server has ended the connection."""


class Speaker:
    """The server's side of one conversation."""

    def __init__(self, state: State, wire: Wire, number: int) -> None:
        self._state = state
        self._wire = wire
        self._number = number

    def ordered(self, occasion: Occasion) -> Fault | None:
        """Return what was ordered for this occasion."""
        fault = self._state.faults.take(occasion) or magic(occasion)
        if fault is not None:
            self._state.counters.faults += 1
        return fault

    async def step(self, occasion: Occasion, reply: str) -> int:
        """Do a step whose work is nothing but its reply; return the code that the client was given."""
        fault = self.ordered(occasion)
        await self.before(fault)
        return await self.answer(occasion.phase, reply, fault)

    async def before(self, fault: Fault | None) -> None:
        """Perform what comes before the step's work; raises ``Ended`` or ``Gone``."""
        if fault is None:
            return
        if fault.action is Action.STALL:
            await self._wire.pause(fault.seconds)
        elif fault.action in _CUTS and fault.reply is None:
            await self.cut(fault.action)

    async def answer(self, phase: Phase, reply: str, fault: Fault | None) -> int:
        """Give the reply, or what was ordered in its place; return the code. Raises ``Ended`` or ``Gone``."""
        action = fault.action if fault is not None else None
        beside = (fault.reply if fault is not None else None) or _UNASKED
        if fault is not None and fault.replacement is not None:
            reply = fault.replacement
        delay = self._state.latency.get(phase, 0.0)
        if fault is not None and action in (None, Action.LATE_REPLY):
            delay += fault.seconds or 0.0
        if delay:
            await self._wire.pause(delay)
        octets = encode(with_trail(check_reply(reply), self._number, self._state.clock.now()))
        if action is Action.DROP_AFTER_DOT:
            await self.cut(Action.DROP)
        elif action is Action.HALF_REPLY:
            self._wire.queue(octets[: max(2, len(octets) // 2 - 1)])
            if fault is not None and fault.seconds:
                await self._wire.pause(fault.seconds)
            await self.cut(Action.CLOSE)
        elif action is Action.OVERLONG_REPLY:
            octets = octets[:-2] + b" " + b"x" * OVERLONG + b"\r\n"
        elif action is Action.BARE_LF:
            octets = octets.replace(b"\r\n", b"\n")
        elif action is Action.NO_CODE:
            octets = octets[4:]
        elif action is Action.OUT_OF_TURN:
            octets += encode(beside)
        elif action is Action.INJECT_PLAINTEXT:
            octets += beside.encode() + b"\r\n"
        self._wire.queue(octets)
        if action in _CUTS:
            await self.cut(action)
        # The server must close after a 421 (RFC 5321 §3.8).
        if code_of(reply) == 421:
            await self.cut(Action.CLOSE)
        return code_of(reply)

    async def say(self, reply: str) -> None:
        """Queue a reply that no fault concerns; a 421 ends the session."""
        self._wire.queue(encode(reply))
        if code_of(reply) == 421:
            await self.cut(Action.CLOSE)

    async def cut(self, how: Action) -> None:
        """End the connection: ``drop``, ``close`` or ``truncate-tls``; always raises ``Ended``."""
        if how is Action.DROP:
            self._wire.reset()
        elif how is Action.TRUNCATE_TLS:
            await self._wire.truncate()
        else:
            await self._wire.finish()
        raise Ended
