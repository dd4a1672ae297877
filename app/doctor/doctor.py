"""Examines one mailbox from its name in the DNS to a message at its recipient's, and tells each step.

It takes one of the mailbox's sessions' places, signs in once, and not at all on a parked mailbox unless forced. A
refused sign-in parks the mailbox, as it would during delivery: the same credential is not shown again unasked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.delivery.desk import Desk
from app.delivery.operators import Operators, UnknownMailbox
from app.doctor.check import NAMES, Check, Status, filled, skipped
from app.doctor.credentials import date_in, judge_auth, judge_clock, judge_no_token, judge_token, names_of
from app.doctor.endpoint_clock import endpoint_date
from app.doctor.estate import judge_budgets, judge_config, judge_expiries, judge_senders, trials_of
from app.doctor.trial import Mailing
from app.doctor.way import judge_way
from app.kit.clock import Clock
from app.mail.address import NamedAddress
from app.mail.rule import Row
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.queue.rows import ParkedRow
from app.settings import MailboxPlan, Settings
from app.signin.expiry import BASIC_AUTH_END
from app.signin.tokens import Tokens
from app.smtp.examine import Examination, Stage, examine
from app.smtp.pool import Pool


@dataclass(frozen=True, slots=True)
class Patient:
    """A mailbox at work; ``tokens`` is None where it signs in with a password.

    Of a wildcard, ``desk`` is that of the first address that a tenant names; ``pool`` is None where none does.
    """

    plan: MailboxPlan
    desk: Desk
    pool: Pool | None
    tokens: Tokens | None

    @property
    def parked(self) -> ParkedRow | None:
        """Why it stands still, or the wildcard that it belongs to does."""
        umbrella = self.desk.umbrella
        return self.desk.parked or (umbrella.parked if umbrella is not None else None)

    def may_sign_in(self, *, force: bool) -> bool:
        """Whether a sign-in may be tried."""
        return self.parked is None or force


@dataclass(frozen=True, slots=True)
class Ward:
    """The configuration in force, and its mailboxes by name."""

    settings: Settings
    patients: Mapping[str, Patient]


class Doctor:
    """See the module's promise."""

    def __init__(
        self,
        *,
        ward: Callable[[], Ward],
        operators: Operators,
        refused: Callable[[str, SignInRefused], Awaitable[None]],
        mailing: Mailing,
        clock: Clock,
    ) -> None:
        """Examine what ``ward`` tells at the time; ``refused`` is told of each refused sign-in of a mailbox."""
        self._ward = ward
        self._operators = operators
        self._refused = refused
        self._mailing = mailing
        self._clock = clock

    async def examine(self, mailbox: str, *, send_to: NamedAddress | None = None, force: bool = False) -> list[Check]:
        """Return every check of a mailbox and of the service as a whole; raises ``UnknownMailbox``.

        ``send_to`` gets one real message for each sender of the mailbox; ``force`` signs in on a parked mailbox, too.
        """
        ward = self._ward()
        patient = ward.patients.get(mailbox)
        if patient is None:
            raise UnknownMailbox(mailbox)
        plan, rules = patient.plan, ward.settings.catalogue()
        checks = judge_config(ward.settings)
        checks += judge_senders(ward.settings, [each.plan for each in ward.patients.values()])
        checks += await self._expiries(patient)
        if patient.pool is None:
            why = "it signs in as each From address of the domain, and no tenant's senders name a single one"
            return [*checks, *(skipped(name, mailbox, why) for name in NAMES[2:-1])]
        was_free = patient.may_sign_in(force=force)
        token = await self._token(patient, force=force)
        has_token = token is None or token.status is Status.OK
        found = await examine(patient.pool, self._clock, lambda: has_token and patient.may_sign_in(force=force))
        checks += judge_way(found, plan, self._clock.now(), rules)
        checks.append(await self._clock_check(found, plan))
        checks.append(token or skipped("token", mailbox, "the mailbox signs in with a password"))
        if was_free and not has_token:
            checks.append(skipped("auth", mailbox, "there is no token that the server could take"))
        else:
            checks.append(await self._auth(patient, found, rules))
        checks.append(judge_budgets(self._operators.mailbox(patient.desk.spec.name), plan))
        return checks + await self._send(ward.settings, patient, found, send_to)

    async def _expiries(self, patient: Patient) -> list[Check]:
        expiries = (await patient.tokens.inspect()).expiries if patient.tokens is not None else ()
        if patient.tokens is None and patient.plan.connection.profile == "exchange":
            expiries = (BASIC_AUTH_END,)
        return judge_expiries(expiries, patient.plan, self._clock.now())

    async def _token(self, patient: Patient, *, force: bool) -> Check | None:
        tokens, plan = patient.tokens, patient.plan
        if tokens is None or plan.sign_in is None:
            return None
        if not patient.may_sign_in(force=force):
            return skipped("token", plan.name, "the mailbox is parked, so it does not sign in; see auth")
        if force:
            tokens.reset()
        try:
            token = await tokens.token()
        except (ConnectTrouble, SignInRefused) as problem:
            if isinstance(problem, SignInRefused):
                await self._refused(patient.desk.spec.name, problem)
            return judge_no_token(problem, plan)
        return judge_token(token.value.get_secret_value(), plan.sign_in, plan, self._clock.now())

    async def _clock_check(self, found: Examination, plan: MailboxPlan) -> Check:
        greeted = date_in(found.greeting)
        if greeted is not None and found.greeted_at is not None:
            return judge_clock(greeted, "the server's greeting", found.greeted_at, plan)
        theirs = await endpoint_date(plan.sign_in) if plan.sign_in is not None else None
        return judge_clock(theirs, "the token endpoint", self._clock.now(), plan)

    async def _auth(self, patient: Patient, found: Examination, rules: Sequence[Row]) -> Check:
        plan, spec = patient.plan, patient.desk.spec
        if not found.was_reached(Stage.AUTH):
            return skipped("auth", plan.name, f"the check {found.broke_at} failed before it")
        if found.trouble is None and found.signed_in_seconds is None:
            return _skipped_as_parked(plan, patient.parked)
        if isinstance(found.trouble, SignInRefused):
            await self._refused(spec.name, found.trouble)
        check = judge_auth(found.trouble, found.signed_in_seconds, plan, spec.username, rules)
        if found.trouble is None and patient.parked is not None:
            return replace(
                check, do=f"It is still parked ({patient.parked.reason}): postroom mailbox resume {plan.name}"
            )
        return check

    async def _send(
        self, settings: Settings, patient: Patient, found: Examination, send_to: NamedAddress | None
    ) -> list[Check]:
        name = patient.plan.name
        if send_to is None:
            return []
        if patient.parked is not None:
            return [skipped("send", name, "the mailbox is parked, so its mail waits", _resume(name))]
        if found.signed_in_seconds is None:
            return [skipped("send", name, "there was no sign-in")]
        trials = trials_of(settings, patient.plan)
        if not trials:
            return [skipped("send", name, "no tenant may use a single address that this mailbox may send as")]
        checks = await self._mailing.send(trials, send_to, name)
        if (instead := settings.server.redirect_all_to) is None:
            return checks
        return [
            replace(check, means=f"{check.means} [server] redirect_all_to sends it to {instead}.") for check in checks
        ]


def _resume(name: str) -> str:
    return f"When mended: postroom mailbox resume {name}"


def _skipped_as_parked(plan: MailboxPlan, parked: ParkedRow | None) -> Check:
    if parked is None:  # released while it was examined
        return skipped("auth", plan.name, "the mailbox was parked until just now; ask again")
    why = f"the mailbox is parked since {parked.since:%Y-%m-%d %H:%M} UTC ({parked.reason}): {parked.cause}"
    do = f"{filled(parked.cure, names_of(plan))} To sign in all the same, once: --force. {_resume(plan.name)}"
    return skipped("auth", plan.name, why, do)
