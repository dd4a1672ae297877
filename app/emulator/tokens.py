"""Issues access tokens the way Entra does, and says whether a token admits to a mailbox.

Stateless where it can be: a token carries its claims and a keyed digest of them, so any number may be out at once. The
credentials of apps are registered in advance; a refresh token is replaced at each use, and the old one stays good, as
with Entra, unless the app says otherwise.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from app.emulator.accounts import canonical, matches
from app.emulator.assertion import check_assertion, load_certificate
from app.emulator.entra import EntraRefusal, TokenFaultBook
from app.kit.clock import Clock

DEFAULT_CLIENT_ID = "00000000-0000-4000-8000-00000000e111"
DEFAULT_CLIENT_SECRET = "emulator-secret"  # noqa: S105 - the documented app of a test server
DEFAULT_REFRESH_TOKEN = "emulator-refresh-token"  # noqa: S105
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_RESOURCES = (
    "https://outlook.office365.com",
    "https://outlook.office.com",
    "https://outlook.office365.us",
    "https://partner.outlook.cn",
)
_REFRESH_TOKENS_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A registered app. ``directory`` None: known in every directory.

    ``secrets``, ``certificates`` (PEM) and ``federated_tokens`` (accepted to the letter) are its credentials,
    ``refresh_tokens`` what a user's sign-in has left. ``mailboxes`` are the patterns its tokens admit to.
    ``life`` is a token's life in seconds; ``single_use``: a used refresh token is good no more.
    """

    client_id: str = DEFAULT_CLIENT_ID
    directory: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    certificates: tuple[str, ...] = ()
    federated_tokens: tuple[str, ...] = field(default=(), repr=False)
    refresh_tokens: tuple[str, ...] = field(default=(), repr=False)
    mailboxes: tuple[str, ...] = ("*",)
    life: float = 3599.0
    single_use: bool = False

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ValueError("an app needs a client_id")
        if not 1 <= self.life < float("inf"):
            raise ValueError("an app's tokens live for 1 second or longer")
        for pem in self.certificates:
            load_certificate(pem)


DEFAULT_APP = App(secrets=(DEFAULT_CLIENT_SECRET,), refresh_tokens=(DEFAULT_REFRESH_TOKEN,))


class Tokens:
    """The token endpoint's knowledge: apps, refresh tokens, faults on order."""

    def __init__(self, apps: Iterable[App], clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._apps: dict[str, App] = {}
        self._refresh: OrderedDict[str, str] = OrderedDict()
        self._used: OrderedDict[str, None] = OrderedDict()
        self.faults = TokenFaultBook()
        for app in apps:
            self.register(app)

    def register(self, app: App) -> None:
        """Add an app, in place of an earlier one with the same client_id."""
        self._apps[app.client_id] = app
        for token in app.refresh_tokens:
            self._remember(token, app.client_id)

    def grant(self, directory: str, form: Mapping[str, str], url: str, *, life: float | None = None) -> dict[str, Any]:
        """Answer a token request made at ``url``; ``life`` overrides the app's. Raises ``EntraRefusal``."""
        app = self._app(directory, form)
        grant_type = form.get("grant_type")
        if grant_type not in ("client_credentials", "refresh_token"):
            raise EntraRefusal(70003 if grant_type else 900144)
        if not form.get("scope"):
            raise EntraRefusal(900144)
        audience = _audience_of(form["scope"], is_app=grant_type == "client_credentials")
        # A public client renews a user's sign-in without a credential of its own (RFC 6749 §6).
        self._check_credential(app, form, url, is_needed=grant_type == "client_credentials")
        seconds = int(life if life is not None else app.life)
        answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds}
        if grant_type == "refresh_token":
            answer["refresh_token"] = self._rotate(app, form.get("refresh_token", ""))
            answer["scope"] = form["scope"]
        return answer | {"access_token": self._issue(app, directory, audience, seconds, form)}

    def admits(self, token: str, user: str) -> bool:
        """Whether a token signs in as the mailbox ``user``: ours, for Exchange, alive, and within the app's reach."""
        claims = self._claims(token)
        if claims is None or claims["aud"] not in _RESOURCES:
            return False
        now = self._clock.now().timestamp()
        app = self._apps.get(claims["appid"])
        return (
            app is not None
            and claims["nbf"] <= now < claims["exp"]
            and any(matches(canonical(pattern), canonical(user)) for pattern in app.mailboxes)
        )

    def revoke(self) -> None:
        """Make every access token that is out worthless."""
        self._key = secrets.token_bytes(32)

    def _app(self, directory: str, form: Mapping[str, str]) -> App:
        client_id = form.get("client_id")
        if not client_id:
            raise EntraRefusal(900144)
        app = self._apps.get(client_id)
        if app is None or (app.directory is not None and app.directory.lower() != directory.lower()):
            raise EntraRefusal(700016)
        return app

    def _check_credential(self, app: App, form: Mapping[str, str], url: str, *, is_needed: bool) -> None:
        secret, assertion = form.get("client_secret"), form.get("client_assertion")
        if assertion is not None:
            if form.get("client_assertion_type") != JWT_BEARER:
                raise EntraRefusal(900144)
            if not any(hmac.compare_digest(assertion.encode(), known.encode()) for known in app.federated_tokens):
                now = self._clock.now()
                check_assertion(assertion, app.certificates, client_id=app.client_id, audience=url, now=now)
        elif secret is not None:
            if not any(hmac.compare_digest(secret.encode(), known.encode()) for known in app.secrets):
                raise EntraRefusal(7000215)
        elif is_needed:
            raise EntraRefusal(7000218)

    def _rotate(self, app: App, token: str) -> str:
        if not token:
            raise EntraRefusal(900144)
        if self._refresh.get(token) != app.client_id or (app.single_use and token in self._used):
            raise EntraRefusal(70000)
        self._used[token] = None
        fresh = f"1.{secrets.token_urlsafe(48)}"
        self._remember(fresh, app.client_id)
        return fresh

    def _remember(self, token: str, client_id: str) -> None:
        self._refresh[token] = client_id
        while len(self._refresh) > _REFRESH_TOKENS_KEPT:
            forgotten, _ = self._refresh.popitem(last=False)
            self._used.pop(forgotten, None)

    def _issue(self, app: App, directory: str, audience: str, life: int, form: Mapping[str, str]) -> str:
        now = int(self._clock.now().timestamp())
        is_app = form["grant_type"] == "client_credentials"
        rights = {"idtyp": "app", "roles": ["SMTP.SendAsApp"]} if is_app else {"idtyp": "user", "scp": "SMTP.Send"}
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{directory}/",
            "iat": now,
            "nbf": now,
            "exp": now + life,
            "appid": app.client_id,
            "tid": directory,
            "uti": str(uuid4()),
            **rights,
        }
        head = _segment({"typ": "JWT", "alg": "HS256"})
        signed = f"{head}.{_segment(claims)}"
        return f"{signed}.{self._digest(signed)}"

    def _claims(self, token: str) -> dict[str, Any] | None:
        signed, _, digest = token.rpartition(".")
        if not hmac.compare_digest(digest.encode(), self._digest(signed).encode()):
            return None
        claims: dict[str, Any] = json.loads(_unsegment(signed.partition(".")[2]))
        return claims

    def _digest(self, signed: str) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self._key, signed.encode(), "sha256")).rstrip(b"=").decode()


def _audience_of(scope: str, *, is_app: bool) -> str:
    """Return the resource that the scopes name; raises ``EntraRefusal``."""
    names = [name for name in scope.split() if name not in ("offline_access", "openid", "profile", "email")]
    resources = {name.rpartition("/")[0].rstrip("/") for name in names}
    if not names or "" in resources:
        raise EntraRefusal(70011)
    if len(resources) > 1:
        raise EntraRefusal(700022)
    if is_app and not names[0].endswith("/.default"):
        raise EntraRefusal(1002012)
    return resources.pop()


def _segment(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _unsegment(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
