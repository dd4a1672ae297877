"""What intake and the store refuse, as problems; and what a tenant's quotas look like in headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final

from app.intake.outcome import Refused, RefusedByQuota
from app.queue.contract import StoreError
from app.queue.rows import QuotaState
from app.web.problems import Fault, Problem, invalid

TOO_SLOW: Final = "the store did not answer in time"
_A_DAY: Final = 86_400


class _AsProblems:
    """What ``as_problems`` returns; a plain object, since a generator costs five times as much for each message."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Refused):
            raise problem_of(error) from None
        if isinstance(error, RefusedByQuota):
            raise quota_problem(error) from None
        if isinstance(error, StoreError):
            raise Problem(error.reason) from error


_AS_PROBLEMS: Final = _AsProblems()


def as_problems() -> AbstractContextManager[None]:
    """Turn what the rooms below refuse into problems; what they do not foresee passes."""
    return _AS_PROBLEMS


@asynccontextmanager
async def within(seconds: float, reason: str = "commit-uncertain") -> AsyncIterator[None]:
    """Bound what the store takes; ``reason`` says what is known when the time is over."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Problem(reason, TOO_SLOW) from None


def problem_of(refused: Refused) -> Problem:
    """Return the problem of a refusal; where it concerns a field, ``errors`` points there.

    A member ``fault`` is the code of that fault where the kind itself does not say it (``validation-error``).
    """
    members = dict(refused.members)
    code = str(members.pop("fault", refused.code))
    faults = [] if refused.pointer is None else [Fault(f"#{refused.pointer}", code, refused.text)]
    if refused.code == "validation-error" and faults:
        return invalid(faults)
    return Problem(refused.code, refused.text, errors=faults, members=members)


def quota_problem(refused: RefusedByQuota) -> Problem:
    """Return the problem of a tenant limit without room: a short window, or an exhausted day."""
    whole_day = any(state.policy.window_seconds >= _A_DAY for state in refused.violated)
    return Problem(
        "daily-quota-exceeded" if whole_day else "quota-exceeded",
        retry_after=max((state.reset_seconds for state in refused.violated), default=1),
        headers=quota_headers(refused.quotas),
        members={"violated-policies": [state.policy.name for state in refused.violated]},
    )


def quota_headers(quotas: Sequence[QuotaState]) -> dict[str, str]:
    """Return ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-10) for the quotas."""
    if not quotas:
        return {}
    policies = (f'"{each.policy.name}";q={each.policy.quota};w={each.policy.window_seconds}' for each in quotas)
    states = (
        f'"{each.policy.name}";r={max(0, each.remaining)}' + (f";t={each.reset_seconds}" if each.reset_seconds else "")
        for each in quotas
    )
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(states)}
