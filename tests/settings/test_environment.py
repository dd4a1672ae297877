"""The environment overrides the file, key by key, and no name of it is passed over in silence."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.settings import ConfigurationFaults, load
from app.settings.values import Listen
from tests.support.configuration import GOOD, KEY, SECRET, changed, faults_of, load_text

OVERRIDES = [
    ("SERVER__LISTEN", "0.0.0.0:9000", lambda s: s.server.listen, Listen("0.0.0.0", 9000)),
    ("SERVER__BODY_LIMIT", "2MB", lambda s: s.server.body_limit, 2 * 1024**2),
    ("STORE__DISK_FLOOR", "0", lambda s: s.store.disk_floor, 0),
    ("STORE__QUEUE_LIMIT", "5", lambda s: s.store.queue_limit, 5),
    ("STORE__CONTENT_RETENTION__SENT", "1h", lambda s: s.store.content_retention.sent, timedelta(hours=1)),
    ("STORE__CONTENT_RETENTION", '{"sent": "1h"}', lambda s: s.store.content_retention.sent, timedelta(hours=1)),
    ("DELIVERY__RETRY", '["1s"]', lambda s: s.delivery.retry, (timedelta(seconds=1),)),
    ("DELIVERY__JITTER", "0", lambda s: s.delivery.jitter, 0),
    ("CONNECTIONS__CONTOSO__PORT", "587", lambda s: s.connections["contoso"].port, 587),
    ("CONNECTIONS__CONTOSO__PIPELINING", "false", lambda s: s.connections["contoso"].pipelining, False),
    ("CONNECTIONS__CONTOSO__LIMITS__SESSIONS", "1", lambda s: s.mailbox_plans()[0].limits.sessions, 1),
    ("MAILBOXES__NOREPLY__LIMITS__MESSAGE_SIZE", "1KB", lambda s: s.mailbox_plans()[0].limits.message_size, 1024),
    ("MAILBOXES__NOREPLY__SOFT_STOP__BULK", "0.5", lambda s: s.mailboxes["noreply"].soft_stop.bulk, 0.5),
    (
        "CONNECTIONS__CONTOSO__AUTH__PASSWORD",
        " spaces stay ",
        lambda s: s.mailbox_plans()[0].password.get_secret_value(),
        " spaces stay ",
    ),
    ("MAILBOXES__NOREPLY__PASSWORD", "own", lambda s: s.mailbox_plans()[0].password.get_secret_value(), "own"),
    ("TENANTS__BILLING__ON_UNKNOWN", "hold", lambda s: s.tenants["billing"].on_unknown, "hold"),
    ("TENANTS__OTHER__SENDERS", '["noreply@contoso.test"]', lambda s: list(s.tenants), ["billing", "other"]),
    ("TENANTS", '{"only": {"senders": ["noreply@contoso.test"]}}', lambda s: list(s.tenants), ["only"]),
]


@pytest.mark.parametrize(("name", "value", "read", "expected"), OVERRIDES)
def test_a_variable_replaces_the_value_of_its_key(
    tmp_path: Path, name: str, value: str, read: Any, expected: object
) -> None:
    assert read(load_text(tmp_path, GOOD, {f"POSTROOM_{name}": value})) == expected


def test_a_key_of_a_table_given_as_json_is_replaced_by_its_own_variable(tmp_path: Path) -> None:
    environ = {
        "POSTROOM_STORE__CONTENT_RETENTION__OTHER": "2d",
        "POSTROOM_STORE__CONTENT_RETENTION": '{"sent": "1h", "other": "1d"}',
    }
    retention = load_text(tmp_path, GOOD, environ).store.content_retention
    assert (retention.sent, retention.other) == (timedelta(hours=1), timedelta(days=2))


def test_a_mailbox_can_live_in_the_environment_alone(tmp_path: Path) -> None:
    environ = {
        "POSTROOM_MAILBOXES__SECOND___ADDRESS": "second@contoso.test",
        "POSTROOM_MAILBOXES__SECOND___CONNECTION": "contoso",
        "POSTROOM_MAILBOXES__SECOND___PASSWORD": "own",
    }
    plans = load_text(tmp_path, GOOD, environ).mailbox_plans()
    assert [plan.name for plan in plans] == ["noreply", "second_"]


@pytest.mark.parametrize(
    ("environ", "place", "words"),
    [
        ({"POSTROOM_SERVER__LISTEN": "here"}, "server.listen", "(set by POSTROOM_SERVER__LISTEN)"),
        ({"POSTROOM_STORE__QUEUE_LIMIT": "many"}, "store.queue_limit", "not a whole number (set by POSTROOM_STORE__Q"),
        ({"POSTROOM_DELIVERY__JITTER": "nan"}, "delivery.jitter", "not a number (set by"),
        ({"POSTROOM_CONNECTIONS__CONTOSO__PIPELINING": "yes"}, "connections.contoso.pipelining", "neither true nor"),
        ({"POSTROOM_DELIVERY__RETRY": "30s"}, "delivery.retry", "not a list in JSON (set by POSTROOM_DELIVERY__RETRY)"),
        ({"POSTROOM_DELIVERY__RETRY": '["x"]'}, "delivery.retry[0]", "(set by POSTROOM_DELIVERY__RETRY)"),
        ({"POSTROOM_DELIVERY__RETRY": "[" * 100_000}, "delivery.retry", "not a list in JSON"),
        ({"POSTROOM_TENANTS": "[]"}, "tenants", "not a table in JSON"),
        ({"POSTROOM_CONNECTIONS__CONTOSO__PORT": "25"}, "connections.contoso.port", "port 25"),
        (
            {"POSTROOM_CONNECTIONS__CONTOSO__AUTH__TOKEN_FILE": "x"},
            "connections.contoso.auth.token_file",
            "not a setting (set by",
        ),
        ({"POSTROOM_FOO": "1"}, "environment: POSTROOM_FOO", "names no setting"),
        ({"POSTROOM_SERVER__FOO": "1"}, "environment: POSTROOM_SERVER__FOO", "names no setting"),
        ({"POSTROOM_SERVER_LISTEN": "1"}, "environment: POSTROOM_SERVER_LISTEN", "names no setting"),
        ({"POSTROOM_SERVER__LISTEN__PORT": "1"}, "environment: POSTROOM_SERVER__LISTEN__PORT", "names no setting"),
        ({"POSTROOM_server__listen": "1"}, "environment: POSTROOM_server__listen", "names no setting"),
        ({"POSTROOM_TENANTS__9__SHARE": "1"}, "environment: POSTROOM_TENANTS__9__SHARE", "names no setting"),
        ({"POSTROOM_SERVER_PORT": "8080"}, "environment: POSTROOM_SERVER_PORT", "names no setting"),
        (
            {"POSTROOM_SERVER__SERVICE_HOST": "10.0.0.1"},
            "environment: POSTROOM_SERVER__SERVICE_HOST",
            "names no setting",
        ),
        ({"POSTROOM_": "1"}, "environment: POSTROOM_", "names no setting"),
    ],
)
def test_a_variable_that_cannot_be_used_is_a_fault(
    tmp_path: Path, environ: dict[str, str], place: str, words: str
) -> None:
    assert words in faults_of(tmp_path, GOOD, environ)[place]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTROOM_CONFIG", "x"),
        ("POSTROOM_ADMIN_KEY", "x"),
        ("POSTROOM_ADMIN_KEY_FILE", "x"),
        ("POSTROOM_FAILPOINTS", "x"),
        ("POSTROOM_SERVICE_HOST", "10.0.0.1"),
        ("POSTROOM_SERVICE_PORT", "8080"),
        ("POSTROOM_SERVICE_PORT_HTTP", "8080"),
        ("POSTROOM_PORT", "tcp://10.0.0.1:8080"),
        ("POSTROOM_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("POSTROOM_PORT_8080_TCP_PROTO", "tcp"),
        ("POSTROOM_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("POSTROOM_MANAGEMENT_SERVICE_HOST", "10.0.0.2"),
        ("POSTROOM_MANAGEMENT_PORT", "tcp://10.0.0.2:8081"),
        ("OTHER_POSTROOM_FOO", "x"),
    ],
)
def test_names_of_commands_and_of_kubernetes_are_no_fault(tmp_path: Path, name: str, value: str) -> None:
    assert faults_of(tmp_path, GOOD, {name: value}) == {}


def test_a_secret_of_the_environment_takes_the_place_of_either_form_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\r\n")
    by_file = {"POSTROOM_CONNECTIONS__CONTOSO__AUTH__PASSWORD_FILE": "secret"}
    (plan,) = load_text(tmp_path, GOOD, by_file).mailbox_plans()
    assert plan.password is not None
    assert plan.password.get_secret_value() == "from-a-file"
    in_file = changed(f'password = "{SECRET}"', 'password_file = "not-there"')
    (plan,) = load_text(tmp_path, in_file, {"POSTROOM_CONNECTIONS__CONTOSO__AUTH__PASSWORD": "plain"}).mailbox_plans()
    assert plan.password is not None
    assert plan.password.get_secret_value() == "plain"


def test_both_forms_of_a_secret_in_the_environment_are_a_fault(tmp_path: Path) -> None:
    name = "POSTROOM_MAILBOXES__NOREPLY__PASSWORD"
    faults = faults_of(tmp_path, GOOD, {name: SECRET, f"{name}_FILE": "secret"})
    assert faults == {
        "mailboxes.noreply.password": f"is stated twice: as password and as password_file (set by {name})"
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "not UTF-8"), (b"x" * 65_537, "64 KiB")],
)
def test_a_secret_file_that_cannot_be_used_is_the_only_fault(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    faults = faults_of(tmp_path, GOOD, {"POSTROOM_CONNECTIONS__CONTOSO__AUTH__PASSWORD_FILE": "secret"})
    assert list(faults) == ["connections.contoso.auth.password_file"]
    assert words in faults["connections.contoso.auth.password_file"]


def test_the_address_of_a_store_may_come_from_a_file(tmp_path: Path, everything_alive: None) -> None:
    (tmp_path / "url").write_text(f"postgresql://postroom:{SECRET}@db.test/postroom\n")
    text = changed('url = "sqlite:///postroom.db"', 'url_file = "url"')
    settings = load_text(tmp_path, text)
    assert SECRET not in repr(settings)
    assert list(faults_of(tmp_path, text, {"POSTROOM_STORE__URL_FILE": "none"})) == ["store.url_file"]


def test_dotenv_is_read_on_request_only_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "postroom.toml").write_text(GOOD)
    (tmp_path / ".env").write_text("POSTROOM_SERVER__LISTEN=0.0.0.0:1\nPOSTROOM_LOG__LEVEL='debug'\nOTHER=1\n")
    environ = {"POSTROOM_SERVER__LISTEN": "0.0.0.0:2"}
    plain = load(Path("postroom.toml"), environ)
    developed = load(Path("postroom.toml"), environ, dotenv=True)
    assert plain.log.level == "info"
    assert (developed.log.level, developed.server.listen.port) == ("debug", 2)


def test_a_dotenv_that_cannot_be_read_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "postroom.toml").write_text(GOOD)
    (tmp_path / ".env").write_bytes(b"POSTROOM_FOO=\xff\n")
    with pytest.raises(ConfigurationFaults, match=r"\.env: cannot be read: it is not UTF-8"):
        load(Path("postroom.toml"), {}, dotenv=True)


def test_a_key_list_is_written_as_json(tmp_path: Path) -> None:
    key = KEY.replace("{ id =", '{"id":').replace(", hash =", ', "hash":')
    settings = load_text(tmp_path, changed(f"[{KEY}]", "[]"), {"POSTROOM_SERVER__ADMIN_KEYS": f"[{key}]"})
    assert settings.server.admin_keys[0].id == "4Tn2kQ9xWb7d"
