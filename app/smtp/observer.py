"""What the wire tells whoever watches it, for figures and logs; the wire itself keeps neither."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Is told what happens, synchronously; must not raise. Nothing secret is among it."""

    def connected(self, seconds: float, greeting: str) -> None:
        """TLS stands; ``greeting`` is the server's banner, by which support finds the session."""
        ...

    def signed_in(self, seconds: float) -> None:
        """The server took our credential."""
        ...

    def connect_failed(self, reason: str) -> None:
        """No session: a word of ``ConnectTrouble.reason``, or ``sign-in`` where the credential was refused."""
        ...

    def transaction(self, envelope: float, content: float) -> None:
        """One transaction came to the reply to its dot: seconds until 354, and from there to that reply."""
        ...

    def closed(self, reason: str) -> None:
        """A session ended.

        ``reason``: ``idle age token surplus shutdown`` (we left with QUIT), ``lost closing`` (the server closed it, or
        said 421), ``timeout malformed out-of-turn confused withheld canceled aborted internal`` (we cut it).
        """
        ...


class Silent:
    """Listens to nothing."""

    def connected(self, seconds: float, greeting: str) -> None:
        """Ignore."""

    def signed_in(self, seconds: float) -> None:
        """Ignore."""

    def connect_failed(self, reason: str) -> None:
        """Ignore."""

    def transaction(self, envelope: float, content: float) -> None:
        """Ignore."""

    def closed(self, reason: str) -> None:
        """Ignore."""


silent: Observer = Silent()
