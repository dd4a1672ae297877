"""The mailboxes of one process: those that the configuration names, and those a wildcard signs in as, made on demand.

``address = "*@contoso.com"`` says that one app may sign in as each mailbox of a domain. Each From address then is a
mailbox of its own, ``NAME/address``, with its own sessions and its own ledger; the desk called ``NAME`` itself carries
nothing and stands for what they share: the app's token, and an operator's word. At most ``LIVE`` of them have sessions;
one that holds no session, owes no window and waits for nothing is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from app.delivery.desk import Desk
from app.mail.address import parse_address
from app.mail.senders import Cover

#: How many mailboxes of wildcards may have sessions at once.
LIVE = 200
#: How many are remembered before idle ones are forgotten.
_REMEMBERED = 2000

# Makes the desk of a wildcard's mailbox: the wildcard's own desk, the mailbox's name, its address.
Factory = Callable[[Desk, str, str], Desk]


class Desks(dict[str, Desk]):
    """See the module's promise; by name. ``factories`` by the wildcard's name, ``boot`` is ``Clock.boot``."""

    def __init__(
        self, named: Iterable[Desk], boot: Callable[[], float], factories: Mapping[str, Factory] | None = None
    ) -> None:
        super().__init__((desk.spec.name, desk) for desk in named)
        self._boot = boot
        self.factories: Mapping[str, Factory] = factories or {}
        self._tidy_at = _REMEMBERED

    def of_cover(self, cover: Cover, sender_key: str) -> Desk | None:
        """Return the mailbox by which a cover carries a From; None: it is not one of this process."""
        if not cover.address.is_wildcard or cover.name not in self.factories:
            return self.get(cover.name)
        known = self.get(f"{cover.name}/{sender_key}")
        return known if known is not None else self._made(cover.name, sender_key)

    def recall(self, name: str) -> Desk | None:
        """Return a mailbox by the name under which it was stored; a wildcard's is made anew."""
        known = self.get(name)
        wildcard, slash, sender_key = name.partition("/")
        if known is not None or not slash or wildcard not in self.factories:
            return known
        if sender_key.rpartition("@")[2] != self[wildcard].spec.address.rpartition("@")[2]:
            return None  # the wildcard has another domain now
        return self._made(wildcard, sender_key)

    def make_room(self, desk: Desk) -> bool:
        """Whether a wildcard's mailbox may open its first session now; else the one idle for longest makes way."""
        if desk.umbrella is None or desk.is_live():
            return True
        live = [each for each in self.values() if each.umbrella is not None and each.is_live()]
        if len(live) < LIVE:
            return True
        idle = [each for each in live if not each.workers]
        if idle:
            min(idle, key=lambda each: each.last_used).rest()
        return False

    def tidy(self) -> None:
        """Forget what need not be remembered, if that has become much; to be called while nobody holds an idle desk."""
        if len(self) < self._tidy_at:
            return
        for name in [name for name, desk in self.items() if desk.is_forgettable(self._boot())]:
            del self[name]
        self._tidy_at = max(_REMEMBERED, 2 * len(self))

    def _made(self, wildcard: str, sender_key: str) -> Desk:
        umbrella = self[wildcard]
        address = parse_address(sender_key)
        desk = self.factories[wildcard](umbrella, f"{wildcard}/{sender_key}", address.given)
        desk.external_full_until = umbrella.external_full_until
        self[desk.spec.name] = desk
        return desk
