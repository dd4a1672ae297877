"""A crowd that comes in together is foretold once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.intake.forecasts import Forecasts
from app.intake.outcome import Forecast, WaitingFor
from app.mail.message import Priority

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
WAITS = WaitingFor("mailbox-minute-budget", "it may send 30 messages a minute")


def _ms(count: float) -> datetime:
    return NOON + timedelta(milliseconds=count)


class Asked:
    """Delivery, foretelling a second ahead and counting the questions."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, _tenant: str, _sender: str, _priority: Priority, due: datetime) -> Forecast:
        self.times += 1
        return Forecast(due + timedelta(seconds=1), WAITS)


def _of(forecasts: Forecasts, at: datetime, due: datetime | None = None, tenant: str = "billing") -> Forecast:
    return forecasts.of(tenant, "billing@contoso.com", Priority.NORMAL, due or at, at)


def test_a_burst_shares_one_answer_moved_by_the_time_that_has_passed() -> None:
    asked = Asked()
    forecasts = Forecasts(asked)
    assert [_of(forecasts, _ms(at)).send_at for at in (0, 2, 5)] == [_ms(1000), _ms(1002), _ms(1005)]
    assert _of(forecasts, _ms(5)).waiting_for == WAITS
    assert asked.times == 1


def test_an_answer_is_not_kept_for_long() -> None:
    asked = Asked()
    forecasts = Forecasts(asked)
    for at in (0, 6, 13):
        _of(forecasts, _ms(at))
    assert asked.times == 3


def test_a_wall_clock_that_was_set_back_makes_every_answer_old() -> None:
    asked = Asked()
    forecasts = Forecasts(asked)
    for at in (0, -3_600_000):
        _of(forecasts, _ms(at))
    assert asked.times == 2


def test_each_tenant_has_an_answer_of_its_own() -> None:
    asked = Asked()
    forecasts = Forecasts(asked)
    for tenant in ("billing", "reports", "billing"):
        _of(forecasts, NOON, tenant=tenant)
    assert asked.times == 2


def test_a_message_for_later_is_asked_about_alone() -> None:
    asked = Asked()
    forecasts = Forecasts(asked)
    for _ in range(2):
        assert _of(forecasts, NOON, due=_ms(60_000)).send_at == _ms(61_000)
    assert asked.times == 2


def test_delivery_is_asked_anew_once_something_changed() -> None:
    asked = Asked()
    forecasts = Forecasts(asked)
    _of(forecasts, NOON)
    forecasts.forget()
    _of(forecasts, NOON)
    assert asked.times == 2
