"""What is written about the configuration follows the model, and the committed files are up to date."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.settings import shape
from app.settings.documents import entries, env_example, reference, schema
from app.settings.model import Settings
from app.settings.sources import OTHER_NAMES, Tree, overlay
from tests.support.configuration import HASH, faults_of

ROOT = Path(__file__).parents[2]
SECTIONS = tuple(Settings.model_fields)


def _variables() -> dict[str, str]:
    return dict(re.findall(r"^# (POSTROOM_[A-Z_]+)=(.*)$", env_example(), re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "text"), [(".env.example", env_example()), ("docs/configuration.md", reference())], ids=str
)
def test_the_committed_file_is_what_the_model_says(name: str, text: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_description(section: str) -> None:
    assert all(entry.description.strip().endswith(".") for entry in entries(section))


def test_every_variable_of_the_example_names_a_setting() -> None:
    tree = Tree()
    overlay(tree, Settings, {name: value for name, value in _variables().items() if name not in OTHER_NAMES and value})
    assert tree.faults == []


def test_every_setting_has_a_variable_in_the_example() -> None:
    expected = {entry.variable for section in SECTIONS for entry in entries(section)}
    assert set(_variables()) == expected | (OTHER_NAMES - {"POSTROOM_FAILPOINTS"})


def test_every_default_of_the_example_may_be_written_as_it_stands(tmp_path: Path, everything_alive: None) -> None:
    sections = ("server", "log", "store", "delivery", "replies")
    known = [entry for section in sections for entry in entries(section)]
    environ = {entry.variable: entry.default for entry in known if entry.default}
    assert faults_of(tmp_path, "", environ) == {}


def test_the_example_of_the_reference_is_a_good_configuration(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", reference(), re.DOTALL)
    (tmp_path / "noreply").write_text("password")
    text = text.replace("/run/secrets/", "").replace('"…"', '"4Tn2kQ9xWb7d"').replace("sha256:…", HASH)
    assert faults_of(tmp_path, text) == {}


def test_the_schema_refuses_unknown_keys_and_writes_defaults_as_operators_do() -> None:
    found: dict[str, Any] = schema()
    server = found["$defs"]["Server"]
    assert found["additionalProperties"] is False
    assert server["additionalProperties"] is False
    assert server["properties"]["listen"]["default"] == "127.0.0.1:8080"
    assert server["properties"]["body_limit"]["default"] == "40MB"
    assert found["$defs"]["Delivery"]["properties"]["retry"]["default"][:2] == ["30s", "2m"]
    assert found["$defs"]["Connection"]["properties"]["auth"]["discriminator"]["propertyName"] == "method"


def test_a_choice_of_tables_says_which_of_them_takes_a_setting() -> None:
    by_name = {entry.place[-1]: entry for entry in entries("connections") if "auth" in entry.place}
    assert by_name["method"].kind.startswith("password | client-secret | ")
    assert by_name["token_file"].description.endswith("For federated-token.")
    assert by_name["cloud"].description.endswith("Not for password.")


def test_the_shape_knows_unions_lists_and_named_tables() -> None:
    auth = shape.walk(Settings, ("connections", "any", "auth"))
    assert shape.kind_of(auth) == "table"
    assert len(shape.tables(auth)) == 6
    assert set(shape.twins(auth)) == {"password", "client_secret", "certificate_password"}
    assert shape.kind_of(shape.walk(Settings, ("tenants", "any", "keys"))) == "list"
    assert shape.walk(Settings, ("tenants", "any", "keys", 0, "nothing")) is None
    place = ("connections", "any", "auth", "client-secret", "client_id")
    assert shape.without_tags(Settings, place) == ("connections", "any", "auth", "client_id")
