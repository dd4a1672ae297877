"""The configuration changes under a service at work, in this process: windows hold, words stand, nothing is lost."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest

from app.building.reloading import TokenLoops, _signature
from app.emulator import Action, Fault
from app.emulator.entra import TokenFault
from app.kit.metrics import Metrics
from tests.support.branch import Branch, open_branch

BILLING, ALERTS = "billing@contoso.test", "alerts@contoso.test"
TWO = {"one": BILLING, "two": ALERTS}


def figures(branch: Branch) -> str:
    metrics: Metrics = branch.service.metrics
    return generate_latest(metrics.registry).decode()


async def test_an_operators_word_outlasts_a_refused_secret_and_its_mending(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=TWO) as branch:
        await branch.ask("POST", "/v1/mailboxes/one/park", "admin", json={})
        branch.emulator.order(TokenFault(aadsts=7000215, times=1))
        message = await branch.post(ALERTS)
        await branch.waits(message, "mailbox-parked")
        assert (await branch.parked("one"))["reason"] == "operator"
        assert (await branch.parked("two"))["reason"] == "AADSTS7000215"
        (branch.folder / "secret").write_text("the-right-secret\n\n")
        branch.emulator.state.tokens.register(branch.app(secrets=("the-right-secret", "the-right-secret\n")))
        await branch.change(lambda text: text.replace('client_secret_file = "secret"', 'client_secret = "another"'))
        branch.emulator.state.tokens.register(branch.app(secrets=("another",)))
        await branch.status(message, "sent", "queued")
        await branch.ask("POST", "/v1/mailboxes/two/resume", "admin", json={})
        await branch.status(message, "sent")
        assert (await branch.parked("one"))["reason"] == "operator"
        await branch.crash_and_restart()
        assert (await branch.parked("one"))["reason"] == "operator"


async def test_an_operators_word_during_a_probe_stands(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING}, allowed=()) as branch:
        message = await branch.post(BILLING)
        await branch.waits(message, "mailbox-parked")
        branch.admit("*@contoso.test")
        branch.emulator.order(Fault(phase="auth", action=Action.STALL, seconds=2, times=1))
        await branch.advance(301)
        await branch.until(lambda: branch.service.engine._probing, "no probe")
        await asyncio.sleep(0.1)
        await branch.ask("POST", "/v1/mailboxes/one/park", "admin", json={})
        await branch.advance(3)
        await branch.until(lambda: not branch.service.engine._probing, "the probe never ended")
        assert (await branch.parked("one"))["reason"] == "operator"


async def test_the_figure_of_a_parked_mailbox_names_one_reason_and_ends_with_it(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=TWO, allowed=()) as branch:
        await branch.waits(await branch.post(BILLING), "mailbox-parked")
        await branch.ask("POST", "/v1/mailboxes/one/park", "admin", json={})
        assert figures(branch).count("postroom_mailbox_parked{") == 1
        await branch.change(lambda text: text.replace("[mailboxes.one]", "[mailboxes.uno]"))
        assert 'mailbox="one"' not in figures(branch)


async def test_a_renamed_mailbox_keeps_its_windows_and_its_sessions(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING}) as branch:
        posted = [await branch.post(BILLING) for _ in range(28)]
        await branch.until(lambda: len(branch.emulator.accepted) >= 20, "the burst")
        await branch.change(lambda text: text.replace("[mailboxes.one]", "[mailboxes.uno]"))
        await asyncio.sleep(0.3)
        assert len(branch.emulator.accepted) < 28
        assert branch.service.engine.desks["uno"].ledger.minute_used(branch.clock.boot()) >= 20
        for _ in range(6):
            await branch.advance(20)
        for each in posted:
            await branch.status(each, "sent")
        told = branch.emulator.counters.login(BILLING)
        assert told.max_transactions_per_minute <= 30 and told.max_sessions_open <= 3


async def test_limits_that_change_under_load_count_every_transaction(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING}) as branch:

        def limited(number: int):
            def edit(text: str) -> str:
                head, _, rest = text.partition("[mailboxes.one]")
                lines = [line for line in rest.split("\n") if not line.startswith("limits")]
                index = lines.index('connection = "hop"')
                lines.insert(index + 1, f"limits = {{ messages_per_minute = {number} }}")
                return head + "[mailboxes.one]" + "\n".join(lines)

            return edit

        posted = [await branch.post(BILLING) for _ in range(40)]
        for number in (10, 0, 30, 10, 30):
            assert await branch.change(limited(number))
            await asyncio.sleep(0.03)
        await branch.until(lambda: not branch.service.engine._workers and not branch.service.engine._settling)
        desk = branch.service.engine.desks["one"]
        assert desk.ledger.minute_used(branch.clock.boot()) == branch.emulator.counters.transactions
        for _ in range(10):
            await branch.advance(20)
            await asyncio.sleep(0.05)
        for each in posted:
            await branch.status(each, "sent")


async def test_fifty_reloads_under_load_lose_nothing_and_leave_nothing_behind(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"apps": "*@contoso.test"}) as branch:
        posted = []
        for number in range(50):
            posted += [await branch.post(f"u{number % 7}@contoso.test")]
            host = ("127.0.0.1", "localhost")[number % 2]
            assert await branch.change(
                lambda text, host=host: text.replace('host = "127.0.0.1"', f'host = "{host}"').replace(
                    'host = "localhost"', f'host = "{host}"'
                )
            )
        for each in posted:
            await branch.status(each, "sent")
        assert len(branch.emulator.accepted) == 50
        logins = [branch.emulator.counters.login(f"u{number}@contoso.test") for number in range(7)]
        assert max(login.max_sessions_open for login in logins) <= 3
        await branch.until(lambda: not branch.reloader._goodbyes)
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert sum(name.startswith("tokens ") for name in names) == 1, names


async def test_what_a_refused_configuration_lacked_is_found_when_it_comes(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING}) as branch:
        branch.file.write_text(branch.file.read_text().replace('"secret"', '"secret-to-come"'))
        watching = asyncio.create_task(branch.reloader.run())
        for _ in range(3):
            await branch.advance(2.1)
        await asyncio.sleep(0.1)
        branch.file.write_text(branch.file.read_text() + "\n# touched\n")
        for _ in range(3):
            await branch.advance(2.1)
        await branch.until(lambda: "\npostroom_config_reload_success 0.0" in figures(branch))
        (branch.folder / "secret-to-come").write_text("the-right-secret")

        async def is_good() -> bool:
            await branch.advance(2.1)
            return "\npostroom_config_reload_success 1.0" in figures(branch)

        await branch.until(is_good)
        watching.cancel()


async def test_a_file_that_becomes_readable_is_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    before = _signature(path)
    await asyncio.sleep(0.02)
    path.chmod(0o640)
    assert _signature(path) != before


async def test_a_tenant_removed_while_its_message_comes_is_refused(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING}) as branch:

        async def body():
            yield b'{"from": "billing@contoso.test", "to": ["ada@customer.test"], "subject": "Hi", '
            await branch.change(
                lambda text: text[: text.index("[tenants.billing]")] + text[text.index("[tenants.shop]") :]
            )
            yield b'"text": "Hello"}'

        headers = {"authorization": f"Bearer {branch.keys['billing'].text}", "content-type": "application/json"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(branch.service.api), base_url="http://postroom.test", headers=headers
        ) as client:
            answer = await client.post("/v1/messages", content=body())
        assert answer.status_code in (401, 403), answer.text


async def test_mail_of_a_removed_mailbox_waits_says_so_and_goes_when_it_returns(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=TWO) as branch:
        await branch.ask("POST", "/v1/mailboxes/one/park", "admin", json={})
        posted = await branch.post(BILLING)
        good = branch.file.read_text()
        assert await branch.change(
            lambda text: text.replace(f'[mailboxes.one]\naddress = "{BILLING}"\nconnection = "hop"\n', "")
        )
        told = (await branch.message(posted))["waiting_for"]
        assert "no mailbox covers" in told["text"]
        assert (await branch.ask("GET", "/v1/mailboxes/one", "admin")).status_code == 404
        assert await branch.change(lambda _text: good)
        # The operator's word was about the mailbox, not about one run of it.
        assert (await branch.parked("one"))["reason"] == "operator"
        await branch.ask("POST", "/v1/mailboxes/one/resume", "admin", json={})
        await branch.status(posted, "sent")


async def test_sessions_of_the_old_host_and_the_new_keep_to_the_limit_together(tmp_path: Path) -> None:
    slow = Fault(phase="dot", action=Action.LATE_REPLY, seconds=0.2)
    async with open_branch(tmp_path, slow, mailboxes={"one": BILLING}) as branch:
        posted = [await branch.post(BILLING) for _ in range(18)]
        for number in range(8):
            old, new = ("127.0.0.1", "localhost") if number % 2 == 0 else ("localhost", "127.0.0.1")
            sessions = 1 + number % 3
            assert await branch.change(
                lambda text, old=old, new=new: text.replace(f'host = "{old}"', f'host = "{new}"')
            )
            assert await branch.change(
                lambda text, sessions=sessions: "\n".join(
                    line for line in text.split("\n") if not line.startswith("limits")
                ).replace(f'address = "{BILLING}"', f'address = "{BILLING}"\nlimits = {{ sessions = {sessions} }}')
            )
            await asyncio.sleep(0.1)
        for each in posted:
            await branch.status(each, "sent")
        assert len(branch.emulator.accepted) == 18
        assert branch.emulator.counters.login(BILLING).max_sessions_open <= 3


async def test_the_end_of_a_new_mailboxs_credential_is_told_at_once(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING}) as branch:
        ends = "2027-06-01T00:00:00Z"
        await branch.change(
            lambda text: text.replace('client_id = "the-app"', f'client_id = "the-app", secret_expires_at = "{ends}"')
        )
        assert 'postroom_credential_expiry_seconds{kind="secret",mailbox="one"}' in figures(branch)


async def test_a_token_loop_that_fails_is_noticed_and_one_that_is_let_go_is_not() -> None:
    class Source:
        name = "tokens x"

        def __init__(self) -> None:
            self.go = asyncio.Event()
            self.fault: Exception | None = None

        async def run(self) -> None:
            await self.go.wait()
            if self.fault:
                raise self.fault

        async def close(self) -> None:
            self.go.set()

    loops = TokenLoops()
    watch = asyncio.create_task(loops.run())
    one, two = Source(), Source()
    loops.start([one, two])
    await loops.stop([one])
    await asyncio.sleep(0)
    assert not watch.done()
    two.fault = RuntimeError("broken")
    two.go.set()
    with pytest.raises(RuntimeError, match="broken"):
        await watch


async def test_a_clock_that_jumps_moves_what_wildcards_wait_for_once(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"apps": "*@contoso.test"}, allowed=(BILLING,)) as branch:
        for number in range(3):
            await branch.waits(await branch.post(f"u{number}@contoso.test"), "sender-held", "sender-unproven")
        before = (await branch.parked("apps%2Fu0@contoso.test"))["until"]
        clock = branch.clock
        real = clock.now
        clock.now = lambda: real() + timedelta(hours=1)  # type: ignore[method-assign]
        branch.service.engine._wake.set()
        await branch.advance(2)
        await branch.until(lambda: branch.service.engine.desks["apps/u0@contoso.test"].parked is not None)
        await asyncio.sleep(0.2)
        after = (await branch.parked("apps%2Fu0@contoso.test"))["until"]
        moved = datetime.fromisoformat(after) - datetime.fromisoformat(before)
        assert abs(moved - timedelta(hours=1)) < timedelta(seconds=1)
        assert not branch._running.done()
        assert branch.refused <= 3
