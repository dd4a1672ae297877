"""The page at ``/docs``: the description as plain HTML, made here, without scripts, styles or fonts from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Final

from app.api.json_text import Json

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
pre{background:#f4f5f7;padding:.75rem;overflow:auto;font-size:.85rem}code{font-size:.9em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .5rem;
border-bottom:1px solid #dfe2e6}h2{margin-top:2.5rem}summary{cursor:pointer}.m{font-weight:700}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e8eb}pre{background:#22262c}
td,th{border-color:#363b43}a{color:#8ab4f8}}
"""


def docs_page(document: Json) -> str:
    """Return the page that shows a description."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{escape(info['description'])}</p>",
        "<p>The same for programs: <a href='/v1/openapi.json'>OpenAPI 3.1</a>. Authenticate with "
        "<code>Authorization: Bearer KEY</code>, or Basic with the key as password.</p><ul>",
    ]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for path, method, operation in operations:
        name = f"<code>{method.upper()} {escape(path)}</code>"
        parts.append(f"<li><a href='#{operation['operationId']}'>{name}</a> {escape(operation['summary'])}")
    parts.append("</ul>")
    parts += (_operation(*each, document["components"]["examples"]) for each in operations)
    parts.append("<h2>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(f"<details id='{escape(name)}'><summary>{escape(name)}</summary>{_json(schema)}</details>")
    return "\n".join(parts)


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _operation(path: str, method: str, operation: Json, shared: Json) -> str:
    head, _, scope = operation["description"].partition("\n\n")
    parts = [
        f"<h2 id='{operation['operationId']}'>{escape(operation['summary'])}</h2>",
        f"<p class=m><code>{method.upper()} {escape(path)}</code></p>",
        f"<p>{escape(head)} {escape(scope.replace('`', ''))}</p>",
    ]
    if operation.get("parameters"):
        parts.append("<table><tr><th>Parameter<th>In<th>Meaning</tr>")
        parts += (
            f"<tr><td><code>{escape(each['name'])}</code><td>{each['in']}<td>{escape(each['description'])}</tr>"
            for each in operation["parameters"]
        )
        parts.append("</table>")
    if "requestBody" in operation:
        parts.append(f"<h3>Body</h3>{_json(operation['requestBody']['content']['application/json']['example'])}")
    parts.append("<h3>Answers</h3><table><tr><th>Status<th>Meaning</tr>")
    for status, response in operation["responses"].items():
        parts.append(f"<tr><td>{status}<td>{escape(response['description'])}{_examples(response, shared)}</tr>")
    parts.append("</table>")
    return "\n".join(parts)


def _examples(response: Json, shared: Json) -> str:
    """Return what an answer looks like; problems are looked up among the shared examples."""
    shown = []
    for content in response["content"].values():
        examples = dict(content.get("examples", {}))
        if "example" in content:
            examples["example"] = {"value": content["example"]}
        for name, each in examples.items():
            value = each["value"] if "value" in each else shared[name]["value"]
            shown.append(f"<details><summary>{escape(name)}</summary>{_json(value)}</details>")
    return "".join(shown)
