"""A directory on loopback: issues access tokens to an app that knows its secret, and says whose a token is.

``POST /{directory}/oauth2/v2.0/token`` is the endpoint of the client credentials grant (RFC 6749 §4.4), ``POST
/introspect`` that of RFC 7662, which Dovecot asks. Tokens can be revoked: they are then of nobody.
"""

from __future__ import annotations

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tests.interop.daemon import HOST, SENDER

CLIENT_ID = "0a1b2c3d-app"
CLIENT_SECRET = "the~client~secret~8Q"


class Directory:
    """See the module's promise. ``issued`` and ``asked_about`` keep the tokens in order."""

    def __init__(self) -> None:
        self.issued: list[str] = []
        self.asked_about: list[str] = []
        self.refuses_all = False
        self._revoked: set[str] = set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                octets = self.rfile.read(int(self.headers["Content-Length"]))
                form = {name: values[0] for name, values in parse_qs(octets.decode()).items()}
                status, document = owner._introspect(form) if self.path == "/introspect" else owner._issue(form)
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing on stderr."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Directory:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def revoke(self) -> None:
        """Let every token issued so far be of nobody."""
        self._revoked.update(self.issued)

    def _issue(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        right = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        if not right.items() <= form.items():
            return 401, {
                "error": "invalid_client",
                "error_description": "AADSTS7000215: Invalid client secret provided.",
            }
        # As long as those of Entra.
        self.issued.append(secrets.token_urlsafe(1400))
        return 200, {"token_type": "Bearer", "expires_in": 3599, "access_token": self.issued[-1]}

    def _introspect(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        token = form["token"]
        self.asked_about.append(token)
        if self.refuses_all or token not in self.issued or token in self._revoked:
            return 200, {"active": False}
        return 200, {"active": True, "username": SENDER, "scope": "SMTP.SendAsApp"}
