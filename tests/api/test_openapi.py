"""The description is the API's, complete, and readable without anybody's servers."""

from __future__ import annotations

import re
import tomllib
from html import unescape
from typing import Any

import jsonschema
import pytest

from app.api.openapi import document, document_text
from app.api.operations import OPERATIONS
from app.web.kinds import TABLE
from tests.support.api_world import World
from tests.support.golden import ROOT, compare

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
DESCRIBED: dict[str, Any] = document(VERSION)


def test_the_committed_description_is_up_to_date() -> None:
    """``docs/openapi.json``."""
    compare("docs/openapi.json", document_text(VERSION))


def test_every_reference_leads_somewhere() -> None:
    """Within the document."""
    for reference in re.findall(r'"\$ref": "([^"]+)"', document_text(VERSION)):
        found: Any = DESCRIBED
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def _with_components(schema: Any) -> Any:
    return {**schema, "components": DESCRIBED["components"]}


def test_every_example_fits_its_schema() -> None:
    """Of requests, answers and problems."""
    seen = 0
    for methods in DESCRIBED["paths"].values():
        for operation in methods.values():
            bodies = [operation.get("requestBody", {"content": {}}), *operation["responses"].values()]
            for content in (each for body in bodies for each in body["content"].values()):
                examples = content.get("examples", {}).values()
                values = [example.get("value") or _looked_up(example) for example in examples]
                values += [content["example"]] if "example" in content else []
                for value in values:
                    jsonschema.validate(value, _with_components(content["schema"]))
                    seen += 1
    assert seen > 80


def _looked_up(example: dict[str, str]) -> Any:
    return DESCRIBED["components"]["examples"][example["$ref"].rpartition("/")[2]]["value"]


def test_every_operation_says_what_it_is() -> None:
    """An id, a summary, a tag, an example of each answer; and every kind of problem stands somewhere."""
    told = document_text(VERSION)
    ids = [operation.id for operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    for methods in DESCRIBED["paths"].values():
        for operation in methods.values():
            assert operation["operationId"] in ids
            assert operation["summary"]
            assert operation["tags"]
            for answer in operation["responses"].values():
                assert all("example" in content or content["examples"] for content in answer["content"].values())
    elsewhere = {"method-not-allowed"}  # of no operation, by its nature
    for kind in TABLE:
        assert kind.code in elsewhere or f"#/components/examples/{kind.code}" in told, kind.code


async def test_the_service_tells_its_description_to_everybody(world: World) -> None:
    """As JSON, and as a page that needs nothing from elsewhere."""
    async with world.client() as client:
        del client.headers["authorization"]
        assert (await client.get("/v1/openapi.json")).json() == document("0.1.0")
        page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for operation in OPERATIONS:
        assert operation.summary in unescape(page.text)
    assert "<script" not in page.text
    assert not re.findall(r"(?:src|href)=['\"]?https?:", page.text)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_the_routes_are_the_described_ones(world: World, operation: Any) -> None:
    """One for each operation."""
    routes = [route for route in world.app._app.router.routes if getattr(route, "path", "") == operation.path]  # type: ignore[attr-defined]
    assert any(operation.method in route.methods for route in routes)
