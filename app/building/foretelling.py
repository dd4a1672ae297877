"""Gives delivery's outlook the form in which intake and API tell it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from app.delivery.forecast import Forecaster, Outlook, later
from app.intake.outcome import Forecast, WaitingFor
from app.kit.clock import Clock
from app.mail.message import Priority, Result, Work
from app.queue.views import MessageView


class Foretelling:
    """Gives delivery's outlook the form in which intake and API tell it."""

    def __init__(self, forecaster: Forecaster, clock: Clock) -> None:
        self._forecaster = forecaster
        self._clock = clock

    def new(self, tenant: str, sender_key: str, priority: Priority, due: datetime) -> Forecast:
        """Return the forecast of a message about to be accepted."""
        return self._told(tenant, sender_key, priority, due)

    def external(self, sender_key: str, recipients: Iterable[str]) -> Forecast | None:
        """Return the forecast of a message whose recipients, being external, are taken only later; None: at once."""
        outlook = self._forecaster.external_stop(sender_key, recipients)
        return None if outlook is None else self._as_forecast(outlook)

    def stored(self, view: MessageView) -> Forecast:
        """Return the forecast of a stored message."""
        if view.work is Work.HELD:
            waits = any(recipient.result is Result.PENDING for recipient in view.recipients)
            text = "an operator holds it" if waits else "its outcome is unknown; it waits for a person to decide"
            return Forecast(None, WaitingFor("held", text))
        if view.work is Work.SENDING:
            return Forecast(self._clock.now(), None)
        if view.work is Work.DONE or view.due_at is None:
            return Forecast(None, None)
        pending = [each.address.lower() for each in view.recipients if each.result is Result.PENDING]
        forecast = self._told(view.tenant, view.sender_key, view.priority, view.due_at, view.ahead)
        if (shut := self.external(view.sender_key, pending)) is not None:
            return Forecast(later(forecast.send_at, shut.send_at, self._clock.now()), shut.waiting_for)
        if view.work is Work.DEFERRED and view.due_at > self._clock.now():
            until = max(view.due_at, forecast.send_at) if forecast.send_at else None
            if forecast.waiting_for is None or forecast.waiting_for.code == "scheduled":
                waiting = WaitingFor("retry-wait", "the next try comes after a wait", view.due_at)
                return Forecast(until, waiting)
        return forecast

    def _told(
        self, tenant: str, sender_key: str, priority: Priority, due: datetime, ahead: int | None = None
    ) -> Forecast:
        return self._as_forecast(self._forecaster.outlook(tenant, sender_key, priority, due, ahead))

    @staticmethod
    def _as_forecast(outlook: Outlook) -> Forecast:
        if outlook.code is None or outlook.text is None:
            return Forecast(outlook.send_at, None)
        return Forecast(outlook.send_at, WaitingFor(outlook.code, outlook.text, outlook.until))

    def offers_smtputf8(self, sender_key: str) -> bool | None:
        """Return whether the next hop takes addresses outside ASCII, None where no session has told yet."""
        return self._forecaster.offers_smtputf8(sender_key)
