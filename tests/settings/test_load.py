"""A good configuration becomes values that the builder can use as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.mail.message import OnUnknown, Priority
from app.settings import load
from app.settings.values import Listen, SqliteUrl
from app.signin.methods import (
    ClientCertificate,
    ClientSecret,
    FederatedToken,
    ManagedIdentity,
    RefreshToken,
)
from app.web.keys import Found, new_key
from tests.support.configuration import GOOD, KEY, SECRET, changed, load_text


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    settings = load_text(tmp_path, GOOD)
    server, store, delivery = settings.server, settings.store, settings.delivery
    assert (server.listen, server.management_listen) == (Listen("127.0.0.1", 8080), Listen("127.0.0.1", 8081))
    assert (server.drain_delay, server.drain_timeout) == (timedelta(seconds=5), timedelta(seconds=30))
    assert (server.body_limit, server.body_memory) == (40 * 1024**2, 128 * 1024**2)
    assert (server.body_timeout, server.idempotency_retention) == (timedelta(seconds=60), timedelta(hours=24))
    assert (settings.log.level, settings.log.addresses) == ("info", "masked")
    assert (store.content_retention.sent, store.content_retention.other) == (timedelta(0), timedelta(days=7))
    assert (store.metadata_retention, store.queue_limit, store.disk_floor) == (
        timedelta(days=30),
        100_000,
        500 * 1024**2,
    )
    assert [wait.total_seconds() for wait in delivery.retry] == [30, 120, 300, 900, 1800, 3600]
    assert (delivery.jitter, delivery.lifetime) == (0.2, timedelta(hours=72))
    assert delivery.timeouts.final == timedelta(minutes=10)
    assert (delivery.session_idle, delivery.session_age) == (timedelta(minutes=4), timedelta(minutes=8))


def test_a_mailbox_plan_has_connection_credential_and_limits_resolved(tmp_path: Path) -> None:
    (plan,) = load_text(tmp_path, GOOD).mailbox_plans()
    assert (plan.name, plan.connection_name, plan.connection.port) == ("noreply", "contoso", 2525)
    assert plan.username == "noreply@contoso.test"
    assert plan.password is not None
    assert plan.password.get_secret_value() == SECRET
    assert plan.sign_in is None
    assert (plan.limits.sessions, plan.limits.messages_per_minute, plan.limits.recipients_per_day) == (3, 30, 10_000)
    assert (plan.limits.recipients_per_message, plan.limits.message_size) == (500, 35 * 1024**2)
    assert plan.soft_stop == {Priority.BULK: 0.9, Priority.NORMAL: 0.95}
    assert plan.cover.name == "noreply"


def test_limits_of_the_mailbox_go_before_the_connection_and_the_profile(tmp_path: Path) -> None:
    text = changed("port = 2525", "port = 2525\nlimits = { sessions = 2, messages_per_minute = 10 }")
    text = changed("send_as", 'limits = { messages_per_minute = 0, message_size = "1MB" }\nsend_as', text)
    (plan,) = load_text(tmp_path, text).mailbox_plans()
    assert (plan.limits.sessions, plan.limits.messages_per_minute, plan.limits.message_size) == (2, 0, 1024**2)


def test_the_plain_profile_has_no_limit_but_sessions(tmp_path: Path) -> None:
    (plan,) = load_text(tmp_path, changed("port = 2525", 'port = 2525\nprofile = "plain"')).mailbox_plans()
    assert plan.limits.sessions == 3
    assert plan.limits.takes(10**9, 10**6)
    assert (plan.limits.messages_per_minute, plan.limits.recipients_per_day) == (0, 0)


def test_the_mailboxes_own_credential_goes_before_the_connections(tmp_path: Path) -> None:
    text = changed("send_as", 'username = "robot"\npassword = "own"\nsend_as')
    (plan,) = load_text(tmp_path, text).mailbox_plans()
    assert plan.username == "robot"
    assert plan.password is not None
    assert plan.password.get_secret_value() == "own"


def test_relative_paths_are_seen_from_the_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "password").write_text("from-a-file\n")
    (tmp_path / "etc" / "postroom.toml").write_text(changed(f'password = "{SECRET}"', 'password_file = "password"'))
    monkeypatch.chdir(tmp_path)
    settings = load(Path("etc/postroom.toml"), {})
    (plan,) = settings.mailbox_plans()
    assert plan.password is not None
    assert plan.password.get_secret_value() == "from-a-file"
    assert settings.store.url == SqliteUrl(tmp_path / "etc" / "postroom.db")


def test_four_slashes_are_an_absolute_path(tmp_path: Path) -> None:
    settings = load_text(tmp_path, changed("sqlite:///postroom.db", "sqlite:////var/lib/p.db"))
    assert settings.store.url == SqliteUrl(Path("/var/lib/p.db"))


def test_the_key_ring_holds_tenants_and_operators_keys(tmp_path: Path) -> None:
    import random

    mine, theirs = new_key(False, random.Random(1)), new_key(True, random.Random(2))
    text = GOOD + f'[server]\nadmin_keys = [{{ id = "{mine.id}", hash = "{mine.hash}" }}]\n'
    text = changed(KEY, f'{{ id = "{theirs.id}", hash = "{theirs.hash}" }}', text)
    ring = load_text(tmp_path, text).key_ring()
    now = datetime(2026, 11, 25, tzinfo=UTC)
    admin, tenant = ring.find(mine.text, now), ring.find(theirs.text, now)
    assert isinstance(admin, Found)
    assert admin.is_admin
    assert isinstance(tenant, Found)
    assert (tenant.tenant, tenant.is_test) == ("billing", True)


def test_a_tenant_is_told_in_the_words_of_mail(tmp_path: Path, everything_alive: None) -> None:
    extra = """
on_unknown = "hold"
share = 2
priorities = ["urgent", "normal"]
recipients = ["*@contoso.test"]
allowed_networks = ["10.0.0.0/8", "2001:db8::1"]
limits = { messages_per_minute = 20 }
"""
    tenant = load_text(tmp_path, GOOD + extra).tenants["billing"]
    assert tenant.policy is OnUnknown.HOLD
    assert tenant.granted == {Priority.URGENT, Priority.NORMAL}
    assert tenant.allowed_networks == (ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128"))
    assert (tenant.share, tenant.limits.messages_per_minute, tenant.limits.recipients_per_day) == (2, 20, 0)


def test_a_key_takes_scopes_an_end_and_networks(tmp_path: Path, everything_alive: None) -> None:
    key = KEY.replace(" }", ', scopes = ["messages:read"], expires_at = 2027-01-31, networks = ["10.0.0.0/8"] }')
    entry = load_text(tmp_path, changed(KEY, key)).tenants["billing"].keys[0].entry
    assert entry.scopes == {"messages:read"}
    assert entry.expires_at == datetime(2027, 1, 31, tzinfo=UTC)
    assert entry.networks == (ip_network("10.0.0.0/8"),)


APP = 'directory = "contoso.test", client_id = "app"'
METHODS = [
    (f'method = "client-secret", {APP}, client_secret = "{SECRET}", secret_expires_at = 2027-01-31', ClientSecret),
    (f'method = "client-certificate", {APP}, certificate_file = "some", algorithm = "RS256"', ClientCertificate),
    (f'method = "federated-token", {APP}, token_file = "some"', FederatedToken),
    (f'method = "refresh-token", {APP}, refresh_token_file = "some", key_file = "not-there-yet"', RefreshToken),
    ('method = "managed-identity"', ManagedIdentity),
]


@pytest.mark.parametrize(("auth", "kind"), METHODS)
def test_each_token_method_becomes_a_sign_in(tmp_path: Path, everything_alive: None, auth: str, kind: type) -> None:
    (tmp_path / "some").write_text("content")
    text = changed(f'method = "password", password = "{SECRET}"', f'{auth}, cloud = "gcc-high"')
    (plan,) = load_text(tmp_path, text).mailbox_plans()
    assert plan.password is None
    assert plan.sign_in is not None
    assert isinstance(plan.sign_in.method, kind)
    assert "login.microsoftonline.us" in plan.sign_in.endpoint.authority
    assert plan.username == "noreply@contoso.test"
    assert SECRET not in repr(plan)


def test_a_wildcard_mailbox_signs_in_as_each_address(tmp_path: Path, everything_alive: None) -> None:
    auth = f'method = "client-secret", {APP}, client_secret = "{SECRET}", authority = "http://127.0.0.1:8025"'
    text = changed(f'method = "password", password = "{SECRET}"', auth)
    (plan,) = load_text(tmp_path, changed('"noreply@contoso.test"', '"*@contoso.test"', text)).mailbox_plans()
    assert plan.username is None
    assert plan.address.is_wildcard


def test_rows_for_the_catalogue_are_read(tmp_path: Path, everything_alive: None) -> None:
    row = """
[[replies]]
phase = "dot"
code = 550
enhanced = "5.7.60"
text = "SendAsDenied"
outcome = "deferred"
scope = "sender"
wait = "1h"
"""
    (found,) = load_text(tmp_path, GOOD + row).replies
    assert (found.phase, found.code, found.scope, found.wait) == ("dot", 550, "sender", timedelta(hours=1))
