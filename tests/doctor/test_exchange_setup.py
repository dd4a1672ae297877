"""The set-up script: complete for its configuration, safe to run whatever the configuration says, and as committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.doctor.exchange_setup import exchange_setup, quoted
from app.settings import load
from tests.support.golden import compare

GUID = "11111111-2222-3333-4444-555555555555"
APP = f'auth = {{ method = "client-certificate", directory = "{GUID}", client_id = "{GUID}", certificate_file = "c" }}'
PASSWORD = 'auth = { method = "password", password = "correct-horse-battery" }'
REFRESH = (
    f'auth = {{ method = "refresh-token", directory = "{GUID}", client_id = "{GUID}", refresh_token_file = "t", '
    'cloud = "gcc-high" }'
)
MAILBOX = """
[mailboxes.noreply]
address = "noreply@contoso.com"
connection = "contoso"
send_as = ["billing@contoso.com", "o'neil@contoso.com", "*@invoices.contoso.com"]
[mailboxes.alerts]
address = "alerts@contoso.com"
connection = "contoso"
"""


def script(folder: Path, auth: str, mailboxes: str = MAILBOX, profile: str = "exchange") -> str:
    (folder / "c").write_text("a certificate")
    (folder / "t").write_text("a-refresh-token")
    path = folder / "postroom.toml"
    path.write_text(
        '[store]\nurl = "sqlite:///postroom.db"\n'
        f'[connections.contoso]\nhost = "smtp.office365.com"\nprofile = "{profile}"\n{auth}\n{mailboxes}'
    )
    return exchange_setup(load(path, {}))


@pytest.mark.parametrize(
    ("name", "auth"), [("app", APP), ("password", PASSWORD), ("refresh-token", REFRESH)], ids=lambda value: value[:8]
)
def test_the_script_is_the_committed_one(tmp_path: Path, name: str, auth: str) -> None:
    mailboxes = MAILBOX
    if name == "password":
        mailboxes = '[mailboxes.noreply]\naddress = "noreply@contoso.com"\nconnection = "contoso"\n'
    compare(f"tests/doctor/golden/{name}.ps1", script(tmp_path, auth, mailboxes))


def test_without_a_connection_to_exchange_there_is_nothing_to_set_up(tmp_path: Path) -> None:
    mailboxes = '[mailboxes.noreply]\naddress = "noreply@contoso.com"\nconnection = "contoso"\n'
    assert script(tmp_path, PASSWORD, mailboxes, profile="plain").startswith("# No mailbox uses")


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("plain@contoso.com", "'plain@contoso.com'"),
        ("o'neil@contoso.com", "'o''neil@contoso.com'"),
        ('$(Remove-Item)`n"', "'$(Remove-Item)`n\"'"),
        ("a\u2018b\u2019c\u201ad\u201be", "'a\u2018\u2018b\u2019\u2019c\u201a\u201ad\u201b\u201be'"),
    ],
)
def test_no_value_leaves_its_quotes(text: str, literal: str) -> None:
    assert quoted(text) == literal


@pytest.mark.parametrize("name", ["app", "password", "refresh-token"])
def test_brackets_and_quotes_of_the_script_are_balanced(name: str) -> None:
    # Stands in for PowerShell's own parser, which is not at hand where the tests run.
    text = (Path(__file__).parent / "golden" / f"{name}.ps1").read_text(encoding="utf-8")
    opened: list[str] = []
    quote = ""
    for line in text.splitlines():
        for char in line:
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == "#":
                break
            elif char in "({[":
                opened.append(char)
            elif char in ")}]":
                assert opened, line
                assert opened.pop() + char in ("()", "{}", "[]"), line
        assert not quote, line
    assert not opened
