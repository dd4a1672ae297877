"""Builds the HTTP doors: the API for tenants, the management listener for operators. No I/O while building."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response

from app.api.acting import Acting
from app.api.docs_page import docs_page
from app.api.doctoring import Doctoring
from app.api.first_aid import FirstAidRoutes
from app.api.inside import Inside
from app.api.limits import limits_told_by
from app.api.mailboxes import Mailboxes
from app.api.openapi import document
from app.api.operations import OPERATIONS
from app.api.reader import JsonReader
from app.api.reading import Reading
from app.api.senders import SenderRoutes
from app.api.sending import ROUTE, Sending
from app.api.services import ApiServices, ManagementServices
from app.api.views import encode
from app.web import handlers
from app.web.body import BodyLimits, Memory
from app.web.guard import Endpoint, Gate, Guard
from app.web.health import Health, health_routes, metrics_route

# Who may read may ask for the head alone (RFC 9110 §9.3.2); the server leaves the body out.
_READ: Final = ["GET", "HEAD"]
OPENAPI_PATH: Final = "/v1/openapi.json"
DOCS_PATH: Final = "/docs"
# What operators send is small.
_OPERATORS_BODIES: Final = BodyLimits(body=64 * 1024, memory=16 * 1024 * 1024, timeout=10.0)
_PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def create_api(services: ApiServices) -> Guard:
    """Return the API as an ASGI application."""
    app = _application()
    reader = JsonReader()
    sending, reading, acting = Sending(services, reader), Reading(services), Acting(services, reader)
    endpoints: dict[str, Endpoint] = {
        "sendMessage": sending.post,
        "listMessages": reading.messages,
        "getMessage": reading.message,
        "rescheduleMessage": acting.reschedule,
        "listMessageEvents": reading.events,
        "getMessageContent": reading.content,
        "cancelMessage": acting.cancel,
        "retryMessage": acting.retry,
        "resolveMessage": acting.resolve,
    }
    for operation in OPERATIONS:
        methods = _READ if operation.method == "GET" else [operation.method]
        app.add_api_route(operation.path, endpoints[operation.id], methods=methods, name=operation.id)
    if services.with_docs:
        _describe(app, services.version)
    health = Health(services.state, services.store.probe, services.alive, services.clock)
    app.router.routes += health_routes(health)
    gate = Gate(
        keys=services.keys,
        state=services.state,
        clock=services.clock,
        limits=services.limits,
        memory=Memory(services.limits.memory),
        metrics=services.metrics,
        log=services.log,
        networks=services.networks,
        trusted=services.trusted_proxies,
        is_open=frozenset({OPENAPI_PATH}) if services.with_docs else frozenset(),
        limits_of=limits_told_by(services.intake),
    )
    return Guard(app, gate, shortcuts={("POST", ROUTE): endpoints["sendMessage"]})


def create_inside(services: ManagementServices, who: str) -> Inside:
    """Return the operators' routes for a caller inside this process, who needs no key."""
    return Inside(_operators(services), who)


def create_management(services: ManagementServices) -> Guard:
    """Return what the management listener serves: health, metrics, and the operators' routes for their keys."""
    app = _operators(services)
    health = Health(services.state, services.probe, services.alive, services.clock)
    app.router.routes += health_routes(health, verbose=True)
    app.router.routes.append(metrics_route(services.metrics.registry, services.refresh))
    gate = Gate(
        keys=services.keys,
        state=services.state,
        clock=services.clock,
        limits=_OPERATORS_BODIES,
        memory=Memory(_OPERATORS_BODIES.memory),
        metrics=services.metrics,
        log=services.log,
        trusted=services.trusted_proxies,
        for_admin=True,
        closes=False,
    )
    return Guard(app, gate)


def _operators(services: ManagementServices) -> FastAPI:
    """Return the operators' routes, unguarded."""
    app = _application()
    mailboxes = Mailboxes(services.operators)
    app.add_api_route("/v1/mailboxes", mailboxes.list, methods=_READ)
    app.add_api_route("/v1/mailboxes/{name:path}", mailboxes.get, methods=_READ)
    app.add_api_route("/v1/mailboxes/{name:path}/park", mailboxes.park, methods=["POST"])
    app.add_api_route("/v1/mailboxes/{name:path}/resume", mailboxes.resume, methods=["POST"])
    senders = SenderRoutes(services.senders)
    app.add_api_route("/v1/senders", senders.list, methods=_READ)
    app.add_api_route("/v1/senders/release", senders.release, methods=["POST"])
    if services.examine is not None:
        doctoring = Doctoring(services.examine)
        app.add_api_route("/v1/mailboxes/{name:path}/doctor", doctoring.post, methods=["POST"])
    first_aid = FirstAidRoutes(services.first_aid, services.forecast, services.clock)
    app.add_api_route("/v1/tenants", first_aid.tenants, methods=_READ)
    app.add_api_route("/v1/tenants/{name}/pause", first_aid.pause, methods=["POST"])
    app.add_api_route("/v1/tenants/{name}/resume", first_aid.resume, methods=["POST"])
    app.add_api_route("/v1/queue", first_aid.queue, methods=_READ)
    app.add_api_route("/v1/queue/cancel", first_aid.cancel, methods=["POST"])
    app.add_api_route("/v1/queue/hold", first_aid.hold, methods=["POST"])
    app.add_api_route("/v1/queue/release", first_aid.release, methods=["POST"])
    app.add_api_route("/v1/audit", first_aid.audit, methods=_READ)
    return app


def _application() -> FastAPI:
    """Return an application that describes nothing by itself, redirects nobody, and tells every error as a problem."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    handlers.install(app)
    return app


def _describe(app: FastAPI, version: str) -> None:
    described = document(version)
    octets, page = encode(described), docs_page(described)

    async def openapi() -> Response:
        return Response(octets, media_type="application/json")

    async def docs() -> Response:
        return HTMLResponse(page, headers=_PAGE_HEADERS)

    app.add_api_route(OPENAPI_PATH, openapi, methods=_READ)
    app.add_api_route(DOCS_PATH, docs, methods=_READ)
