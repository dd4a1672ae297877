"""What the doctor makes of facts: tables of what was found, and how it is told."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.delivery.operators import MailboxView, SignIn
from app.doctor import credentials, estate
from app.doctor.check import Check, Status, filled
from app.doctor.way import judge_way
from app.mail.address import parse_pattern
from app.mail.reply import Phase, Reply
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.settings import MailboxPlan, Settings, load
from app.signin.expiry import BASIC_AUTH_END, Expiry
from app.smtp.examine import Certificate, Examination, Knock, Stage
from app.smtp.target import features_of
from tests.doctor.ward import SENDER, configuration

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
HELLO = ("mx.example", "SIZE 157286400", "PIPELINING", "AUTH LOGIN XOAUTH2", "8BITMIME", "SMTPUTF8")
APP = (
    'auth = { method = "client-secret", directory = "contoso.com", client_id = "app-1", client_secret = "s-e-c-r-e-t" }'
)
USER = (
    'auth = { method = "refresh-token", directory = "contoso.com", client_id = "app-1", refresh_token_file = "token" }'
)


def settings_of(folder: Path, auth: str = "", **changes: Any) -> Settings:
    (folder / "token").write_text("a-refresh-token")
    path = configuration(folder, 587, host="smtp.office365.com", **changes)
    if auth:
        lines = [auth if line.startswith("auth = ") else line for line in path.read_text().splitlines()]
        path.write_text("\n".join(lines))
    return load(path, {})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def plan(settings: Settings) -> MailboxPlan:
    return settings.mailbox_plans()[0]


def examination(**changes: Any) -> Examination:
    values: dict[str, Any] = {
        "place": "smtp.office365.com:587",
        "knocks": (Knock("192.0.2.1", 0.012),),
        "greeting": "mx.example ready",
        "tls_version": "TLSv1.3",
        "certificate": Certificate(("smtp.office365.com",), "CN=An authority", NOW, NOW + timedelta(days=90)),
        "hello": HELLO,
        "features": features_of(HELLO),
    }
    return Examination(**(values | changes))


def broken(stage: Stage, reason: str, text: str = "the words", **changes: Any) -> Examination:
    return examination(broke_at=stage, trouble=ConnectTrouble(reason, text), **changes)


def way(found: Examination, plan: MailboxPlan, name: str) -> Check:
    return {check.name: check for check in judge_way(found, plan, NOW)}[name]


def knock(address: str, reason: str) -> Knock:
    return Knock(address, 10.0, ConnectTrouble(reason, reason))


@pytest.mark.parametrize(
    ("found", "name", "status", "word"),
    [
        (broken(Stage.DNS, "dns", knocks=()), "dns", "fail", "host in [connections.contoso]"),
        (broken(Stage.DNS, "dns", knocks=(), is_resolver_down=True), "dns", "fail", "resolv.conf"),
        (broken(Stage.DNS, "closed", "the sessions are being closed"), "dns", "skipped", "being closed"),
        (examination(), "tcp", "ok", "192.0.2.1 connected in 12 ms"),
        (
            examination(knocks=(Knock("192.0.2.1", 0.1), knock("2001:db8::1", "unreachable"))),
            "tcp",
            "ok",
            "unreachable",
        ),
        (examination(knocks=(Knock("192.0.2.1", 0.1), knock("2001:db8::1", "timeout"))), "tcp", "warn", "may wait"),
        (broken(Stage.TCP, "unreachable", knocks=(knock("192.0.2.1", "unreachable"),)), "tcp", "fail", "ip route get"),
        (broken(Stage.BANNER, "greeting"), "banner", "fail", "no mail server"),
        (broken(Stage.STARTTLS, "tls-failed"), "starttls", "fail", "openssl s_client"),
        (broken(Stage.CERTIFICATE, "tls-untrusted"), "certificate", "fail", "something in between reads along"),
        (broken(Stage.CERTIFICATE, "tls-name", certificate=None), "certificate", "fail", "another server"),
        (broken(Stage.EHLO, "closed", features=None), "ehlo", "fail", "after the encryption"),
        (examination(features=features_of(["x", "AUTH XOAUTH2"])), "ehlo", "fail", "offers XOAUTH2"),
        (
            examination(hello=("x", "AUTH LOGIN"), features=features_of(["x", "AUTH LOGIN"])),
            "ehlo",
            "ok",
            "round trips",
        ),
    ],
)
def test_a_step_on_the_way_is_judged(found: Examination, name: str, status: str, word: str, plan: MailboxPlan) -> None:
    check = way(found, plan, name)
    assert check.status.value == status
    assert word in " ".join((check.got, check.means, check.do))
    assert check.mailbox == "noreply"


def test_what_the_server_refuses_is_explained_by_the_catalogue(plan: MailboxPlan) -> None:
    reply = Reply(421, "4.3.2", "Service not available", Phase.CONNECT)
    found = examination(broke_at=Stage.BANNER, trouble=ConnectTrouble("greeting", "…", reply))
    check = way(found, plan, "banner")
    assert (check.status, check.got) == (Status.FAIL, "421 4.3.2 Service not available")
    assert check.means


def test_a_message_size_beyond_the_servers_is_worth_a_warning(plan: MailboxPlan) -> None:
    small = ("x", "SIZE 10485760", "AUTH LOGIN")
    wide = replace(plan, limits=replace(plan.limits, message_size=35 * 1024 * 1024))
    check = way(examination(hello=small, features=features_of(small)), wide, "ehlo")
    assert check.status is Status.WARN
    assert 'message_size = "10240KB"' in check.do


def test_a_certificate_that_ends_soon_is_worth_a_warning(plan: MailboxPlan) -> None:
    soon = Certificate(tuple("abcdef"), "CN=x", NOW, NOW + timedelta(days=3, hours=1))
    check = way(examination(certificate=soon), plan, "certificate")
    assert check.status is Status.WARN
    assert "3 days left" in check.got
    assert "and 2 more" in check.got


# ---------------------------------------------------------------- token, sign-in, clock


def jwt(**claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJSUzI1NiJ9.{body}.signature"


@pytest.mark.parametrize(
    ("auth", "claims", "status", "got", "means"),
    [
        (APP, {"aud": "https://outlook.office365.com", "roles": ["SMTP.SendAsApp"]}, "ok", "roles SMTP", "classic way"),
        (APP, {"aud": "https://outlook.office365.com/"}, "ok", "no roles", "App RBAC"),
        (APP, {"aud": "https://outlook.office.com"}, "ok", "no roles", "App RBAC"),
        (APP, {"aud": "00000002-0000-0ff1-ce00-000000000000"}, "ok", "no roles", "App RBAC"),
        (APP, {"aud": "https://graph.microsoft.com"}, "fail", "graph.microsoft.com", "Microsoft Graph"),
        (APP, {"aud": "00000003-0000-0000-c000-000000000000"}, "fail", "00000003", "Microsoft Graph"),
        (APP, {"aud": "https://outlook.office365.com.evil.example"}, "fail", "evil", "another service"),
        (APP, {}, "fail", "audience not told", "another service"),
        (USER, {"aud": "https://outlook.office.com", "scp": "SMTP.Send User.Read"}, "ok", "scp SMTP.Send", "granted"),
        (USER, {"aud": "https://outlook.office.com", "scp": "User.Read"}, "fail", "scp User.Read", "lacks SMTP.Send"),
    ],
)
def test_a_token_is_judged_by_its_audience_and_rights(
    tmp_path: Path, auth: str, claims: dict[str, Any], status: str, got: str, means: str
) -> None:
    plan = settings_of(tmp_path, auth).mailbox_plans()[0]
    assert plan.sign_in is not None
    token = jwt(exp=NOW.timestamp() + 3600, **claims)
    check = credentials.judge_token(token, plan.sign_in, plan, NOW)
    assert check.status.value == status
    assert got in check.got
    assert "ends in 60 min" in check.got
    assert means in check.means
    assert token not in str(check)
    assert "signature" not in str(check)


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.%.c", f"a.{base64.urlsafe_b64encode(b'[1]').decode()}.c", ""])
def test_a_token_that_cannot_be_read_is_left_to_the_server(tmp_path: Path, token: str) -> None:
    plan = settings_of(tmp_path, APP).mailbox_plans()[0]
    assert plan.sign_in is not None
    assert credentials.judge_token(token, plan.sign_in, plan, NOW).status is Status.OK


@pytest.mark.parametrize(
    ("end", "words"), [(None, "no end told"), ("soon", "no end told"), (NOW.timestamp() - 600, "ended 10 min ago")]
)
def test_the_end_of_a_token_is_told_as_far_as_it_is_known(tmp_path: Path, end: object, words: str) -> None:
    plan = settings_of(tmp_path, APP).mailbox_plans()[0]
    assert plan.sign_in is not None
    assert words in credentials.judge_token(jwt(exp=end), plan.sign_in, plan, NOW).got


def test_a_refused_sign_in_is_told_with_a_cure_that_names_the_mailbox_and_the_app(tmp_path: Path) -> None:
    plan = settings_of(tmp_path, APP).mailbox_plans()[0]
    reply = Reply(535, "5.7.3", "Authentication unsuccessful", Phase.AUTH)
    check = credentials.judge_auth(SignInRefused("535 5.7.3", "refused", reply), None, plan, SENDER)
    assert check.status is Status.FAIL
    assert f"-Resource {SENDER}" in check.do
    assert "-Identity app-1" in check.do
    assert "OBJECT_ID" in check.do  # only Entra knows it


def test_a_sign_in_that_is_put_off_is_a_warning_and_one_without_answer_a_failure(plan: MailboxPlan) -> None:
    later = ConnectTrouble("reply", "later", Reply(454, "4.7.0", "Temporary failure", Phase.AUTH))
    assert credentials.judge_auth(later, None, plan, SENDER).status is Status.WARN
    assert credentials.judge_auth(ConnectTrouble("timeout", "no answer"), None, plan, SENDER).status is Status.FAIL


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mx Microsoft ESMTP MAIL Service ready at Wed, 25 Nov 2026 14:00:00 +0200 [08DE]", NOW),
        ("mx ESMTP Postfix", None),
        ("ready at Wed, 99 Nov 2026 12:00:00 +0000", None),
    ],
)
def test_the_time_in_a_greeting_is_found(text: str, expected: datetime | None) -> None:
    assert credentials.date_in(text) == expected


@pytest.mark.parametrize(
    ("theirs", "status", "got"),
    [
        (None, "skipped", "neither"),
        (NOW - timedelta(minutes=5), "ok", "300 s apart"),
        (NOW - timedelta(minutes=6), "warn", "6 min ahead"),
        (NOW + timedelta(hours=1), "warn", "60 min behind"),
    ],
)
def test_the_clock_is_judged_by_another_one(theirs: datetime | None, status: str, got: str, plan: MailboxPlan) -> None:
    check = credentials.judge_clock(theirs, "the server's greeting", NOW, plan)
    assert check.status.value == status
    assert got in check.got


def test_a_date_header_is_read_and_nonsense_is_none() -> None:
    assert credentials.date_of("Wed, 25 Nov 2026 12:00:00 GMT") == NOW
    assert credentials.date_of("") is None


# ---------------------------------------------------------------- configuration and ledger


def test_what_is_worth_a_word_in_a_configuration_is_told(tmp_path: Path) -> None:
    path = configuration(tmp_path, 587)
    text = path.read_text().replace("admin_keys", "# admin_keys").replace('connect = "5s"', 'final = "1m"')
    path.write_text(text)
    checks = estate.judge_config(load(path, {}))
    assert [check.got for check in checks if check.status is Status.WARN] == [
        "no operator's key",
        "timeouts.final is under 10 minutes",
    ]
    assert all(check.do for check in checks[1:])


def test_without_mailboxes_or_senders_nothing_can_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "postroom.toml"
    path.write_text('[store]\nurl = "sqlite:///postroom.db"\n')
    settings = load(path, {})
    assert "no mailbox" in [check.got for check in estate.judge_config(settings)]
    (check,) = estate.judge_senders(settings, ())
    assert (check.status, check.got) == (Status.WARN, "no tenant has a sender")


@pytest.mark.parametrize(
    ("send_as", "senders", "expected"),
    [
        ((), (SENDER,), [("ok", "1 entry of 1 served")]),
        (("*@invoices.test",), ("a@invoices.test", "*@invoices.test"), [("ok", "2 entries of 2 served")]),
        ((), ("*@contoso.test", SENDER), [("ok", "1 entry of 2 served"), ("warn", f"only {SENDER}")]),
    ],
)
def test_every_sender_is_compared_with_the_mailboxes(
    tmp_path: Path, send_as: tuple[str, ...], senders: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    settings = settings_of(tmp_path, send_as=send_as, senders=senders)
    checks = estate.judge_senders(settings, settings.mailbox_plans())
    assert [(check.status.value, check.got) for check in checks] == expected


def test_a_sender_that_no_mailbox_covers_comes_with_the_line_to_add(settings: Settings) -> None:
    (check,) = estate.judge_senders(settings, [replace(settings.mailbox_plans()[0], address=parse_pattern("a@b.test"))])
    assert check.status is Status.FAIL
    assert f'send_as = ["{SENDER}"] in [mailboxes.noreply]' in check.do


@pytest.mark.parametrize(
    ("expiry", "expected"),
    [
        (Expiry("secret", NOW + timedelta(days=31, hours=1)), []),
        (Expiry("certificate", NOW + timedelta(days=10, hours=1)), ["warn"]),
        (Expiry("secret", NOW - timedelta(days=1)), ["fail"]),
        (BASIC_AUTH_END, ["warn"]),
    ],
)
def test_the_end_of_a_credential_is_told_in_time(expiry: Expiry, expected: list[str], plan: MailboxPlan) -> None:
    assert [check.status.value for check in estate.judge_expiries([expiry], plan, NOW)] == expected


@pytest.mark.parametrize(
    ("day", "status", "word"),
    [(0, "ok", ""), (899, "ok", ""), (900, "warn", "bulk mail waits"), (950, "warn", "bulk and normal mail waits")],
)
def test_a_days_budget_that_is_used_up_is_told_by_class(day: int, status: str, word: str, plan: MailboxPlan) -> None:
    view = MailboxView(
        name="noreply",
        address=SENDER,
        state="ok",
        parked=None,
        sign_in=SignIn("password"),
        sessions_open=1,
        sessions_busy=0,
        sessions_limit=3,
        minute=(4, 30),
        day=(day, 1000),
        day_forecast_at=None,
        last_success_at=None,
        last_refusal=None,
    )
    check = estate.judge_budgets(view, plan)
    assert check.status.value == status
    assert f"4 of 30 messages in this minute; {day} of 1,000 recipients" in check.got
    assert word in check.means


def test_a_pattern_is_tried_by_the_addresses_that_are_named(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        send_as=("billing@contoso.test", "*@invoices.test"),
        senders=("*@contoso.test", "a@invoices.test", "*@invoices.test", SENDER),
    )
    trials = estate.trials_of(settings, settings.mailbox_plans()[0])
    assert [str(trial.sender) for trial in trials] == [SENDER, "billing@contoso.test", "a@invoices.test"]
    assert {trial.mailbox_address for trial in trials} == {SENDER}


def test_names_that_are_known_are_put_into_a_cure() -> None:
    cure = "Add-RecipientPermission FROM -Trustee MAILBOX; OBJECT_ID; SMTP AUTH"
    told = filled(cure, {"FROM": "a@b.test", "MAILBOX": "m@b.test", "CLIENT_ID": None})
    assert told == "Add-RecipientPermission a@b.test -Trustee m@b.test; OBJECT_ID; SMTP AUTH"
