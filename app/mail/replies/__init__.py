"""The catalogue: every reply of Exchange that is known, one readable row each; the first that fits counts.

The rows of an operator's configuration come first (``operator_rows``), then session, sign-in, envelope and content,
special before general, and last the defaults of each class. ``docs/replies.md`` is made from it.
"""

from __future__ import annotations

from typing import Final

from app.mail.replies import auth, content, envelope, session
from app.mail.rule import Row

CATALOGUE: Final[tuple[Row, ...]] = (
    *session.ROWS,
    *auth.ROWS,
    *envelope.ROWS,
    *content.ROWS,
    *session.DEFAULTS,
)
