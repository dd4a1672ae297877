"""What of a server's words reaches a tenant, and what a log."""

from __future__ import annotations

import re
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.mail.redact import for_log, for_tenant, without_diagnostics

_DENIED = (
    "SendAsDenied; login@contoso.com not allowed to send as Billing@contoso.com; "
    "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a "
    "permanent exception with message [BeginDiagnosticData]Cannot submit message. 0.35250:D8360000, other@fabrikam.com"
    "[EndDiagnosticData] [Hostname=SYBP282MB2635.AUSP282.PROD.OUTLOOK.COM]"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            _DENIED,
            "SendAsDenied; [address] not allowed to send as Billing@contoso.com; "
            "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message "
            "due to a permanent exception with message",
        ),
        ("no [BeginDiagnosticData]cut off in the mid", "no"),
        ("OK <id@contoso.com> [Hostname=X.PROD.OUTLOOK.COM]", "OK <[address]>"),
        ("<a@b.c> [InternalId=123, Hostname=X.PROD.OUTLOOK.COM] 9 bytes in 0.1", "<[address]> 9 bytes in 0.1"),
        (
            "Authentication unsuccessful [LO4P123CA0001.GBRP123.PROD.OUTLOOK.COM 2026-08-01T10:00:00.000Z 08DE2A60]",
            "Authentication unsuccessful",
        ),
        ("Hello [203.0.113.10] there", "Hello there"),
        ("Hello [2603:10b6:8::1] there", "Hello there"),
        ("ready [08DE2A6028D26C22]", "ready"),
        ("ready [2026-08-01T10:00:00.000Z]", "ready"),
        ("sent by SYBP282MB2635.AUSP282.PROD.OUTLOOK.COM today", "sent by [host] today"),
        ("via contoso-com.mail.protection.outlook.com.", "via [host]."),
        ("Visit https://aka.ms/concurrent_sending for more", "Visit https://aka.ms/concurrent_sending for more"),
        ("to billing@contoso.com", "to billing@contoso.com"),
        ("to xbilling@contoso.com, billing@contoso.com.au", "to [address], [address]"),
        ('to "odd one"@contoso.com and user@[192.0.2.1]', "to [address] and [address]"),
        ("see [address] and [3 of 5]", "see [address] and [3 of 5]"),
        ("me@prod.outlook.com", "[address]"),
        ("plain words", "plain words"),
        ("", ""),
    ],
)
def test_a_tenant_sees_the_words_without_what_is_not_its_own(text: str, shown: str) -> None:
    assert for_tenant(text, ["billing@contoso.com"]) == shown


def test_the_messages_own_id_stays_readable_where_it_is_given_as_own() -> None:
    assert for_tenant("OK <ID@contoso.com> [Hostname=X]", ["id@contoso.com"]) == "OK <ID@contoso.com>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "login@contoso.com not allowed to send as b@fabrikam.com;\r\n next",
            "l***@contoso.com not allowed to send as b***@fabrikam.com; next",
        ),
        ('"odd one"@contoso.com', "o***@contoso.com"),
        ("no [BeginDiagnosticData]secret[EndDiagnosticData] more", "no more"),
        ("x@y", "x***@y"),
    ],
)
def test_a_log_sees_masked_addresses_on_one_line(text: str, shown: str) -> None:
    assert for_log(text) == shown


def test_a_log_sees_a_bounded_length() -> None:
    assert for_log("x" * 3000) == "x" * 499 + "…"
    assert for_log("x" * 40, bound=10) == "x" * 9 + "…"
    assert for_log("x" * 10, bound=10) == "x" * 10


def test_diagnostics_alone_can_be_left_out() -> None:
    assert without_diagnostics(_DENIED).endswith("with message [Hostname=SYBP282MB2635.AUSP282.PROD.OUTLOOK.COM]")


_PIECES = st.sampled_from(
    [
        "billing@contoso.com", "other@fabrikam.com", '"a b"@x.example', "[", "]", "[BeginDiagnosticData]", " ", ";",
        "[EndDiagnosticData]", "[Hostname=A.PROD.OUTLOOK.COM]", "A.PROD.OUTLOOK.COM", "@", "x", ".", "é", '"', "<",
    ]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=14).map("".join))
def test_no_address_but_its_own_ever_reaches_a_tenant(text: str) -> None:
    """Nor the mark of diagnostics, nor a server's name."""
    shown = for_tenant(text, ["billing@contoso.com"])
    assert "other@fabrikam.com" not in shown
    assert "[BeginDiagnosticData]" not in shown
    assert not re.search(r"(?<![\w@.-])A\.PROD\.OUTLOOK\.COM\b", shown)


@given(st.text(max_size=300))
def test_any_text_can_be_shown(text: str) -> None:
    assert len(for_log(text, bound=50)) <= 50
    assert "\n" not in for_log(text)
    for_tenant(text)


@pytest.mark.parametrize("filling", ["a", "a@", '"', "[a.", "a.", "[BeginDiagnosticData]", "@a-", "[a=", ":", "[1"])
def test_no_text_of_8_kib_takes_long(filling: str) -> None:
    text = (filling * 8192)[:8192]
    assert min(timeit.repeat(lambda: (for_tenant(text), for_log(text)), number=1, repeat=3)) < 0.25
