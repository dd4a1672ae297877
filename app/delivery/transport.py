"""What delivery needs of the wire and of sign-in; ``main`` hands it pools and sources that keep this promise."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from app.mail.transaction import Content, Envelope, HandOver, Replies
from app.signin.expiry import Expiry


class Session(Protocol):
    """One authenticated session, lent for one transaction."""

    async def submit(self, envelope: Envelope, content: Content, hand_over: HandOver) -> Replies:
        """Make one transaction; never raises but on cancellation. The dot is written only after ``hand_over``."""
        ...


class Offers(Protocol):
    """What the next hop offered when a session was last opened."""

    @property
    def smtputf8(self) -> bool:
        """Whether it takes local parts outside ASCII (RFC 6531)."""
        ...


class Sessions(Protocol):
    """The sessions of one mailbox."""

    limit: int

    @property
    def features(self) -> Offers | None:
        """Return what the next hop offers; None before the first session."""
        ...

    @property
    def open(self) -> int:
        """Return how many sessions stand."""
        ...

    @property
    def opened(self) -> int:
        """Return how many sessions have been opened (signed in) so far."""
        ...

    @property
    def busy(self) -> int:
        """Return how many of them are lent."""
        ...

    def lend(self) -> AbstractAsyncContextManager[Session]:
        """Lend a warm session, or open one. Raises ``ConnectTrouble`` or ``SignInRefused``."""
        ...

    async def tend(self) -> None:
        """Close what has been idle too long or is too old."""
        ...

    async def close(self, timeout: float) -> None:
        """Say QUIT on each idle session and lend no more."""
        ...

    def abort(self) -> None:
        """Cut every session now."""
        ...


class SignInSource(Protocol):
    """What a mailbox signs in with, as far as delivery looks at it: never the secret itself."""

    @property
    def mark(self) -> bytes:
        """Return a digest that changes when the credential does, as last read; whoever stores it keys it first."""
        ...

    @property
    def expiries(self) -> tuple[Expiry, ...]:
        """Return when the credential ends, as last read."""
        ...

    async def inspect(self) -> object:
        """Read the credential anew; asks nobody for a token."""
        ...

    def reset(self) -> None:
        """Forget refusals and troubles: the next token may be asked for at once."""
        ...
