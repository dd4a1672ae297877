"""Examinations from end to end: each trouble on the way to the server is found at its step, and told with its cure."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from app.delivery.operators import UnknownMailbox
from app.emulator import Account, Action, App, Emulator, Fault, Phase, TokenAction, TokenFault
from app.mail.address import parse_named
from tests.doctor.ward import PASSWORD, SENDER, at_rest, by_name, configuration, statuses

ACCOUNT = Account(SENDER, PASSWORD)
WAY = ("dns", "tcp", "banner", "starttls", "certificate", "ehlo")
DIRECTORY = "11111111-2222-3333-4444-555555555555"


def app_auth(emulator: Emulator, secret: str = "the-app-secret", scope: str | None = None) -> str:
    extra = f', scope = "{scope}"' if scope else ""
    return (
        f'{{ method = "client-secret", directory = "{DIRECTORY}", client_id = "app-1", client_secret = "{secret}", '
        f'authority = "{emulator.http_url}"{extra} }}'
    )


async def test_a_mailbox_that_is_well_passes_every_check(tmp_path: Path) -> None:
    async with Emulator([ACCOUNT]) as emulator:
        async with at_rest(configuration(tmp_path, emulator.port, ca=emulator.ca_pem)) as service:
            checks = await service.doctor.examine("noreply")
        assert (emulator.counters.auth_ok, emulator.counters.auth_failed) == (1, 0)
    assert statuses(checks) == {
        **dict.fromkeys(("config", "senders", *WAY, "clock", "auth", "budgets"), "ok"),
        "token": "skipped",
    }
    told = by_name(checks)
    assert "127.0.0.1 connected in" in told["tcp"].got
    assert "Microsoft ESMTP MAIL Service" in told["banner"].got
    assert told["starttls"].got == "TLSv1.3"
    assert "days left" in told["certificate"].got
    assert "PIPELINING" in told["ehlo"].got
    assert "0 messages (no limit)" in told["budgets"].got
    assert all(PASSWORD not in str(check) for check in checks)


async def test_an_unknown_mailbox_is_said_to_be_one(tmp_path: Path) -> None:
    async with at_rest(configuration(tmp_path, 2525)) as service:
        with pytest.raises(UnknownMailbox):
            await service.doctor.examine("nobody")


async def test_a_name_that_does_not_exist_is_told_as_that(tmp_path: Path) -> None:
    async with at_rest(configuration(tmp_path, 2525, host="no-such-host.invalid")) as service:
        checks = await service.doctor.examine("noreply")
    told = by_name(checks)
    assert statuses(checks)["dns"] == "fail"
    assert "[connections.contoso]" in told["dns"].do or "resolv.conf" in told["dns"].do
    assert told["tcp"].got == "the check dns failed before it"
    assert statuses(checks)["auth"] == "skipped"


async def test_a_port_where_nobody_listens_is_refused_and_not_blocked(tmp_path: Path) -> None:
    with socket.socket() as bound:  # bound, and so nobody else's; not listening
        bound.bind(("127.0.0.1", 0))
        async with at_rest(configuration(tmp_path, bound.getsockname()[1])) as service:
            checks = await service.doctor.examine("noreply")
    told = by_name(checks)["tcp"]
    assert (told.status, told.got) == ("fail", "127.0.0.1 refused")
    assert "nothing listens" in told.means
    assert statuses(checks)["banner"] == "skipped"


async def test_a_port_that_swallows_packets_is_called_blocked(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # Linux drops the packets of whoever finds the queue full
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        try:
            async with at_rest(configuration(tmp_path, address[1], connect="0.3s")) as service:
                told = by_name(await service.doctor.examine("noreply"))["tcp"]
        finally:
            for each in waiting:
                each.close()
    assert told.status == "fail"
    assert "no answer within" in told.got
    assert "firewall drops the packets" in told.means
    assert "nc -vz" in told.do


async def test_a_server_that_says_nothing_is_told_apart_from_a_blocked_port(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with at_rest(configuration(tmp_path, port, connect="0.3s")) as service:
            checks = await service.doctor.examine("noreply")
    assert (statuses(checks)["tcp"], statuses(checks)["banner"]) == ("ok", "fail")
    assert "nothing is said" in by_name(checks)["banner"].means


@pytest.mark.parametrize(
    ("action", "got", "means"),
    [
        (Action.WRONG_NAME, "for wrong-name.emulator.postroom", "for another name than 127.0.0.1"),
        (Action.EXPIRED, "valid until", "has expired"),
        (Action.NOT_YET_VALID, "valid until", "clock is behind"),
        (Action.SELF_SIGNED, "issued by", "is not trusted here"),
        (Action.UNKNOWN_CA, "Somebody else's authority", "Somebody else's authority"),
    ],
)
async def test_a_certificate_that_is_not_to_be_trusted_is_shown_and_nothing_is_said_to_it(
    tmp_path: Path, action: Action, got: str, means: str
) -> None:
    fault = Fault(phase=Phase.TLS, action=action, times=None)
    async with Emulator([ACCOUNT], faults=[fault]) as emulator:
        async with at_rest(configuration(tmp_path, emulator.port, ca=emulator.ca_pem)) as service:
            checks = await service.doctor.examine("noreply")
        assert emulator.counters.auth_ok + emulator.counters.auth_failed == 0
    told = by_name(checks)["certificate"]
    assert told.status == "fail"
    assert got in told.got
    assert means in told.means
    assert statuses(checks)["ehlo"] == "skipped"


@pytest.mark.parametrize(
    ("fault", "name", "means"),
    [
        (Fault(phase=Phase.EHLO, action=Action.NO_STARTTLS, times=None), "starttls", "takes the offer away"),
        (Fault(phase=Phase.STARTTLS, action=Action.INJECT_PLAINTEXT, reply="250 evil", times=None), "starttls", "in b"),
        (Fault(phase=Phase.CONNECT, reply="554 5.7.1 go away", times=None), "banner", ""),
        (Fault(phase=Phase.CONNECT, action=Action.DROP, times=None), "banner", "closed without a word"),
        (Fault(phase=Phase.EHLO, action=Action.NO_AUTH, times=None), "ehlo", "the server offers none"),
    ],
)
async def test_each_trouble_before_the_sign_in_is_found_at_its_step(
    tmp_path: Path, fault: Fault, name: str, means: str
) -> None:
    async with (
        Emulator([ACCOUNT], faults=[fault]) as emulator,
        at_rest(configuration(tmp_path, emulator.port, ca=emulator.ca_pem)) as service,
    ):
        checks = await service.doctor.examine("noreply")
    told = by_name(checks)[name]
    assert told.status == "fail", checks
    assert means in told.means
    before = WAY[: WAY.index(name)]
    assert all(statuses(checks)[each] == "ok" for each in before)


async def test_a_refused_password_is_shown_once_and_parks_the_mailbox(tmp_path: Path) -> None:
    async with (
        Emulator([Account(SENDER, "another")]) as emulator,
        at_rest(configuration(tmp_path, emulator.port, ca=emulator.ca_pem)) as service,
    ):
        first = by_name(await service.doctor.examine("noreply"))["auth"]
        second = by_name(await service.doctor.examine("noreply"))
        assert emulator.counters.auth_failed == 1
        third = by_name(await service.doctor.examine("noreply", force=True))["auth"]
        assert emulator.counters.auth_failed == 2
        assert service.engine.desks["noreply"].parked is not None
    assert (first.status, third.status) == ("fail", "fail")
    assert "535" in first.got
    assert first.means
    assert first.do
    assert second["auth"].status == "skipped"
    assert "is parked since" in second["auth"].got
    assert "--force" in second["auth"].do
    assert second["ehlo"].status == "ok"


async def test_a_forced_sign_in_that_succeeds_says_how_to_release_the_mailbox(tmp_path: Path) -> None:
    async with (
        Emulator([ACCOUNT]) as emulator,
        at_rest(configuration(tmp_path, emulator.port, ca=emulator.ca_pem)) as service,
    ):
        await service.engine.park("noreply", "operator", "parked by hand", "resume it")
        told = by_name(await service.doctor.examine("noreply", force=True))["auth"]
        assert service.engine.desks["noreply"].parked is not None
    assert told.status == "ok"
    assert "postroom mailbox resume noreply" in told.do


async def test_a_token_is_read_and_never_shown(tmp_path: Path) -> None:
    app = App(client_id="app-1", secrets=("the-app-secret",), life=3599)
    async with Emulator([ACCOUNT], apps=[app]) as emulator:
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem, auth=app_auth(emulator))
        async with at_rest(path) as service:
            checks = await service.doctor.examine("noreply")
    told = by_name(checks)
    assert (told["token"].status, told["auth"].status) == ("ok", "ok")
    assert "audience https://outlook.office365.com" in told["token"].got
    assert "roles SMTP.SendAsApp" in told["token"].got
    assert all("eyJ" not in str(check) and "the-app-secret" not in str(check) for check in checks)


async def test_a_token_for_another_service_is_not_shown_to_the_server(tmp_path: Path) -> None:
    app = App(client_id="app-1", secrets=("the-app-secret",))
    async with Emulator([ACCOUNT], apps=[app]) as emulator:
        auth = app_auth(emulator, scope="https://graph.microsoft.com/.default")
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem, auth=auth)
        async with at_rest(path) as service:
            checks = await service.doctor.examine("noreply")
        assert emulator.counters.auth_ok + emulator.counters.auth_failed == 0
    told = by_name(checks)
    assert (told["token"].status, told["auth"].status) == ("fail", "skipped")
    assert "Microsoft Graph" in told["token"].means
    assert "https://outlook.office365.com/.default" in told["token"].do


async def test_a_refusal_of_entra_comes_with_its_cause_and_cure(tmp_path: Path) -> None:
    app = App(client_id="app-1", secrets=("the-app-secret",))
    async with Emulator([ACCOUNT], apps=[app]) as emulator:
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem, auth=app_auth(emulator, secret="its-id"))
        async with at_rest(path) as service:
            checks = await service.doctor.examine("noreply")
    told = by_name(checks)
    assert told["token"].status == "fail"
    assert "AADSTS7000215" in told["token"].got
    assert "secret" in told["token"].means.lower()
    assert told["token"].do
    assert told["auth"].status == "skipped"
    assert "no token" in told["auth"].got


async def test_a_token_endpoint_that_is_out_of_reach_is_no_fault_of_the_credential(tmp_path: Path) -> None:
    app = App(client_id="app-1", secrets=("the-app-secret",))
    fault = TokenFault(action=TokenAction.CLOSE, times=None)
    async with Emulator([ACCOUNT], apps=[app], faults=[fault]) as emulator:
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem, auth=app_auth(emulator))
        async with at_rest(path) as service:
            told = by_name(await service.doctor.examine("noreply"))["token"]
            assert service.engine.desks["noreply"].parked is None
    assert told.status == "fail"
    assert "nothing is known about the credential" in told.means


async def test_each_sender_gets_one_real_message_and_send_as_is_judged_at_the_dot(tmp_path: Path) -> None:
    granted, denied = "billing@contoso.test", "ceo@contoso.test"
    async with Emulator([Account(SENDER, PASSWORD, (granted,))]) as emulator:
        path = configuration(
            tmp_path,
            emulator.port,
            ca=emulator.ca_pem,
            send_as=(granted, denied),
            senders=("*@contoso.test",),
        )
        async with at_rest(path) as service:
            checks = await service.doctor.examine("noreply", send_to=parse_named("Ada <ada@customer.test>"))
            desk = service.engine.desks["noreply"]
            assert desk.ledger.day_used(service.clock.boot()) == 2
        assert [message.rcpt_tos for message in emulator.accepted] == [("ada@customer.test",)] * 2
    sent = {check.tried: check for check in checks if check.name == "send"}
    assert [check.status.value for check in sent.values()] == ["ok", "ok", "fail"]
    refused = sent[f"send one message as {denied} to ada@customer.test"]
    assert "SendAsDenied" in refused.got
    assert refused.means
    assert f"Add-RecipientPermission {denied} -AccessRights SendAs" in refused.do
    assert "BeginDiagnosticData" not in refused.got


async def test_what_is_redirected_says_so(tmp_path: Path) -> None:
    async with Emulator([ACCOUNT]) as emulator:
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem)
        path.write_text(path.read_text().replace("[server]", '[server]\nredirect_all_to = "stage@contoso.test"'))
        async with at_rest(path) as service:
            checks = await service.doctor.examine("noreply", send_to=parse_named("ada@customer.test"))
        assert [message.rcpt_tos for message in emulator.accepted] == [("stage@contoso.test",)]
    assert "redirect_all_to sends it to stage@contoso.test" in by_name(checks)["send"].means


async def test_a_sender_that_was_held_for_the_doctor_is_tried_afresh(tmp_path: Path) -> None:
    denied = "ceo@contoso.test"
    async with Emulator([ACCOUNT]) as emulator:
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem, send_as=(denied,), senders=(denied,))
        async with at_rest(path) as service:
            ada = parse_named("ada@customer.test")
            first, second = [(await service.doctor.examine("noreply", send_to=ada))[-1] for _ in range(2)]
            assert [view.held is not None for view in service.engine.senders.views()] == [True]
            emulator.accounts.add(Account(SENDER, PASSWORD, (denied,)))
            service.engine.desks["noreply"].sessions.abort()  # a session of the emulator keeps the grants it began with
            third = (await service.doctor.examine("noreply", send_to=ada))[-1]
    assert [check.status.value for check in (first, second, third)] == ["fail", "fail", "ok"]


async def test_after_two_refusals_no_other_sender_is_tried(tmp_path: Path) -> None:
    denied = [f"{name}@contoso.test" for name in ("a", "b", "c", "d")]
    async with Emulator([ACCOUNT]) as emulator:
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem, send_as=denied, senders=denied)
        async with at_rest(path) as service:
            checks = await service.doctor.examine("noreply", send_to=parse_named("ada@customer.test"))
    assert [check.status.value for check in checks if check.name == "send"] == ["fail", "fail", "skipped", "skipped"]


async def test_a_parked_mailbox_sends_nothing_for_the_doctor(tmp_path: Path) -> None:
    async with Emulator([ACCOUNT]) as emulator:
        async with at_rest(configuration(tmp_path, emulator.port, ca=emulator.ca_pem)) as service:
            await service.engine.park("noreply", "operator", "parked by hand", "resume it")
            checks = await service.doctor.examine("noreply", send_to=parse_named("ada@customer.test"), force=True)
        assert not emulator.accepted
    assert statuses(checks)["send"] == "skipped"


@pytest.mark.parametrize(
    ("senders", "status", "word"),
    [
        (("a@contoso.test", "b@contoso.test"), "ok", "sign in as a@contoso.test"),
        (("*@contoso.test",), "skipped", "no tenant's senders name a single one"),
    ],
)
async def test_a_wildcard_signs_in_as_the_first_address_that_a_tenant_names(
    tmp_path: Path, senders: tuple[str, ...], status: str, word: str
) -> None:
    app = App(client_id="app-1", secrets=("the-app-secret",), mailboxes=("*@contoso.test",))
    async with Emulator([Account("*@contoso.test")], apps=[app]) as emulator:
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem, auth=app_auth(emulator), senders=senders)
        path.write_text(path.read_text().replace(f'address = "{SENDER}"', 'address = "*@contoso.test"'))
        async with at_rest(path) as service:
            checks = await service.doctor.examine("noreply", send_to=parse_named("ada@customer.test"))
    told = by_name(checks)["auth"]
    assert told.status == status
    assert word in f"{told.tried} {told.got}"
    sent = [check.status.value for check in checks if check.name == "send"]
    assert sent == (["ok", "ok"] if status == "ok" else [])
