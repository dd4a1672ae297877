"""Names each address of an envelope once on the wire.

Recipients of a redirected message share one address. Naming it again and again would make as many copies, or refusals,
as the server likes; named once, its reply is that of everyone who is reached there.
"""

from __future__ import annotations

from dataclasses import replace

from app.delivery.transport import Session
from app.mail.transaction import Content, Envelope, HandOver, Replies


async def submit_once(session: Session, envelope: Envelope, content: Content, hand_over: HandOver) -> Replies:
    """Make a transaction as ``Session.submit`` does; the replies run parallel to the envelope's recipients."""
    places = {wire: place for place, wire in enumerate(dict.fromkeys(envelope.recipients))}
    if len(places) == len(envelope.recipients):
        return await session.submit(envelope, content, hand_over)
    replies = await session.submit(replace(envelope, recipients=tuple(places)), content, hand_over)
    told = [replies.recipients[places[wire]] for wire in envelope.recipients] if replies.recipients else ()
    return replace(replies, recipients=tuple(told))
