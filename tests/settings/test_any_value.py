"""Whatever stands in a configuration, the answer is settings or faults, never another error and never a secret."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.settings import ConfigurationFaults, load
from tests.support.configuration import GOOD, KEY, SECRET

WHOLE = tomllib.loads(
    f"""{GOOD}
limits = {{ messages_per_minute = 5 }}
[server]
trusted_proxies = ["10.0.0.0/8"]
tls = {{ certificate_file = "a", key_file = "b" }}
admin_keys = [{KEY}]
[delivery]
retry = ["30s"]
timeouts = {{ final = "10m" }}
[connections.app]
host = "h.test"
auth = {{ method = "client-secret", directory = "d", client_id = "c", client_secret = "{SECRET}" }}
[[replies]]
outcome = "sent"
scope = "message"
text = "x"
"""
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    for key, below in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from _places(below, (*place, key))


PLACES = [place for place in _places(WHOLE) if place]
TEXTS = st.sampled_from(["", "*", "*@", "*@*", "password", "contoso", "sqlite:///", "10.0.0.0/8", "1s", "1MB", SECRET])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | TEXTS, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=4))
def test_any_value_at_any_place_ends_in_settings_or_faults(
    tmp_path: Path, everything_alive: None, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    tree = copy.deepcopy(WHOLE)
    for place, value in changes:
        with suppress(TypeError, LookupError):  # an earlier change has taken the place away
            table: Any = tree
            for key in place[:-1]:
                table = table[key]
            table[place[-1]] = value
    (tmp_path / "postroom.toml").write_text("")
    environ = {f"POSTROOM_{name.upper()}": json.dumps(section) for name, section in tree.items()}
    told = ""
    try:
        told = repr(load(tmp_path / "postroom.toml", environ))
    except ConfigurationFaults as error:
        told = str(error)
    if SECRET not in json.dumps(changes, default=str):
        assert SECRET not in told
