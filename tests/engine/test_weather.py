"""Bad weather: many faults at once, drawn by chance from a seed, and limits lower than ours because others use the
mailbox too. Whatever comes: nothing is lost, nothing doubled but what was unknown, no limit of Exchange's exceeded.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from app.emulator import Limits
from tests.engine.stage import ADA, BOB, SENDER, Fault, Stage, on_stage
from tests.engine.stories import check_always

MESSAGES = 24
# What strikes, where; no refusal that parks the mailbox or blocks the sender, which would only end the story early.
WEATHER = (
    *({"phase": phase, "action": action} for phase in ("connect", "ehlo", "auth", "rset", "mail", "rcpt", "data", "dot")
      for action in ("close", "drop")),
    *({"phase": phase, "action": "truncate-tls"} for phase in ("auth", "mail", "data", "dot")),
    *({"phase": phase, "action": action} for phase in ("mail", "rcpt", "dot")
      for action in ("half-reply", "overlong-reply", "bare-lf", "no-code", "out-of-turn")),
    *({"phase": phase, "reply": "421 4.3.2 Service not active"} for phase in ("auth", "mail", "rcpt", "data", "dot")),
    *({"phase": phase, "reply": "451 4.7.500 Server busy"} for phase in ("mail", "rcpt", "data", "dot")),
    {"phase": "dot", "action": "drop-after-dot"},
    {"phase": "dot", "action": "drop-after-dot"},
    {"phase": "rcpt", "reply": "550 5.4.1 Recipient address rejected: Access denied"},
    {"phase": "tls", "action": "expired"},
)  # fmt: skip


def draw(seed: int) -> list[Fault]:
    chance = random.Random(seed)
    return [Fault(**chance.choice(WEATHER), attempt=chance.randint(1, 40)) for _ in range(40)]


async def live(stage: Stage, days: float) -> None:
    """Let time pass until every message has come to its end."""
    end = stage.clock.boot() + days * 86_400
    step, seen = 1.0, 0
    while waiting := stage.rows("SELECT due_at FROM messages WHERE work NOT IN ('done', 'held')"):
        assert stage.clock.boot() < end, waiting
        await asyncio.sleep(0.01)
        if stage.desk.workers:
            continue
        # The longer nothing happens, the longer the steps.
        tried = stage.emulator.counters.sessions_opened + stage.emulator.counters.transactions
        step, seen = (1.0 if tried != seen else min(2 * step, 900.0)), tried
        due = min((at for (at,) in waiting if at is not None), default=0) / 1e6 - stage.clock.now().timestamp()
        await stage.advance(max(step, due))
    await stage.until(lambda: not stage._is_busy())


@pytest.mark.parametrize("policy", ["resend", "hold"])
@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_and_nothing_doubled_but_what_was_unknown(seed: int, policy: str, tmp_path: Path) -> None:
    async with on_stage(tmp_path, *draw(seed), on_unknown=policy) as stage:
        messages = [await stage.post(*(ADA, BOB)[: 1 + number % 2]) for number in range(MESSAGES)]
        await live(stage, days=4)
        copies = Counter(
            (message.message_id, recipient) for message in stage.emulator.accepted for recipient in message.rcpt_tos
        )
        for number, message in enumerate(messages, 1):
            unknowns = sum(attempt.outcome == "unknown" for attempt in stage.tries(message))
            for name, told in stage.results(message).items():
                arrived = copies[f"<{number}@contoso.test>", f"{name}@customer.test"]
                assert told.split()[0] in ("sent", "rejected", "unknown")
                assert arrived <= 1 + (policy == "resend" and unknowns > 0)
                assert arrived >= told.startswith("sent")
                assert not (told.startswith("rejected") and arrived and not unknowns)
        login = stage.emulator.counters.login(SENDER)
        assert login.max_transactions_per_minute <= 30 + login.transactions - login.accepted
        assert login.max_accepted_per_minute <= 30
        assert login.max_sessions_open <= 3
        assert stage.emulator.counters.limits == {}
        check_always(stage)


@pytest.mark.parametrize(
    ("limits", "count"),
    [(Limits(messages_per_minute=5), 24), (Limits(sessions=1), 24), (Limits(recipients_per_day=10), 12)],
    ids=["five messages a minute", "one session", "ten recipients a day"],
)
async def test_where_others_use_the_mailbox_too_everything_is_sent_once_in_the_end(
    limits: Limits, count: int, tmp_path: Path
) -> None:
    async with on_stage(tmp_path, limits=limits) as stage:
        messages = [await stage.post() for _ in range(count)]
        await live(stage, days=4)
        assert {stage.results(message)["ada"] for message in messages} == {"sent 250 2.0.0"}
        assert [attempt.outcome for message in messages for attempt in stage.tries(message)].count("unknown") == 0
        assert len(stage.copies) == count
        check_always(stage)
