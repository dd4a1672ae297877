"""What the writer knows without asking the file: counts, numbers of names, the last place, quota windows.

Everything here is derived from the file and belongs to the writer thread. After a rollback what was learnt or counted
inside the transaction is forgotten and read again; so it is never ahead of the disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import apsw

from app.mail.message import Work
from app.queue.asking import rows, value
from app.queue.codec import SECOND
from app.queue.rows import QuotaPolicy, QuotaState
from app.queue.windows import Windows

# How many messages are in each work state.
COUNT_WORK: Final = "SELECT work, count(*) FROM messages GROUP BY work"

# A tenant's number.
FIND_TENANT: Final = "SELECT id FROM tenants WHERE name = ?"

# Give a tenant a number.
ADD_TENANT: Final = "INSERT INTO tenants (name) VALUES (?) RETURNING id"

# A pair's number.
FIND_PAIR: Final = "SELECT id FROM pairs WHERE tenant = ? AND sender_key = ?"

# Give a pair a number.
ADD_PAIR: Final = "INSERT INTO pairs (tenant, sender_key) VALUES (?, ?) RETURNING id"

# The last place of all.
LAST_SEQ: Final = "SELECT max(seq) FROM messages"

# The last place that is taken in the second that begins at an instant.
LAST_IN_SECOND: Final = "SELECT max(seq) FROM messages WHERE seq BETWEEN ?1 AND ?1 + 1000000"

# The lowest number given to staged content (they are negative).
LOWEST_BODY: Final = (
    "SELECT min(least) FROM (SELECT min(body) AS least FROM content UNION ALL SELECT min(body) FROM loose)"
)

# Senders by pattern (``*@contoso.com``) may be many; their numbers are cheap to ask for again.
_MOST_PAIRS: Final = 10_000


class Memory:
    """See the module's promise.

    ``work`` counts messages by work state, exactly; ``committed`` is that count as of the last commit.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.work: Counter[Work] = Counter({Work(work): count for work, count in rows(db, COUNT_WORK)})
        self.committed = dict(self.work)
        self._tenants: dict[str, int] = {}
        self._pairs: dict[tuple[int, str], int] = {}
        self._last_seq: int | None = None
        self._lowest_body: int | None = None
        self.windows = Windows(db)

    @property
    def waiting(self) -> int:
        """How many messages are not done."""
        return self.work.total() - self.work[Work.DONE]

    def moved(self, old: Work | None, new: Work | None) -> None:
        """Count a message that goes from one work state to another (None: it appears or is forgotten)."""
        if old is not None:
            self.work[old] -= 1
        if new is not None:
            self.work[new] += 1

    def commit(self) -> None:
        """The transaction is on disk."""
        self.committed = dict(self.work)

    def roll_back(self) -> None:
        """The transaction did not happen."""
        self.work = Counter(self.committed)
        self._tenants.clear()
        self._pairs.clear()
        self._last_seq = None
        self._lowest_body = None
        self.windows.clear()

    def tenant(self, name: str) -> int:
        """Return a tenant's number, a new one if need be."""
        number = self._tenants.get(name)
        if number is None:
            number = self._find(FIND_TENANT, ADD_TENANT, (name,))
            self._tenants[name] = number
        return number

    def quotas(self, name: str, policies: Sequence[QuotaPolicy], now: int) -> Sequence[QuotaState] | None:
        """Return what is left of a tenant's windows, for any thread; None where the rows must be asked."""
        number = self._tenants.get(name)
        return None if number is None else self.windows.glance(number, policies, now)

    def pair(self, tenant: int, sender_key: str) -> int:
        """Return the number of a pair, a new one if need be."""
        number = self._pairs.get((tenant, sender_key))
        if number is None:
            if len(self._pairs) >= _MOST_PAIRS:
                self._pairs.clear()
            number = self._find(FIND_PAIR, ADD_PAIR, (tenant, sender_key))
            self._pairs[tenant, sender_key] = number
        return number

    def _find(self, find: str, add: str, key: tuple[int | str, ...]) -> int:
        number: int | None = value(self._db, find, key)
        return value(self._db, add, key) if number is None else number

    def next_seq(self, created: int) -> int:
        """Return the place of a message created at an instant: that instant, or the next free one behind it.

        Places stay within a second of the instant as long as fewer than a million messages share it, so an instant is
        also a place to begin or end a listing at.
        """
        if self._last_seq is None:
            self._last_seq = value(self._db, LAST_SEQ) or 0
        if self._last_seq - created < SECOND:
            self._last_seq = max(created, self._last_seq + 1)
            return self._last_seq
        # Created well before others (the wall clock was set back): look where it falls.
        while (taken := value(self._db, LAST_IN_SECOND, (created,))) is not None:
            if taken < created + SECOND:
                return int(taken) + 1
            created = taken + 1
        return created

    def next_body(self) -> int:
        """Return a number for content that is staged: negative, so never a place of a message."""
        if self._lowest_body is None:
            self._lowest_body = value(self._db, LOWEST_BODY) or 0
        self._lowest_body = min(self._lowest_body, 0) - 1
        return self._lowest_body


def quotas_of(db: apsw.Connection, name: str, policies: Sequence[QuotaPolicy], now: int) -> Sequence[QuotaState]:
    """Return what is left of a tenant's windows, from the rows alone."""
    number = value(db, FIND_TENANT, (name,))
    if number is None:
        return [QuotaState(policy, policy.quota, 0) for policy in policies]
    return Windows(db).states(number, policies, now, 1)
