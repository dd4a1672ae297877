"""Builds the doctor over a service's mailboxes, and lets delivery work for it where no service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from app.delivery.engine import Engine
from app.delivery.operators import Operators
from app.doctor.check import document
from app.doctor.doctor import Doctor, Patient, Ward
from app.doctor.estate import trials_of
from app.doctor.trial import TENANT, Mailing, doctor_tenant
from app.intake.rules import TenantRules
from app.kit.clock import Clock
from app.mail.address import NamedAddress
from app.settings import MailboxPlan, Settings
from app.signin.methods import SignIn
from app.signin.tokens import Tokens
from app.smtp import Pool

DOCTOR: Final = "/doctor"  # how the path of an examination ends
_ENDING_SECONDS: Final = 30.0


def make_doctor_tenant(settings: Settings) -> dict[str, TenantRules]:
    """Return, by its name, the tenant that the doctor's messages belong to: it may use what any tenant may."""
    return {TENANT: doctor_tenant(sender for tenant in settings.tenants.values() for sender in tenant.senders)}


def make_doctor(
    settings: Callable[[], Settings],
    tokens: Callable[[], Mapping[SignIn, Tokens]],
    engine: Engine,
    operators: Operators,
    mailing: Mailing,
    clock: Clock,
) -> Doctor:
    """Return the doctor of a service; ``settings`` and ``tokens`` are those in force, whenever it is asked."""

    def ward() -> Ward:
        now = settings()
        return Ward(now, {plan.name: _patient(plan, now, engine, tokens()) for plan in now.mailbox_plans()})

    return Doctor(
        ward=ward,
        operators=operators,
        refused=engine.refused,
        mailing=mailing,
        clock=clock,
    )


def _patient(plan: MailboxPlan, settings: Settings, engine: Engine, tokens: Mapping[SignIn, Tokens]) -> Patient:
    desk = engine.desks[plan.name]
    trials = trials_of(settings, plan) if plan.address.is_wildcard else []
    if trials and (address := trials[0].sender.address) is not None:
        desk = engine.desks.of_cover(plan.cover, address.key) or desk
    pool = desk.sessions if isinstance(desk.sessions, Pool) and (trials or not plan.address.is_wildcard) else None
    return Patient(plan, desk, pool, None if plan.sign_in is None else tokens[plan.sign_in])


@asynccontextmanager
async def on_call(engine: Engine, tokens: Iterable[Tokens], path: str) -> AsyncIterator[None]:
    """Let delivery work while the doctor is asked at ``path`` and no service runs; does nothing for other paths.

    The mail that waits is left alone: only what the doctor sends goes, under the mailboxes' ledgers.
    """
    if not path.endswith(DOCTOR):
        yield
        return
    await engine.start(takes_up_waiting=False)
    running = asyncio.create_task(engine.run(), name="delivery")
    try:
        yield
    finally:
        await engine.stop(_ENDING_SECONDS)
        running.cancel()
        await asyncio.gather(running, *(source.close() for source in tokens), return_exceptions=True)


def told_by(doctor: Doctor) -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
    """Return the examination in the form in which the interface tells it."""

    async def examine(mailbox: str, *, send_to: NamedAddress | None, force: bool) -> dict[str, Any]:
        return document(await doctor.examine(mailbox, send_to=send_to, force=force))

    return examine
