"""Keeps the newest refresh token: plain as a person first put it there, encrypted from the first rotation on.

A crash at any moment leaves the token before or the token after, never none (``files.replace_durably``). A token that
could not be stored is kept in memory and stored at the next chance. A plain token that a person puts into the file
later takes precedence over everything stored before. One process owns a file. Reasons: docs/decisions/0020.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from app.signin.files import CredentialUnreadable, read_credential, replace_durably

_MARK = "postroom:1"
_NONCE = 12
_PLAIN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Kept:
    """A refresh token, when it was issued or last used, and the digest of the one a person once put in (its origin)."""

    token: SecretStr
    used_at: datetime
    origin: str


class RefreshTokenFile:
    """The file of one refresh token. Blocking; safe to call from several threads.

    ``owner`` are the authority, the directory and the client the token belongs to: a file moved to another app does
    not open.
    """

    def __init__(self, path: Path, key_file: Path | None, owner: tuple[str, str, str]) -> None:
        self._path = path
        self._key_file = key_file or path.with_name(f"{path.name}.key")
        self._owner = owner
        self._unsaved: Kept | None = None
        self._lock = Lock()

    @property
    def is_behind(self) -> bool:
        """Whether the file lacks the newest token, because storing it failed."""
        return self._unsaved is not None

    def newest(self) -> Kept:
        """Return the newest token; raises ``CredentialUnreadable``."""
        with self._lock:
            return self._newest()

    def keep(self, kept: Kept) -> None:
        """Store ``kept`` encrypted, in place of the one before; raises ``OSError`` or ``CredentialUnreadable``.

        Where it raises, the token stays in memory as the newest one. A token that a person has put in since stays.
        """
        with self._lock:
            self._keep(kept)

    def keep_again(self) -> None:
        """Store the newest token if that failed before; raises like ``keep``."""
        with self._lock:
            if self._unsaved is not None:
                self._keep(self._unsaved)

    def _newest(self) -> Kept:
        try:
            stored = self._read()
        except CredentialUnreadable:
            if self._unsaved is not None:
                return self._unsaved
            raise
        if self._unsaved is not None and self._unsaved.origin == stored.origin:
            return self._unsaved
        self._unsaved = None  # a person has put another token in
        return stored

    def _keep(self, kept: Kept) -> None:
        self._unsaved = kept
        if self._newest() is kept:  # else a person put another token in while this one was fetched
            replace_durably(self._path, self._seal(kept, self._key(create=True)))
            self._unsaved = None

    def _read(self) -> Kept:
        text = read_credential(self._path).decode("utf-8", "replace").strip()
        if text.startswith("postroom:"):
            return self._open(text)
        if not _PLAIN.fullmatch(text):
            raise CredentialUnreadable(self._path, "is not a refresh token on one line")
        try:
            put_in = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        except OSError as error:
            raise CredentialUnreadable(self._path, f"cannot be read: {error.strerror}") from None
        return Kept(SecretStr(text), put_in, hashlib.sha256(text.encode()).hexdigest())

    def _open(self, text: str) -> Kept:
        head, _, sealed = text.rpartition(":")
        key = self._key(create=False)
        if head != _head(key):
            raise CredentialUnreadable(self._path, f"was encrypted with another key than the one in {self._key_file}")
        try:
            blob = base64.urlsafe_b64decode(sealed)
            content = AESGCM(key).decrypt(blob[:_NONCE], blob[_NONCE:], self._bound_to(head))
            values = json.loads(content)
            return Kept(SecretStr(values["refresh_token"]), datetime.fromisoformat(values["used_at"]), values["origin"])
        except (InvalidTag, binascii.Error, ValueError, KeyError):
            fault = "cannot be decrypted: it was changed, or belongs to another directory or client"
            raise CredentialUnreadable(self._path, fault) from None

    def _seal(self, kept: Kept, key: bytes) -> bytes:
        values = {
            "refresh_token": kept.token.get_secret_value(),
            "used_at": kept.used_at.isoformat(),
            "origin": kept.origin,
        }
        nonce = os.urandom(_NONCE)
        head = _head(key)
        blob = nonce + AESGCM(key).encrypt(nonce, json.dumps(values).encode(), self._bound_to(head))
        return f"{head}:{base64.urlsafe_b64encode(blob).decode('ascii')}\n".encode()

    def _bound_to(self, head: str) -> bytes:
        """Return the additional data: form, key and owner are authenticated with the token."""
        return json.dumps([head, *self._owner]).encode()

    def _key(self, *, create: bool) -> bytes:
        if create and not self._key_file.exists():
            replace_durably(self._key_file, base64.b64encode(os.urandom(32)) + b"\n")
        try:
            key = base64.b64decode(read_credential(self._key_file).strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != 32:
            raise CredentialUnreadable(self._key_file, "is not a key: 32 octets in base64 on one line")
        return key


def _head(key: bytes) -> str:
    """Return the first part of the file's line: its form and which key opens it."""
    return f"{_MARK}:{hashlib.sha256(b'postroom key id' + key).hexdigest()[:16]}"
