"""Who may send as whom: the tenant's allowlist, and the mailboxes that cover a From address.

A message may go when the tenant's allowlist matches its From and some mailbox covers that From. Pure; the names of
mailboxes stand for the mailboxes themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.mail.address import Address, AddressPattern

# A pattern such as ``*@contoso.com`` lets many addresses in.
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a mailbox takes; 0 means no limit. ``message_size`` in octets on the wire."""

    sessions: int = 3
    messages_per_minute: int = 0
    recipients_per_day: int = 0
    recipients_per_message: int = 0
    message_size: int = 0

    def takes(self, size: int, recipients: int) -> bool:
        """Whether one message of this size with so many recipients fits a transaction."""
        return (not self.message_size or size <= self.message_size) and (
            not self.recipients_per_message or recipients <= self.recipients_per_message
        )


@dataclass(frozen=True, slots=True)
class Cover:
    """What a mailbox may be used for: its own address (or ``*@domain``) and what Exchange granted to it."""

    name: str
    address: AddressPattern
    send_as: tuple[AddressPattern, ...]
    limits: Limits


class Directory:
    """Every mailbox's cover; answers which of them may carry a From address."""

    def __init__(self, covers: Iterable[Cover]) -> None:
        self._covers = tuple(covers)
        # Asked for each message, and mostly for the same few addresses.
        self._levels: dict[str, tuple[tuple[Cover, ...], ...]] = {}

    def levels(self, sender: Address) -> tuple[tuple[Cover, ...], ...]:
        """Return the mailboxes that cover a From, by precedence, empty levels left out.

        Exact address, wildcard mailbox, exact ``send_as``, pattern ``send_as``; within a level load is shared. Where
        there is a mailbox of the exact address, wildcards are none.
        """
        known = self._levels.get(sender.key)
        if known is None:
            if len(self._levels) >= _MOST_KNOWN:
                self._levels.clear()
            known = self._levels[sender.key] = self._levels_of(sender)
        return known

    def _levels_of(self, sender: Address) -> tuple[tuple[Cover, ...], ...]:
        ranked: tuple[list[Cover], list[Cover], list[Cover], list[Cover]] = ([], [], [], [])
        for cover in self._covers:
            rank = self._rank(cover, sender)
            if rank is not None:
                ranked[rank].append(cover)
        if ranked[0]:
            # A wildcard would sign in as the very mailbox that is configured, past its windows and its sessions.
            ranked[1].clear()
        return tuple(tuple(level) for level in ranked if level)

    @staticmethod
    def _rank(cover: Cover, sender: Address) -> int | None:
        if cover.address.matches(sender):
            return 1 if cover.address.is_wildcard else 0
        matching = [pattern for pattern in cover.send_as if pattern.matches(sender)]
        if not matching:
            return None
        return 2 if any(not pattern.is_wildcard for pattern in matching) else 3


def is_allowed(senders: Sequence[AddressPattern], sender: Address) -> bool:
    """Whether a tenant's allowlist matches a From address."""
    return any(pattern.matches(sender) for pattern in senders)
