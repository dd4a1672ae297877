"""Who may do what from where: the running service keeps what the file says of keys and networks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from tests.support.contract import LETTER, bearer, new_key, restricted, waiting_service
from tests.support.processes import SENDER, ServiceProcess

INSIDE, ELSEWHERE = "10.1.2.3", "192.0.2.7"
SCOPES = ("send", "read", "content", "cancel")


@dataclass
class Desk:
    """A running service and a key of each kind, by name."""

    service: ServiceProcess
    keys: dict[str, str] = field(default_factory=dict)

    def call(self, key: str, method: str = "GET", path: str = "/v1/messages", **request: object) -> httpx.Response:
        """Ask as if through a trusted proxy; ``come_from`` is what that says of the caller."""
        come_from = str(request.pop("come_from", INSIDE))
        base = str(request.pop("base", self.service.base))
        headers = bearer(self.keys.get(key, key), **{"X-Forwarded-For": come_from})
        return httpx.request(method, f"{base}{path}", headers=headers, trust_env=False, **request)  # type: ignore[arg-type]

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self.service.management}"


def _lines(desk: Desk, **kinds: dict[str, object]) -> str:
    """Make a key of each kind, with these restrictions, and return the lines for the file."""
    lines = []
    for name, restrictions in kinds.items():
        desk.keys[name], line = new_key(is_test=name == "test")
        lines.append(restricted(line, **restrictions))
    return ", ".join(lines)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(waiting_service(tmp_path_factory.mktemp("keys"), server={"trusted_proxies": ["127.0.0.1/32"]}))
    near = {"networks": '["10.1.0.0/16"]'}
    rules = _lines(
        desk,
        first={},
        second={},
        test={},
        expired={"expires_at": "2026-01-31T08:00:00Z"},
        lasting={"expires_at": "2099-01-31"},
        inside=near,
        **{word: {"scopes": f'["messages:{word}"]'} for word in SCOPES},
    )
    fenced = _lines(desk, fenced={}, both=near)
    admin = _lines(desk, admin={}, admin_inside=near, admin_expired={"expires_at": "2026-01-31"})
    text = desk.service.file.read_text().replace("[server]", f"[server]\nadmin_keys = [{admin}]")
    text += f'[tenants.rules]\nkeys = [{rules}]\nsenders = ["{SENDER}"]\n'
    text += f'[tenants.fenced]\nkeys = [{fenced}]\nsenders = ["{SENDER}"]\nallowed_networks = ["10.0.0.0/8"]\n'
    desk.service.file.write_text(text)
    with desk.service:
        yield desk


def test_several_keys_of_a_tenant_work_at_once_until_they_expire(desk: Desk) -> None:
    for key in ("first", "second", "lasting"):
        assert desk.call(key).status_code == 200
    expired = desk.call("expired")
    assert (expired.status_code, expired.json()["code"]) == (401, "unauthorized")
    assert expired.headers["www-authenticate"].startswith("Bearer")
    until = time.monotonic() + 5
    while not (told := re.search('"key_fault": ?"expired"', desk.service.log())) and time.monotonic() < until:
        time.sleep(0.02)
    assert told
    assert not any(key in desk.service.log() for key in desk.keys.values())


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "", "send"),
        ("POST", "?dry_run=true", "send"),
        ("GET", "", "read"),
        ("GET", "/{id}", "read"),
        ("GET", "/{id}/events", "read"),
        ("GET", "/{id}/content", "content"),
        ("PATCH", "/{id}", "cancel"),
        ("POST", "/{id}/cancel", "cancel"),
        ("POST", "/{id}/retry", "send"),
        ("POST", "/{id}/resolve", "send"),
    ],
)
def test_each_route_asks_for_its_scope_and_for_no_other(desk: Desk, method: str, path: str, scope: str) -> None:
    identity = desk.call("first", "POST", json=LETTER).json()["id"]
    path = f"/v1/messages{path.format(id=identity)}"
    for word in SCOPES:
        answer = desk.call(word, method, path, json=LETTER) if method != "GET" else desk.call(word, method, path)
        refused = answer.status_code == 403 and answer.json()["code"] == "insufficient-scope"
        assert refused == (word != scope), (word, answer.text)
        if refused:
            assert answer.json()["scope"] == f"messages:{scope}"


def test_a_key_without_scopes_sends_reads_and_cancels_but_does_not_read_content(desk: Desk) -> None:
    path = desk.call("first", "POST", json=LETTER).headers["location"]
    assert desk.call("first", path=f"{path}/content").status_code == 403
    assert desk.call("first", "POST", f"{path}/cancel").status_code == 200


def test_a_test_key_does_everything_but_the_wire(desk: Desk) -> None:
    """The next hop of this service is never there."""
    path = desk.call("test", "POST", json=LETTER).headers["location"]
    told = desk.call("test", path=path).json()
    assert (told["status"], told["attempts"]) == ("sent", [])
    reply = told["recipients"][0]["reply"]
    assert (reply["code"], reply["text"]) == (250, "test: not handed over")


@pytest.mark.parametrize(
    ("key", "come_from", "allowed"),
    [
        ("inside", INSIDE, True),
        ("inside", "10.2.0.1", False),
        ("inside", ELSEWHERE, False),
        ("inside", f"{INSIDE}, {ELSEWHERE}", False),  # what stands before an untrusted address is anybody's word
        ("inside", f"{ELSEWHERE}, {INSIDE}", True),
        ("inside", f"{INSIDE}, 127.0.0.1", True),
        ("inside", "no address", False),
        ("fenced", "10.2.0.1", True),
        ("fenced", ELSEWHERE, False),
        ("both", INSIDE, True),
        ("both", "10.2.0.1", False),
        ("first", ELSEWHERE, True),
    ],
)
def test_the_networks_of_key_and_tenant_must_both_allow(desk: Desk, key: str, come_from: str, allowed: bool) -> None:
    answer = desk.call(key, come_from=come_from)
    assert answer.status_code == (200 if allowed else 403)
    assert allowed or answer.json()["code"] == "network-not-allowed"


def test_operators_keys_are_bound_to_their_networks_and_time_too(desk: Desk) -> None:
    def status(key: str, come_from: str = INSIDE) -> int:
        return desk.call(key, path="/v1/mailboxes", base=desk.management, come_from=come_from).status_code

    assert status("admin", ELSEWHERE) == 200
    assert (status("admin_inside"), status("admin_inside", ELSEWHERE)) == (200, 403)
    assert status("admin_expired") == 401
    assert status("first") == 403
    assert desk.call("admin").status_code == 403


def test_who_tries_wrong_keys_must_wait_and_valid_keys_are_not_affected(desk: Desk) -> None:
    wrong = desk.keys["first"][:-1] + ("0" if desk.keys["first"][-1] != "0" else "1")
    answers = [desk.call(wrong, come_from=ELSEWHERE) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [401] * 20 + [429]
    assert answers[-1].json()["code"] == "too-many-failures"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert desk.call("first", come_from=ELSEWHERE).status_code == 200
    assert desk.call(wrong, come_from="192.0.2.8").status_code == 401
