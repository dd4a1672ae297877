"""What a tenant may ask for, decided before anything is composed or stored.

Plain functions: they return what follows or raise ``Refused`` with the problem's word and the field it concerns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.intake.outcome import Refused
from app.mail.address import Address, AddressPattern, NamedAddress
from app.mail.compose import ORIGINAL_TO
from app.mail.draft import Draft
from app.mail.message import Kind, Priority
from app.mail.senders import Cover, Directory, is_allowed
from app.queue.rows import NewRecipient, QuotaPolicy


@dataclass(frozen=True, slots=True)
class TenantRules:
    """What a tenant may do. Empty ``recipients`` means everybody."""

    name: str
    senders: tuple[AddressPattern, ...]
    recipients: tuple[AddressPattern, ...] = ()
    priorities: frozenset[Priority] = frozenset({Priority.NORMAL})
    quotas: tuple[QuotaPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Times:
    """The instants of a message: due, end of its lifetime, and its Date line."""

    due_at: datetime
    expires_at: datetime
    date: datetime


def covers_for(tenant: TenantRules, directory: Directory, draft: Draft) -> tuple[Cover, ...]:
    """Return the mailboxes that may carry the draft's From; refuse what the tenant may not send.

    Raises ``Refused`` ``sender-not-allowed`` whose member ``missing`` names the rule: ``tenant-allowlist`` or
    ``mailbox``. The allowlist is asked first, so a tenant learns nothing of addresses that are not its own.
    """
    sender = draft.sender.address
    if not is_allowed(tenant.senders, sender):
        text = "this tenant's allowlist of senders does not contain the From address"
        raise Refused("sender-not-allowed", text, "/from", missing="tenant-allowlist")
    covers = tuple(cover for level in directory.levels(sender) for cover in level)
    if not covers:
        text = "no mailbox of this service may send as the From address"
        raise Refused("sender-not-allowed", text, "/from", missing="mailbox")
    if draft.priority not in tenant.priorities:
        text = f"this tenant is not granted the priority {draft.priority.word}"
        raise Refused("priority-not-allowed", text, "/priority")
    if tenant.recipients:
        _check_recipients(tenant.recipients, draft)
    return covers


def _check_recipients(allowed: tuple[AddressPattern, ...], draft: Draft) -> None:
    for kind, addresses in _by_kind(draft):
        for place, named in enumerate(addresses):
            if not any(pattern.matches(named.address) for pattern in allowed):
                text = "this tenant's allowlist of recipients does not contain the address"
                raise Refused("recipient-not-allowed", text, f"/{kind.value}/{place}")


def _by_kind(draft: Draft) -> Iterable[tuple[Kind, tuple[NamedAddress, ...]]]:
    return (Kind.TO, draft.to), (Kind.CC, draft.cc), (Kind.BCC, draft.bcc)


def recipients_of(draft: Draft) -> tuple[NewRecipient, ...]:
    """Return the envelope's recipients: an address that stands twice gets one, with the kind of its first place.

    Of a redirected draft each keeps its name and is reached at the one address.
    """
    found: dict[str, NewRecipient] = {}
    for kind, addresses in _by_kind(draft):
        for named in addresses:
            address = named.address
            if address.key not in found:
                wire = (draft.redirect_to or address).wire
                found[address.key] = NewRecipient(address.given, address.key, wire, kind)
    return tuple(found.values())


def redirected(draft: Draft, to: Address | None) -> Draft:
    """Return a draft as it is sent where everything goes to one address (None: it is sent as it is)."""
    if to is None:
        return draft
    headers = tuple((name, value) for name, value in draft.headers if name.lower() != ORIGINAL_TO.lower())
    return replace(draft, headers=headers, redirect_to=to)


def check_fit(covers: tuple[Cover, ...], size: int, recipients: int) -> None:
    """Refuse what no covering mailbox takes: too many recipients, or too large on the wire."""
    most = largest_of(cover.limits.recipients_per_message for cover in covers)
    if most and recipients > most:
        text = f"{recipients} recipients; the mailboxes that may send this take {most} in one message"
        raise Refused("too-many-recipients", text, "/to", count=recipients, limit=most)
    largest = largest_of(cover.limits.message_size for cover in covers)
    if largest and size > largest:
        text = f"{size} octets on the wire; the mailboxes that may send this take {largest}"
        raise Refused("message-too-large", text, size=size, limit=largest)
    if not any(cover.limits.takes(size, recipients) for cover in covers):
        text = "no single mailbox that may send this takes both its size and its number of recipients"
        raise Refused("message-too-large", text, size=size, limit=largest)


def largest_of(limits: Iterable[int]) -> int:
    """Return the largest limit, 0 (none) where one of them is none."""
    found = tuple(limits)
    return 0 if 0 in found else max(found)


def times_of(draft: Draft, now: datetime, lifetime: timedelta) -> Times:
    """Return the instants of a message accepted at ``now``; refuse those that make no sense."""
    due = max(now, draft.scheduled_at) if draft.scheduled_at else now
    expires = draft.expires_at or due + lifetime
    if expires <= now:
        raise Refused("validation-error", "lies not in the future", "/expires_at")
    if expires <= due:
        raise Refused("validation-error", "lies not after scheduled_at", "/expires_at")
    return Times(due, expires, due)
