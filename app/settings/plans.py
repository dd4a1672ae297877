"""A mailbox as the builder needs it: connection, credential and limits resolved. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from app.mail.address import AddressPattern
from app.mail.message import Priority
from app.mail.senders import Cover, Limits
from app.settings.connections import Connection, PasswordAuth
from app.settings.mailboxes import Mailbox
from app.signin.methods import SignIn


@dataclass(frozen=True, slots=True)
class MailboxPlan:
    """A mailbox with everything it takes from its connection.

    Exactly one of ``password`` and ``sign_in`` is set. ``username`` is None where each From address of a domain signs
    in as itself. ``method`` is the sign-in method's word.
    """

    name: str
    address: AddressPattern
    send_as: tuple[AddressPattern, ...]
    connection_name: str
    connection: Connection
    method: str
    username: str | None
    password: SecretStr | None
    sign_in: SignIn | None
    limits: Limits
    soft_stop: dict[Priority, float]

    @property
    def cover(self) -> Cover:
        """What the mailbox may be used for."""
        return Cover(self.name, self.address, self.send_as, self.limits)


def plan_mailbox(name: str, mailbox: Mailbox, connection: Connection) -> MailboxPlan:
    """Return the plan of a mailbox; it and its connection have passed every check."""
    auth = connection.auth
    shared = auth if isinstance(auth, PasswordAuth) else None
    stated = mailbox.username or (shared.username if shared else None)
    return MailboxPlan(
        name=name,
        address=mailbox.address,
        send_as=mailbox.send_as,
        connection_name=mailbox.connection,
        connection=connection,
        method=auth.method,
        username=stated or (None if mailbox.address.is_wildcard else str(mailbox.address)),
        password=(mailbox.password or shared.password) if shared else None,
        sign_in=None if isinstance(auth, PasswordAuth) else auth.sign_in(),
        limits=mailbox.limits.over(connection.profile_limits),
        soft_stop=mailbox.soft_stop.by_priority,
    )
