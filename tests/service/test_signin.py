"""Signing in with access tokens, by real processes: the token endpoint and the server are the emulator's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.certificates import make_pair
from tests.support.office import SECRET, Office, is_sent, until, waits_for

BILLING = "billing@contoso.test"


def test_a_certificate_signs_in(tmp_path: Path) -> None:
    pair = make_pair()
    pair.write_pem(tmp_path / "app.pem")
    auth = {"method": "client-certificate", "certificate_file": "app.pem"}
    app = {"secrets": [], "certificates": [pair.certificate_pem().decode()]}
    with Office(tmp_path, BILLING, auth=auth, app=app) as office:
        office.until(office.post(BILLING), is_sent)
        sign_in = until(lambda: office.manage("/v1/mailboxes/apps")["sign_in"], lambda told: "expires_at" in told)
        assert sign_in["method"] == "client-certificate" and sign_in["expires_at"].startswith("2027-03-01")
        assert 'postroom_credential_expiry_seconds{kind="certificate",mailbox="apps"}' in office.metrics()


def test_a_federated_token_signs_in_and_is_read_anew(tmp_path: Path) -> None:
    federated = tmp_path / "federated"
    federated.write_text("not-yet-the-right-one")
    auth = {"method": "federated-token", "token_file": "federated"}
    app = {"secrets": [], "federated_tokens": ["the-workloads-own-token"]}
    with Office(tmp_path, BILLING, auth=auth, app=app) as office:
        office.secrets |= {"not-yet-the-right-one", "the-workloads-own-token"}
        message = office.post(BILLING)
        office.until(message, waits_for("mailbox-parked"))
        federated.write_text("the-workloads-own-token")
        # A changed credential releases at once what a refusal has parked.
        office.until(message, is_sent)


def test_a_refresh_token_signs_in_is_encrypted_and_survives_kills(tmp_path: Path) -> None:
    kept = tmp_path / "refresh"
    kept.write_text("a-refresh-token-of-a-user")
    auth = {"method": "refresh-token", "refresh_token_file": "refresh"}
    app = {"refresh_tokens": ["a-refresh-token-of-a-user"], "single_use": True}
    with Office(tmp_path, BILLING, auth=auth, app=app) as office:
        office.secrets.add("a-refresh-token-of-a-user")
        office.until(office.post(BILLING), is_sent)
        assert b"a-refresh-token-of-a-user" not in kept.read_bytes()
        for _ in range(3):
            office.restart()
            office.until(office.post(BILLING), is_sent)
        assert office.manage("/v1/mailboxes/apps")["parked"] is None


def test_a_token_that_the_server_refuses_parks_the_mailbox_with_the_checklist(tmp_path: Path) -> None:
    with Office(tmp_path, BILLING, allowed=("other@contoso.test",)) as office:
        message = office.post(BILLING)
        office.until(message, waits_for("mailbox-parked"))
        parked = office.manage("/v1/mailboxes/apps")["parked"]
        assert parked["reason"] == "535 5.7.3" and parked["cause"] and parked["cure"]
        # One fresh token was tried, and no more.
        counters = office.emulator.counters()
        assert counters["auth_failed"] == 2
        assert office.manage("/v1/mailboxes/apps/resume", "POST")["name"] == "apps"
        until(lambda: office.emulator.counters()["auth_failed"], lambda failed: failed > 2)


@pytest.mark.parametrize(
    ("code", "words"),
    [(7000222, "expired"), (700016, "application"), (53003, "Conditional Access"), (90002, "directory")],
)
def test_every_refusal_of_the_token_endpoint_is_explained(tmp_path: Path, code: int, words: str) -> None:
    with Office(tmp_path, BILLING) as office:
        office.emulator.order(phase="token", aadsts=code)
        message = office.post(BILLING)
        waiting = office.until(message, waits_for("mailbox-parked"))
        parked = office.manage("/v1/mailboxes/apps")["parked"]
        assert parked["reason"] == f"AADSTS{code}"
        assert words.lower() in (parked["cause"] + parked["cure"]).lower()
        assert parked["cause"] in waiting["waiting_for"]["text"]
        office.emulator.clear_faults()
        office.manage("/v1/mailboxes/apps/resume", "POST")
        office.until(message, is_sent)


def test_one_app_signs_in_as_each_from_address_and_a_refused_one_waits_alone(tmp_path: Path) -> None:
    allowed = ("billing@contoso.test", "alerts@contoso.test")
    with Office(tmp_path, "*@contoso.test", allowed=allowed) as office:
        sent = [office.until(office.post(sender), is_sent) for sender in allowed]
        assert [each["attempts"][0]["mailbox"] for each in sent] == [f"apps/{sender}" for sender in allowed]
        refused = [office.post(f"nobody{number}@contoso.test") for number in range(5)]
        held = [
            office.until(each, lambda m: bool(m["waiting_for"]) and m["waiting_for"]["code"].startswith("sender-"))
            for each in refused
        ]
        until(
            lambda: [office.get(each)["waiting_for"]["code"] for each in refused],
            lambda codes: sorted(codes) == ["sender-held"] * 3 + ["sender-unproven"] * 2,
        )
        assert all(each["estimated_send_at"] and not each["attempts"] for each in held)
        refusals = office.emulator.counters()["auth_failed"]
        assert refusals == 3
        assert is_sent(office.until(office.post("billing@contoso.test"), is_sent))
        names = {each["name"]: each for each in office.manage("/v1/mailboxes")["data"]}
        assert {"apps", "apps/billing@contoso.test", "apps/alerts@contoso.test"} <= names.keys()
        assert names["apps/billing@contoso.test"]["state"] == "ok"
        assert names["apps/billing@contoso.test"]["minute"]["used"] == 2
        one = office.manage("/v1/mailboxes/apps/billing@contoso.test")
        assert one["address"] == "billing@contoso.test" and one["sign_in"] == {"method": "client-secret"}
        office.restart()
        assert is_sent(office.until(office.post("alerts@contoso.test"), is_sent))
        until(
            lambda: sorted(office.get(each)["waiting_for"]["code"] for each in refused),
            lambda codes: codes == ["sender-held"] * 3 + ["sender-unproven"] * 2,
        )
        assert office.emulator.counters()["auth_failed"] == refusals
        assert office.manage("/v1/mailboxes/apps/billing@contoso.test")["minute"]["used"] == 2


def test_a_refused_secret_parks_the_connection_until_it_is_mended(tmp_path: Path) -> None:
    with Office(tmp_path, BILLING, secret="wrong-secret-value") as office:
        message = office.post("billing@contoso.test")
        waiting = office.until(message, waits_for("mailbox-parked"))
        assert waiting["estimated_send_at"] is None
        parked = office.manage("/v1/mailboxes/apps")["parked"]
        assert parked["reason"] == "AADSTS7000215" and parked["cause"] and parked["cure"]
        assert 'postroom_mailbox_parked{mailbox="apps",reason="AADSTS7000215"} 1' in office.metrics()
        office.service.terminate()
        office.secret_file.write_text(SECRET)
        office.service.start()
        office.until(message, is_sent)


def test_a_token_endpoint_in_trouble_is_a_connection_trouble(tmp_path: Path) -> None:
    with Office(tmp_path, BILLING) as office:
        office.emulator.order(phase="token", status=503, times=2)
        message = office.post("billing@contoso.test")
        waiting = office.until(message, waits_for("connection"))
        assert "503" in waiting["waiting_for"]["text"]
        office.until(message, is_sent)


def test_the_first_refused_sender_costs_a_fresh_token_and_the_second_none(tmp_path: Path) -> None:
    with Office(tmp_path, "*@contoso.test", allowed=("billing@contoso.test",)) as office:
        refused = [office.post(f"nobody{number}@contoso.test") for number in range(4)]
        until(
            lambda: sorted((office.get(each)["waiting_for"] or {}).get("code", "") for each in refused),
            lambda codes: codes == ["sender-held"] * 2 + ["sender-unproven"] * 2,
        )
        assert office.emulator.counters()["auth_failed"] == 3


LEGACY = """
[connections.legacy]
host = "smtp.office365.com"
auth = { method = "password", password = "an-app-password" }
[mailboxes.old]
address = "old@contoso.test"
connection = "legacy"
"""


def test_the_ends_of_credentials_are_told_to_operators(tmp_path: Path) -> None:
    ends = (datetime.now(UTC) + timedelta(days=20, hours=1)).isoformat()
    with Office(tmp_path, BILLING, auth={"secret_expires_at": ends}, top=LEGACY) as office:
        told = until(lambda: office.manage("/v1/mailboxes/apps")["sign_in"], lambda sign_in: "days_left" in sign_in)
        assert told["method"] == "client-secret" and told["days_left"] == 20 and told["expires_at"]
        old = office.manage("/v1/mailboxes/old")["sign_in"]
        assert old["method"] == "password" and old["expires_at"].startswith("2027-01-01T00:00:00")
        figures = until(office.metrics, lambda text: text.count("postroom_credential_expiry_seconds{") == 2)
        assert 'postroom_credential_expiry_seconds{kind="basic-auth",mailbox="old"}' in figures
        assert 'postroom_credential_expiry_seconds{kind="secret",mailbox="apps"} 1.7' in figures
        lines = office.lines("credential expires")
        assert {(line["mailbox"], line["kind"]) for line in lines} == {("apps", "secret"), ("old", "basic-auth")}
