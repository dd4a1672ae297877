"""What one setting demands of another, checked on the values as stated.

On the stated values and not on the model, so that a fault in one place does not hide the faults of another: each check
looks at what it can judge and passes over the rest, which the model refuses anyway. Pure; files are looked at by
``files``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from app.mail.address import AddressPattern, parse_pattern
from app.settings.faults import Fault, Place, fault_at, suggestion, write_place
from app.settings.values import parse_listen, parse_size

Values = dict[str, Any]
_OF_AN_APP: Final = ("client-secret", "client-certificate", "federated-token", "managed-identity")


def check_across(values: Values) -> list[Fault]:
    """Return the faults of settings that do not go together."""
    checks: tuple[Callable[[Values], Iterator[Fault]], ...] = (
        _connections_exist,
        _credentials_exist,
        _passwords_are_own,
        _accounts_are_single,
        _senders_are_covered,
        _key_ids_are_single,
        _operators_are_whole,
        _listeners_differ,
        _bodies_fit,
    )
    return [fault for check in checks for fault in check(values)]


def _tables(values: Values, name: str) -> Iterator[tuple[str, Values]]:
    """Yield the tables of a section by name."""
    section = values.get(name)
    if isinstance(section, dict):
        yield from ((key, table) for key, table in section.items() if isinstance(table, dict))


def _table(values: Values, *keys: str) -> Values:
    """Return the table at a place; an empty one where there is none."""
    found: Any = values
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _texts(value: Any) -> Iterator[tuple[int, str]]:
    if isinstance(value, list):
        yield from ((index, each) for index, each in enumerate(value) if isinstance(each, str))


def _pattern(text: Any) -> AddressPattern | None:
    try:
        return parse_pattern(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _connection_of(values: Values, mailbox: Values) -> Values:
    name = mailbox.get("connection")
    return _table(values, "connections", name) if isinstance(name, str) else {}


def _connections_exist(values: Values) -> Iterator[Fault]:
    known = list(_table(values, "connections"))
    for name, mailbox in _tables(values, "mailboxes"):
        wanted = mailbox.get("connection")
        if isinstance(wanted, str) and wanted not in known:
            cure = suggestion(wanted, known) if known else "add a table [connections.NAME]"
            yield fault_at(("mailboxes", name, "connection"), f"there is no connection {wanted!r}", cure)


def _credentials_exist(values: Values) -> Iterator[Fault]:
    for name, connection in _tables(values, "connections"):
        auth = _table(connection, "auth")
        if auth.get("method") == "client-secret" and not _states(auth, "client_secret"):
            cure = "state client_secret or client_secret_file"
            yield fault_at(("connections", name, "auth", "client_secret"), "is missing", cure)
    for name, mailbox in _tables(values, "mailboxes"):
        auth = _table(_connection_of(values, mailbox), "auth")
        method = auth.get("method")
        is_wildcard = isinstance(mailbox.get("address"), str) and mailbox["address"].startswith("*")
        if method == "password" and not _states(mailbox, "password") and not _states(auth, "password"):
            problem = f"is missing: neither the mailbox nor its connection {mailbox['connection']} states one"
            yield fault_at(("mailboxes", name, "password"), problem, "state password or password_file in one of them")
        if isinstance(method, str) and method != "password" and _states(mailbox, "password"):
            problem = f"is of no use: connection {mailbox['connection']} signs in by {method}"
            yield fault_at(("mailboxes", name, "password"), problem, "remove it")
        if isinstance(method, str) and is_wildcard and method not in _OF_AN_APP:
            problem = f"cannot sign in as each From address by {method}"
            yield fault_at(("mailboxes", name, "address"), problem, f"use one of {', '.join(_OF_AN_APP)}")


def _states(table: Values, secret: str) -> bool:
    return secret in table or f"{secret}_file" in table


def _passwords_are_own(values: Values) -> Iterator[Fault]:
    """A connection's password opens one account: of several mailboxes only one may rely on it."""
    relying = defaultdict(list)
    for name, mailbox in _tables(values, "mailboxes"):
        auth = _table(_connection_of(values, mailbox), "auth")
        has_own = _states(mailbox, "password") or "username" in mailbox
        if auth.get("method") == "password" and _states(auth, "password") and not has_own:
            relying[mailbox["connection"]].append(name)
    for connection, names in relying.items():
        for name in names if len(names) > 1 else ():
            others = ", ".join(other for other in names if other != name)
            problem = f"is missing: the one password of connection {connection} is also relied on by {others}"
            yield fault_at(("mailboxes", name, "password"), problem, "state password or password_file for each mailbox")


def _accounts_are_single(values: Values) -> Iterator[Fault]:
    """Two mailboxes that sign in as one account would each use its limits in full."""
    seen: dict[tuple[str, str], str] = {}
    for name, mailbox in _tables(values, "mailboxes"):
        connection = _connection_of(values, mailbox)
        stated = mailbox.get("username") or _table(connection, "auth").get("username") or mailbox.get("address")
        if not connection or not isinstance(stated, str):
            continue
        account = (f"{connection.get('host')}:{connection.get('port', 587)}", stated.casefold())
        first = seen.setdefault(account, name)
        if first != name:
            problem = f"signs in as the same account as mailbox {first}, whose limits would be used twice"
            yield fault_at(("mailboxes", name), problem, "keep one of the two, with both their send_as")


def _senders_are_covered(values: Values) -> Iterator[Fault]:
    covers = []
    for _, mailbox in _tables(values, "mailboxes"):
        texts = [mailbox.get("address"), *(text for _, text in _texts(mailbox.get("send_as")))]
        covers += [pattern for pattern in map(_pattern, texts) if pattern is not None]
    for name, tenant in _tables(values, "tenants"):
        for index, text in _texts(tenant.get("senders")):
            sender = _pattern(text)
            if sender is not None and not any(is_covered(sender, cover) for cover in covers):
                place: Place = ("tenants", name, "senders", index)
                cure = "add it to the send_as of a mailbox that Exchange lets send as it, or remove it here"
                yield fault_at(place, f"no mailbox covers {text}", cure)


def is_covered(sender: AddressPattern, cover: AddressPattern) -> bool:
    """Whether a mailbox's address or ``send_as`` serves a tenant's sender.

    It does for a single sender that it matches, and for a pattern if it falls under that pattern.
    """
    return sender.covers(cover) or cover.covers(sender)


def _keys(values: Values) -> Iterator[tuple[Place, str]]:
    """Yield the id of every key of tenants and operators with its place."""
    lists: list[tuple[Place, Any]] = [(("server", "admin_keys"), _table(values, "server").get("admin_keys"))]
    lists += [(("tenants", name, "keys"), tenant.get("keys")) for name, tenant in _tables(values, "tenants")]
    for place, keys in lists:
        for index, key in enumerate(keys if isinstance(keys, list) else ()):
            if isinstance(key, dict) and isinstance(key.get("id"), str):
                yield (*place, index, "id"), key["id"]


def _key_ids_are_single(values: Values) -> Iterator[Fault]:
    seen: dict[str, Place] = {}
    for place, identity in _keys(values):
        first = seen.setdefault(identity, place)
        if first != place:
            problem = f"is the id of {write_place(first[:-1])} too"
            yield fault_at(place, problem, "make another key by postroom keys new; each is used by one owner")


def _operators_are_whole(values: Values) -> Iterator[Fault]:
    keys = _table(values, "server").get("admin_keys")
    for index, key in enumerate(keys if isinstance(keys, list) else ()):
        if isinstance(key, dict) and "scopes" in key:
            problem = "is of no use to an operator's key, which opens the management listener as a whole"
            yield fault_at(("server", "admin_keys", index, "scopes"), problem, "remove it")


def _listeners_differ(values: Values) -> Iterator[Fault]:
    server = _table(values, "server")
    try:
        listen = parse_listen(server.get("listen", "127.0.0.1:8080"))
        management = parse_listen(server.get("management_listen", "127.0.0.1:8081"))
    except ValueError:
        return
    if listen == management and listen.port:
        cure = "choose another port; operators' calls do not belong where apps call"
        yield fault_at(("server", "management_listen"), "is the same as listen", cure)


def _bodies_fit(values: Values) -> Iterator[Fault]:
    server = _table(values, "server")
    try:
        limit = parse_size(server.get("body_limit", "40MB"))
        memory = parse_size(server.get("body_memory", "128MB"))
    except ValueError:
        return
    if limit > memory > 0:
        problem = "is less than body_limit: a body of that size could never be taken"
        yield fault_at(("server", "body_memory"), problem, "raise body_memory, or lower body_limit")
