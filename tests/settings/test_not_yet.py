"""What is not alive yet is refused, never ignored; its default is no fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings.not_yet import NOT_YET
from tests.support.configuration import GOOD, KEY, SECRET, changed, faults_of

PASSWORD = f'method = "password", password = "{SECRET}"'


def _key(more: str) -> str:
    return changed(KEY, KEY.replace(" }", f", {more} }}"))


def _admin(more: str) -> str:
    key = KEY.replace("4Tn2", "5555").replace(" }", f", {more} }}")
    return GOOD + f"[server]\nadmin_keys = [{key}]\n"


# The place of each row that was ever there: (a configuration that wants it, where the fault is told).
SAMPLES = {
    "server.trusted_proxies": (GOOD + '[server]\ntrusted_proxies = ["10.0.0.0/8"]\n', "server.trusted_proxies"),
    "server.admin_keys.*.expires_at": (_admin("expires_at = 2027-01-31"), "server.admin_keys[0].expires_at"),
    "server.admin_keys.*.networks": (_admin('networks = ["10.0.0.0/8"]'), "server.admin_keys[0].networks"),
    "store.url": (changed("sqlite:///postroom.db", "postgresql://h/d"), "store.url"),
    "connections.*.profile": (changed("port = 2525", 'profile = "hve"'), "connections.contoso.profile"),
    "connections.*.auth.method": (
        changed(PASSWORD, 'method = "managed-identity"'),
        "connections.contoso.auth.method",
    ),
    "mailboxes.*.address": (changed('"noreply@contoso.test"', '"*@contoso.test"'), "mailboxes.noreply.address"),
    "tenants.*.keys.*.scopes": (_key('scopes = ["messages:read"]'), "tenants.billing.keys[0].scopes"),
    "tenants.*.keys.*.expires_at": (_key("expires_at = 2027-01-31"), "tenants.billing.keys[0].expires_at"),
    "tenants.*.keys.*.networks": (_key('networks = ["10.0.0.0/8"]'), "tenants.billing.keys[0].networks"),
    "tenants.*.recipients": (GOOD + 'recipients = ["*@contoso.test"]\n', "tenants.billing.recipients"),
    "tenants.*.share": (GOOD + "share = 2\n", "tenants.billing.share"),
    "tenants.*.priorities": (GOOD + 'priorities = ["urgent"]\n', "tenants.billing.priorities"),
    "tenants.*.limits.*": (
        GOOD + "limits = { messages_per_minute = 5 }\n",
        "tenants.billing.limits.messages_per_minute",
    ),
    "tenants.*.allowed_networks": (GOOD + 'allowed_networks = ["10.0.0.0/8"]\n', "tenants.billing.allowed_networks"),
    "replies": (
        GOOD + '\n[[replies]]\ncode = 451\noutcome = "deferred"\nscope = "message"\n',
        "replies",
    ),
}


@pytest.mark.parametrize("row", NOT_YET, ids=lambda row: row.place)
def test_what_is_not_alive_yet_is_refused(tmp_path: Path, row) -> None:  # type: ignore[no-untyped-def]
    text, place = SAMPLES[row.place]
    faults = faults_of(tmp_path, text)
    assert faults[place] == f"not supported yet: {row.what}"


@pytest.mark.parametrize("place", SAMPLES)
def test_what_is_alive_is_taken(tmp_path: Path, everything_alive: None, place: str) -> None:
    text, at = SAMPLES[place]
    faults = faults_of(tmp_path, text)
    assert not any(problem.startswith("not supported yet") for problem in faults.values())
    assert at not in faults or place == "mailboxes.*.address"  # which needs another method as well


def test_a_default_that_is_stated_is_no_fault(tmp_path: Path) -> None:
    text = GOOD + (
        'on_unknown = "resend"\nshare = 1\npriorities = ["normal", "bulk"]\nrecipients = []\nallowed_networks = []\n'
        "limits = { messages_per_minute = 0, recipients_per_day = 0 }\n[server]\ntrusted_proxies = []\n"
    )
    assert faults_of(tmp_path, text) == {}
