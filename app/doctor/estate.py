"""Judges what the configuration and the ledger say: settings worth a word, senders against mailboxes, budgets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.delivery.operators import MailboxView
from app.doctor.check import Check, Status, counted
from app.mail.address import AddressPattern
from app.mail.message import Priority
from app.settings import MailboxPlan, Settings
from app.signin.expiry import Expiry

_SOON_DAYS: Final = 30
_FINAL: Final = timedelta(minutes=10)
_KINDS: Final = {
    "secret": ("The client secret", "Make a new one (Entra > App registrations > Certificates & secrets)."),
    "certificate": ("The app's certificate", "Make a new one and upload it to the app, then replace the file."),
    "refresh-token": ("The refresh token", "Sign in anew as the user."),
    "basic-auth": (
        "Sign-in by password",
        "Move to an app: postroom setup exchange. Exchange Online switches basic authentication for SMTP off by "
        "default at the end of December 2026.",
    ),
}


def judge_config(settings: Settings) -> list[Check]:
    """Return that the configuration is read, and what in it is worth a warning."""
    got = ", ".join(
        (
            counted(len(settings.connections), "connection"),
            counted(len(settings.mailboxes), "mailbox", "mailboxes"),
            counted(len(settings.tenants), "tenant"),
        )
    )
    tried = "read the configuration and check every value"
    checks = []
    if not settings.mailboxes:
        means = "Nothing can be sent."
        checks.append(Check("config", Status.WARN, tried, "no mailbox", means, "Add a [mailboxes.NAME] table."))
    if not settings.server.admin_keys:
        means = "The management listener shows health and metrics only; operators' commands need the service stopped."
        do = "postroom keys new --admin; its second line goes into [server] admin_keys."
        checks.append(Check("config", Status.WARN, tried, "no operator's key", means, do))
    if settings.delivery.timeouts.final < _FINAL:
        means = "Giving up on the reply to the dot sooner makes outcomes unknown (RFC 5321 §4.5.3.2.6)."
        do = 'Write final = "10m" into [delivery] timeouts.'
        checks.append(Check("config", Status.WARN, tried, "timeouts.final is under 10 minutes", means, do))
    return [Check("config", Status.OK, tried, got, "It holds together."), *checks]


def judge_expiries(expiries: Iterable[Expiry], plan: MailboxPlan, now: datetime) -> list[Check]:
    """Return a warning for each credential that ends soon."""
    checks = []
    for expiry in expiries:
        what, do = _KINDS[expiry.kind]
        left = expiry.days_left(now)
        if left > _SOON_DAYS and expiry.kind != "basic-auth":
            continue
        got = f"{what} ends on {expiry.at:%Y-%m-%d}, {counted(left, 'day')} left" if left >= 0 else f"{what} has ended"
        status = Status.WARN if left >= 0 or expiry.kind == "basic-auth" else Status.FAIL
        means = "Then no sign-in succeeds and all mail of the mailbox waits."
        checks.append(Check("config", status, "look when the credential ends", got, means, do, plan.name))
    return checks


def judge_senders(settings: Settings, plans: Sequence[MailboxPlan]) -> list[Check]:
    """Return for each entry of each tenant's allowlist which mailboxes serve it, those amiss one by one."""
    served, amiss = 0, []
    for name, tenant in settings.tenants.items():
        for sender in tenant.senders:
            check = _judge_sender(name, sender, plans)
            if check is None:
                served += 1
            else:
                amiss.append(check)
    tried = "compare every tenant's senders with the mailboxes"
    if not any(tenant.senders for tenant in settings.tenants.values()):
        do = 'Add senders = ["…"] to a [tenants.NAME] table.'
        return [Check("senders", Status.WARN, tried, "no tenant has a sender", "Nobody may send anything.", do)]
    got = f"{counted(served, 'entry', 'entries')} of {served + len(amiss)} served"
    ok = Check("senders", Status.OK, tried, got, "Some mailbox may send as each of them, as far as we are told.")
    return [ok, *amiss] if served else amiss


def _judge_sender(tenant: str, sender: AddressPattern, plans: Sequence[MailboxPlan]) -> Check | None:
    """Return what is amiss with one entry of an allowlist; None: nothing."""
    covers = [(plan, pattern) for plan in plans for pattern in (plan.address, *plan.send_as)]
    if any(pattern.covers(sender) for _, pattern in covers):
        return None
    tried = f"find a mailbox for {sender} of tenant {tenant}"
    home = plans[0].name if plans else "NAME"
    do = (
        f'If Exchange has granted it: send_as = ["{sender}"] in [mailboxes.{home}]. To grant it: postroom setup '
        f"exchange. If it is not needed: take it out of [tenants.{tenant}] senders."
    )
    parts = [str(pattern) for _, pattern in covers if sender.covers(pattern)]
    if not parts:
        means = "Mail from it is refused with 403 sender-not-allowed (missing: mailbox)."
        return Check("senders", Status.FAIL, tried, "no mailbox may send as it", means, do)
    means = "Mail from the other addresses of the domain is refused with 403 sender-not-allowed (missing: mailbox)."
    return Check("senders", Status.WARN, tried, f"only {', '.join(parts)}", means, do)


def judge_budgets(view: MailboxView, plan: MailboxPlan) -> Check:
    """Judge how much of its windows a mailbox has used."""
    tried = "read the ledger"
    (minute, per_minute), (day, per_day) = view.minute, view.day
    got = (
        f"{_used(minute, per_minute, 'message')} in this minute; {_used(day, per_day, 'recipient')} in 24 hours; "
        f"{view.sessions_open} of {view.sessions_limit} sessions open"
    )
    stops = [word for word, share in _stops(plan.soft_stop) if per_day and day >= per_day * share]
    if not stops:
        return Check("budgets", Status.OK, tried, got, "There is room.", "", plan.name)
    until = f" until {view.day_forecast_at:%Y-%m-%d %H:%M} UTC" if view.day_forecast_at else ""
    means = f"Of the day's recipients so many are used that {' and '.join(stops)} mail waits{until}."
    do = "Wait, move senders to another mailbox, or find out who sends so much (postroom_messages_accepted_total)."
    return Check("budgets", Status.WARN, tried, got, means, do, plan.name)


def _used(used: int, limit: int, what: str) -> str:
    return f"{used:,} of {counted(limit, what)}" if limit else f"{counted(used, what)} (no limit)"


def _stops(soft_stop: Mapping[Priority, float]) -> list[tuple[str, float]]:
    return [(priority.word, soft_stop.get(priority, 1.0)) for priority in reversed(Priority)]


@dataclass(frozen=True, slots=True)
class Trial:
    """A sender to try: a tenant's allowed address that a mailbox covers, whose own address is ``mailbox_address``."""

    tenant: str
    sender: AddressPattern
    mailbox_address: str


def trials_of(settings: Settings, plan: MailboxPlan) -> list[Trial]:
    """Return each single address that some tenant may use and this mailbox may send as, once.

    A tenant's pattern stands for the single addresses that are named at the mailbox.
    """
    named = [pattern for pattern in (plan.address, *plan.send_as) if not pattern.is_wildcard]
    found: dict[str, Trial] = {}
    for tenant, table in settings.tenants.items():
        for sender in table.senders:
            wanted = [each for each in named if sender.covers(each)] if sender.is_wildcard else [sender]
            for each in wanted:
                if any(pattern.covers(each) for pattern in (plan.address, *plan.send_as)):
                    found.setdefault(str(each).lower(), Trial(tenant, each, str(plan.address)))
    return list(found.values())
