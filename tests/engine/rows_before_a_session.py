"""Rows of the fault table: what keeps a session from standing. None is an attempt of a message."""

from __future__ import annotations

from tests.engine.stories import Story, fault


def knock(name: str, what: dict, reason: str, stall: float = 0.0, sessions: int = 2) -> Story:
    """A session could not be had: tried again by itself, no attempt of the message."""
    return Story(
        f"{name}: it is knocked again, and the message has one attempt",
        (what,),
        stall=stall,
        sessions=sessions,
        failures={reason: 1.0},
    )


BEFORE_A_SESSION = (
    knock("The banner is 421", fault("connect", reply="421 4.3.2 Service not active"), "greeting"),
    knock("The banner is 554", fault("connect", reply="554 5.3.2 No"), "greeting"),
    knock("FIN in place of the banner", fault("connect", action="close"), "closed"),
    knock("RST in place of the banner", fault("connect", action="drop"), "closed"),
    knock("No banner for 30 s", fault("connect", action="stall"), "timeout", stall=30.0),
    knock("Half a banner", fault("connect", action="half-reply"), "closed"),
    knock("A banner without a code", fault("connect", action="no-code"), "greeting"),
    knock("A banner of more than 8 KiB", fault("connect", action="overlong-reply"), "greeting"),
    knock("EHLO is answered 421", fault("ehlo", reply="421 4.3.2 Service not available"), "reply"),
    knock("EHLO is answered 550", fault("ehlo", reply="550 5.7.1 No"), "reply"),
    knock("RST in place of the answer to EHLO", fault("ehlo", action="drop"), "closed"),
    knock("No answer to EHLO for 30 s", fault("ehlo", action="stall"), "timeout", stall=30.0),
    knock("STARTTLS is answered 454", fault("starttls", reply="454 4.7.0 TLS not available"), "reply"),
    knock("STARTTLS is answered 421", fault("starttls", reply="421 4.3.2 Bye"), "reply"),
    knock("FIN in place of the answer to STARTTLS", fault("starttls", action="close"), "closed"),
    knock("No answer to STARTTLS for 30 s", fault("starttls", action="stall"), "timeout", stall=30.0),
    knock("FIN in the handshake", fault("tls", action="close"), "closed"),
    knock("RST in the handshake", fault("tls", action="drop"), "closed"),
    knock("A handshake that hangs for 30 s", fault("tls", action="stall"), "timeout", stall=30.0),
    knock("EHLO under TLS is answered 421", fault("ehlo", attempt=2, reply="421 4.3.2 Bye"), "reply"),
    knock("TLS is truncated at EHLO", fault("ehlo", attempt=2, action="truncate-tls"), "closed"),
    knock("AUTH is not offered under TLS", fault(action="no-auth", attempt=2, times=None), "reply"),
    knock(
        "A passing failure of the sign-in", fault("auth", reply="454 4.7.0 Temporary authentication failure"), "reply"
    ),
    knock("The sign-in is answered 421", fault("auth", reply="421 4.3.2 Service not active"), "reply"),
    knock("FIN in place of the answer to the sign-in", fault("auth", action="close"), "closed"),
    knock("TLS is truncated at the sign-in", fault("auth", action="truncate-tls"), "closed"),
    knock("RST in place of the answer to the sign-in", fault("auth", action="drop"), "closed"),
    knock("No answer to the sign-in for 5 minutes", fault("auth", action="stall"), "timeout", stall=300.0),
    knock("Half an answer to the sign-in", fault("auth", action="half-reply"), "closed"),
    knock("An answer to the sign-in without a code", fault("auth", action="no-code"), "reply"),
    knock("An answer to the sign-in of more than 8 KiB", fault("auth", action="overlong-reply"), "reply"),
    knock("An answer to the sign-in that ends in LF", fault("auth", action="bare-lf"), "reply"),
    knock("Two answers to the sign-in", fault("auth", action="out-of-turn"), "reply"),
)
