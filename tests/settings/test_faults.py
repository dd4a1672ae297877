"""Every kind of fault is told with its place, all of them at once, and never with a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import ConfigurationFaults, Fault, load
from tests.support.configuration import GOOD, HASH, KEY, SECRET, changed, faults_of

PASSWORD = f'method = "password", password = "{SECRET}"'
SCOPED = KEY.replace(" }", ', scopes = ["messages:read"] }')
CONNECTION_2 = '\n[mailboxes.second]\naddress = "second@contoso.test"\nconnection = "contoso"\n'

FAULTS = [
    # what -> place, words of the problem
    (GOOD + "[servr]\n", "servr", "not a setting"),
    (GOOD + "_env_file = 1\n[server]\n", "tenants.billing._env_file", "not a setting"),
    ("_env_file = 1\n" + GOOD, "_env_file", "not a setting"),
    (GOOD + "[server]\nlistn = 1\n", "server.listn", "not a setting"),
    (changed("senders =", "sender ="), "tenants.billing.sender", "not a setting"),
    (changed(PASSWORD, f"{PASSWORD}, client_id = 'x'"), "connections.contoso.auth.client_id", "not a setting"),
    (changed("port = 2525", "port = 25"), "connections.contoso.port", "port 25 is for mail between servers"),
    (changed("port = 2525", "port = 465"), "connections.contoso.port", "port 465 is TLS from the first byte"),
    (changed("port = 2525", "port = 0"), "connections.contoso.port", "below 1"),
    (changed("port = 2525", 'port = "587"'), "connections.contoso.port", "not a whole number"),
    (changed("port = 2525", "port = true"), "connections.contoso.port", "not a whole number"),
    (changed("port = 2525", "pipelining = 1"), "connections.contoso.pipelining", "neither true nor false"),
    (changed("port = 2525", 'profile = "gmail"'), "connections.contoso.profile", "not a value"),
    (changed('"127.0.0.1"', '"smtp://mail"'), "connections.contoso.host", "not a host"),
    (changed('host = "127.0.0.1"\n', ""), "connections.contoso.host", "is missing"),
    (changed('method = "password", ', ""), "connections.contoso.auth.method", "is missing"),
    (changed('method = "password"', 'method = "passwort"'), "connections.contoso.auth.method", "not a sign-in method"),
    (changed('connection = "contoso"\n', ""), "mailboxes.noreply.connection", "is missing"),
    (changed('connection = "contoso"', 'connection = "contso"'), "mailboxes.noreply.connection", "no connection"),
    (changed('"noreply@contoso.test"', '"noreply"'), "mailboxes.noreply.address", "neither an address"),
    (changed('"*@invoices.contoso.test"', '"*@*"'), "mailboxes.noreply.send_as[1]", "neither an address"),
    (changed('senders = ["', 'senders = ["a@@b.test", "'), "tenants.billing.senders[0]", "neither an address"),
    (changed('senders = ["', 'senders = ["x@else.test", "'), "tenants.billing.senders[0]", "no mailbox covers"),
    (changed('senders = ["', 'senders = ["*@else.test", "'), "tenants.billing.senders[0]", "no mailbox covers"),
    (changed(f"[{KEY}]", f"[{KEY}, {KEY}]"), "tenants.billing.keys[1].id", "tenants.billing.keys[0] too"),
    (GOOD + f"[server]\nadmin_keys = [{KEY}]\n", "tenants.billing.keys[0].id", "server.admin_keys[0] too"),
    (GOOD + f"[tenants.other]\nkeys = [{KEY}]\n", "tenants.other.keys[0].id", "is the id of"),
    (changed(f"[{KEY}]", "[]") + f"[server]\nadmin_keys = [{SCOPED}]\n", "server.admin_keys[0].scopes", "of no use"),
    (changed("4Tn2kQ9xWb7d", "short"), "tenants.billing.keys[0].id", "right form"),
    (changed(HASH, "0f0f"), "tenants.billing.keys[0].hash", "right form"),
    (changed("[mailboxes.noreply]", "[mailboxes.No-Reply]"), "mailboxes.No-Reply", "not a name"),
    (changed("[mailboxes.noreply]", "[mailboxes.no__reply]"), "mailboxes.no__reply", "not a name"),
    (GOOD + '[server]\ndrain_delay = "5 s"\n', "server.drain_delay", "not a duration"),
    (GOOD + "[server]\ndrain_delay = 5\n", "server.drain_delay", "not a duration"),
    (GOOD + '[server]\nbody_timeout = "0s"\n', "server.body_timeout", "no time"),
    (GOOD + '[delivery]\nretry = ["30s", "soon"]\n', "delivery.retry[1]", "not a duration"),
    (GOOD + "[delivery]\nretry = []\n", "delivery.retry", "is empty"),
    (GOOD + "[delivery]\njitter = nan\n", "delivery.jitter", ""),
    (GOOD + "[delivery]\njitter = 1.5\n", "delivery.jitter", "above 1"),
    (GOOD + '[server]\nbody_limit = "40 MiB"\n', "server.body_limit", "not a size"),
    (GOOD + "[server]\nbody_limit = 0\n", "server.body_limit", "no room"),
    (GOOD + '[server]\nbody_limit = "200MB"\n', "server.body_memory", "less than body_limit"),
    (GOOD + '[server]\nlisten = "8080"\n', "server.listen", "not a listen address"),
    (GOOD + '[server]\nlisten = "999.0.0.1:80"\n', "server.listen", "not a listen address"),
    (GOOD + '[server]\nlisten = "127.0.0.1:8081"\n', "server.management_listen", "same as listen"),
    (GOOD + '[log]\nlevel = "loud"\n', "log.level", "not a value"),
    (GOOD + "[log]\nlevel = 3\n", "log.level", "not a value"),
    ("server = 3\n" + GOOD, "server", "not a table"),
    (changed("[store]", '[store]\nmetadata_retention = "47h"'), "store.metadata_retention", "under 48h"),
    (changed("sqlite:///postroom.db", "sqlite:///:memory:"), "store.url", "not on disk"),
    (changed("sqlite:///postroom.db", "postroom.db"), "store.url", "not the address of a store"),
    (changed("[store]", "[store]\nqueue_limit = -1"), "store.queue_limit", "below 0"),
    (changed(f', password = "{SECRET}"', ""), "mailboxes.noreply.password", "neither the mailbox nor its connection"),
    (GOOD + CONNECTION_2, "mailboxes.second.password", "also relied on by noreply"),
    (GOOD + CONNECTION_2, "mailboxes.noreply.password", "also relied on by second"),
    (
        GOOD + CONNECTION_2.replace("second@", "noreply@") + 'password = "own"\n',
        "mailboxes.second",
        "same account as mailbox noreply",
    ),
    (changed(f'password = "{SECRET}"', 'password_file = "none"'), "connections.contoso.auth.password_file", "none can"),
    (changed(f'"{SECRET}"', f'"{SECRET}", password_file = "x"'), "connections.contoso.auth.password", "stated twice"),
    (changed(f'"{SECRET}"', f'"{SECRET}\\n2"'), "connections.contoso.auth.password", "several lines"),
    (changed(f'"{SECRET}"', '""'), "connections.contoso.auth.password", "is empty"),
    (changed("port = 2525", 'ca_file = "none"'), "connections.contoso.ca_file", "cannot be read"),
    (changed("port = 2525", 'ca_file = "."'), "connections.contoso.ca_file", "cannot be read"),
    (changed("port = 2525", 'ca_file = "a\\u0000b"'), "connections.contoso.ca_file", "cannot be read"),
    (changed("port = 2525", 'ca_file = "postroom.toml"'), "connections.contoso.ca_file", "no certificate"),
    (
        GOOD + '[server.tls]\ncertificate_file = "postroom.toml"\nkey_file = "postroom.toml"\n',
        "server.tls",
        "do not belong together",
    ),
    (GOOD + "[server.tls]\n", "server.tls.key_file", "is missing"),
]


@pytest.mark.parametrize(("text", "place", "words"), FAULTS)
def test_a_fault_is_told_with_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    faults = faults_of(tmp_path, text)
    assert place in faults
    assert words in faults[place]


APP = 'directory = "contoso.test", client_id = "app"'
LATER_FAULTS = [
    (f'method = "client-secret", {APP}', "connections.contoso.auth.client_secret", "is missing"),
    (f'method = "client-secret", client_secret = "{SECRET}"', "connections.contoso.auth.client_id", "is missing"),
    ('method = "client-secret", directory = "a/b", client_id = "x"', "connections.contoso.auth", "directory must be"),
    (f'method = "federated-token", {APP}, token_file = "none"', "connections.contoso.auth.token_file", "cannot be"),
    ('method = "managed-identity", authority = "http://h.test"', "connections.contoso.auth", "must be https"),
    (
        f'method = "client-secret", {APP}, client_secret = "x", secret_expires_at = "soon"',
        "connections.contoso.auth.secret_expires_at",
        "not an instant",
    ),
]


@pytest.mark.parametrize(("auth", "place", "words"), LATER_FAULTS)
def test_a_fault_of_a_token_method_is_told(
    tmp_path: Path, everything_alive: None, auth: str, place: str, words: str
) -> None:
    faults = faults_of(tmp_path, changed(PASSWORD, auth))
    assert words in faults[place]


def test_a_password_beside_a_token_is_a_fault(tmp_path: Path, everything_alive: None) -> None:
    text = changed(PASSWORD, 'method = "managed-identity"')
    faults = faults_of(tmp_path, changed("send_as", f'password = "{SECRET}"\nsend_as', text))
    assert faults == {"mailboxes.noreply.password": "is of no use: connection contoso signs in by managed-identity"}


def test_a_wildcard_mailbox_needs_a_method_of_an_app(tmp_path: Path, everything_alive: None) -> None:
    faults = faults_of(tmp_path, changed('"noreply@contoso.test"', '"*@contoso.test"'))
    assert faults["mailboxes.noreply.address"] == "cannot sign in as each From address by password"


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("scopes = []", "scopes"),
        ('scopes = ["messages:all"]', "scopes[0]"),
        ('scopes = ["messages:read", "messages:read"]', "scopes"),
        ('networks = ["10.0.0.1/8"]', "networks[0]"),
        ("expires_at = 2027-01-31T08:00:00", "expires_at"),
    ],
)
def test_a_wrong_restriction_of_a_key_is_a_fault(tmp_path: Path, everything_alive: None, more: str, place: str) -> None:
    faults = faults_of(tmp_path, changed(KEY, KEY.replace(" }", f", {more} }}")))
    assert list(faults) == [f"tenants.billing.keys[0].{place}"]


@pytest.mark.parametrize("row", ["text = '('", "outcome = 'lost'", "code = 42"])
def test_a_wrong_row_for_the_catalogue_is_a_fault(tmp_path: Path, everything_alive: None, row: str) -> None:
    faults = faults_of(tmp_path, f"{GOOD}\n[[replies]]\n{row}\n")
    assert f"replies[0].{row.split()[0]}" in faults


def test_all_faults_are_told_at_once_sorted_by_place(tmp_path: Path) -> None:
    text = f"""
[servr]
[store]
metadata_retention = "1h"
[connections.a]
host = "h.test"
port = 25
auth = {{ method = "password", password = "{SECRET}", password_file = "both" }}
[mailboxes.one]
address = "not an address"
connection = "nowhere"
[mailboxes.two]
address = "two@contoso.test"
password_file = "missing"
[tenants.t]
keys = [{KEY}, {KEY}]
senders = ["who@contoso.test"]
"""
    faults = faults_of(tmp_path, text, {"POSTROOM_FOO": "1", "POSTROOM_SERVER__DRAIN_DELAY": "soon"})
    assert list(faults) == [
        "connections.a.auth.password",
        "connections.a.port",
        "environment: POSTROOM_FOO",
        "mailboxes.one.address",
        "mailboxes.one.connection",
        "mailboxes.two.connection",
        "mailboxes.two.password_file",
        "server.drain_delay",
        "servr",
        "store.metadata_retention",
        "tenants.t.keys[1].id",
        "tenants.t.senders[0]",
    ]


def test_a_missing_file_is_a_fault_and_the_environment_is_judged_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationFaults) as raised:
        load(tmp_path / "none.toml", {"POSTROOM_FOO": "1"})
    assert [fault.place for fault in raised.value.faults] == [str(tmp_path / "none.toml"), "environment: POSTROOM_FOO"]


def test_a_folder_is_not_a_configuration_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationFaults, match="cannot be read"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'[server]\nlisten = "a\n', "is not TOML at line 2"),
        (f"password = {SECRET}\n".encode(), "is not TOML at line 1"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a = " + b"[" * 5000, ""),
    ],
)
def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "postroom.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationFaults) as raised:
        load(path, {})
    (fault,) = raised.value.faults
    assert fault.place == str(path)
    assert problem in fault.problem
    assert SECRET not in str(fault)


def test_a_fault_reads_as_place_problem_and_cure() -> None:
    assert str(Fault("a.b", "is missing", "state it")) == "a.b: is missing\n    state it"


def test_a_mistyped_name_gets_the_one_that_was_probably_meant(tmp_path: Path) -> None:
    (tmp_path / "postroom.toml").write_text(changed("senders =", "sendres ="))
    with pytest.raises(ConfigurationFaults) as raised:
        load(tmp_path / "postroom.toml", {"POSTROOM_SERVER__LISTN": "x"})
    assert [fault.cure for fault in raised.value.faults] == [
        "did you mean POSTROOM_SERVER__LISTEN?",
        "did you mean senders?",
    ]
