"""The wire: sessions and transactions with the next hop.

aiosmtplib opens a session (connect, EHLO, STARTTLS); from the sign-in on, the session is spoken by our own protocol on
its public transport, because a transaction needs pipelining, back-pressure, phases and a fence before the dot. ``Pool``
is the way in. Knows mail's contracts and the clock; no store, no delivery, no metrics library.
"""

from app.smtp.observer import Observer, Silent
from app.smtp.pool import Pool
from app.smtp.session import Session
from app.smtp.target import Features, Target, Timeouts, tls_context

__all__ = ["Features", "Observer", "Pool", "Session", "Silent", "Target", "Timeouts", "tls_context"]
