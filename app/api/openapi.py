"""Writes the description of the API (OpenAPI 3.1) from the operations, the shapes and the kinds of problems.

``docs/openapi.json`` is this document, committed; a test compares.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel

from app.api.json_text import Json
from app.api.operations import EVERYWHERE, OPERATIONS, Operation, Success
from app.api.schemas import MessageIn, RescheduleIn, ResolveIn
from app.api.shapes import EXAMPLES, SCHEMAS
from app.web.kinds import KINDS, TABLE, Kind
from app.web.problems import MEDIA_TYPE

_REQUESTS: Final[tuple[type[BaseModel], ...]] = (MessageIn, RescheduleIn, ResolveIn)
_HEADERS: Final[dict[str, Json]] = {
    "Location": {"description": "Path of the message.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "true: the answer of an earlier request with this Idempotency-Key.",
        "schema": {"const": "true"},
    },
    "Accept-Encoding": {
        "description": "identity, where the body was compressed (RFC 9110 §12.5.3).",
        "schema": {"const": "identity"},
    },
    "Preference-Applied": {"description": "The wait that was applied (RFC 7240).", "schema": {"type": "string"}},
    "RateLimit": {
        "description": "What is left of the tenant's limits, where it has any.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "The tenant's limits, where it has any.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
    "X-Request-Id": {
        "description": "Names the request in the log: the caller's own, or a new one.",
        "schema": {"type": "string"},
    },
}
_CONTENT: Final = (
    "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nFrom: Billing <billing@contoso.com>\r\nTo: ada@customer.example\r\n"
    "Subject: Invoice 8812\r\nMessage-ID: <msg_06f3q2c9dmxa7y1b8t4h5k6n2w@contoso.com>\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n"
)
# What the examples of some kinds tell beside what every problem does.
_MEMBERS: Final[dict[str, Json]] = {
    "validation-error": {
        "detail": "1 field is invalid",
        "errors": [{"pointer": "#/bccc", "code": "extra_forbidden", "detail": "unknown field"}],
    },
    "sender-not-allowed": {
        "missing": "tenant-allowlist",
        "errors": [
            {
                "pointer": "#/from",
                "code": "sender-not-allowed",
                "detail": "this tenant's allowlist of senders does not contain the From address",
            }
        ],
    },
    "insufficient-scope": {"scope": "messages:read"},
    "payload-too-large": {"limit": 41_943_040},
    "message-too-large": {"size": 40_000_000, "limit": 36_700_160},
    "too-many-recipients": {"count": 600, "limit": 500},
    "quota-exceeded": {"violated-policies": ["messages"]},
    "daily-quota-exceeded": {"violated-policies": ["recipients"]},
}
_ALWAYS: Final = ("RateLimit", "RateLimit-Policy", "X-Request-Id")
_DESCRIPTION: Final = (
    "Takes messages of internal applications and hands them to Exchange Online. A 202 means that the message is on"
    " disk. Every recipient ends in one stated result; sent means that the server answered 250. Whatever answers GET"
    " answers HEAD."
)


def document(version: str) -> Json:
    """Return the description."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Postroom",
            "version": version,
            "summary": "The mail desk of an organisation on Microsoft 365.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": "messages", "description": "Sending messages and following them."}],
        "security": [{"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The API key."},
                "basic": {"type": "http", "scheme": "basic", "description": "Any user name, the API key as password."},
            },
            "headers": _HEADERS,
            "examples": {kind.code: {"summary": kind.title, "value": _example(kind)} for kind in TABLE},
            "schemas": {**_request_schemas(), **SCHEMAS},
        },
    }


def document_text(version: str) -> str:
    """Return the description as it is committed."""
    return json.dumps(document(version), indent=2, ensure_ascii=False) + "\n"


def _request_schemas() -> dict[str, Json]:
    schemas: dict[str, Json] = {}
    for model in _REQUESTS:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update({name: _tidy(part) for name, part in schema.pop("$defs", {}).items()})
        schemas[model.__name__] = _tidy(schema)
    return schemas


def _tidy(schema: Any) -> Any:
    """Drop the titles and empty defaults that pydantic adds, which tell nobody anything; resolve ``x-schema``."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "x-schema" in schema:
        return {"$ref": f"#/components/schemas/{schema['x-schema']}"}
    return {
        name: {key: _tidy(value) for key, value in part.items()} if name == "properties" else _tidy(part)
        for name, part in schema.items()
        if not (name == "title" and isinstance(part, str)) and name != "default"
    }


def _operation(operation: Operation) -> Json:
    described: Json = {
        "operationId": operation.id,
        "tags": ["messages"],
        "summary": operation.summary,
        "description": f"{operation.description}\n\nNeeds the scope `{operation.scope}`.",
        "responses": _responses(operation),
    }
    parameters = list(operation.parameters)
    if "{id}" in operation.path:
        parameters.append(
            {
                "name": "id",
                "in": "path",
                "required": True,
                "description": "The message's id.",
                "schema": {"type": "string"},
                "example": EXAMPLES["Message"]["id"],
            }
        )
    if parameters:
        described["parameters"] = parameters
    if operation.request:
        described["requestBody"] = _request(operation.request, operation.takes_files)
    return described


def _request(name: str, takes_files: bool) -> Json:
    schema = {"$ref": f"#/components/schemas/{name}"}
    content: Json = {"application/json": {"schema": schema, "example": EXAMPLES[name]}}
    if takes_files:
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "description": "The part message comes first. A file part that an attachment names in part becomes"
                " that attachment; any other is attached under its own name and type.",
                "properties": {"message": schema},
                "required": ["message"],
                "additionalProperties": {"type": "string", "contentMediaType": "application/octet-stream"},
            },
            "encoding": {"message": {"contentType": "application/json"}},
        }
    return {"required": True, "content": content}


def _responses(operation: Operation) -> Json:
    responses: dict[str, Json] = {str(each.status): _success(operation, each) for each in operation.successes}
    by_status: dict[int, list[Kind]] = {}
    for code in (*EVERYWHERE, *operation.problems):
        kind = KINDS[code]
        status = kind.also if kind.also and operation.method == "GET" else kind.status
        by_status.setdefault(status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problems(status, kinds)
    return responses


def _success(operation: Operation, success: Success) -> Json:
    if success.schema is None:
        content: Json = {"message/rfc822": {"schema": {"type": "string"}, "example": _CONTENT}}
    else:
        content = {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{success.schema}"},
                "example": EXAMPLES[success.schema],
            }
        }
        if operation.id == "sendMessage" and success.status == 200:
            content["application/json"] = {
                "schema": {
                    "anyOf": [{"$ref": "#/components/schemas/Message"}, {"$ref": "#/components/schemas/DryRun"}]
                },
                "examples": {name: {"value": EXAMPLES[name]} for name in ("Message", "DryRun")},
            }
    return {
        "description": success.description,
        "headers": _named_headers(*success.headers, *_ALWAYS),
        "content": content,
    }


def _problems(status: int, kinds: list[Kind]) -> Json:
    headers = list(_ALWAYS)
    if status == 401:
        headers.append("WWW-Authenticate")
    if status == 415:
        headers.append("Accept-Encoding")
    if any(kind.retry_after for kind in kinds) or status in (429, 503):
        headers.append("Retry-After")
    return {
        "description": " · ".join(kind.title for kind in kinds),
        "headers": _named_headers(*headers),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds},
            }
        },
    }


def _named_headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _example(kind: Kind) -> Json:
    example: Json = {
        "type": kind.type,
        "code": kind.code,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.cure,
        "instance": "/v1/messages",
        "request_id": "req_06F3Q2C9DMXA7Y1B8T4H5K6N2X",
    }
    return {**example, **_MEMBERS.get(kind.code, {})}
