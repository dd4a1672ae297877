"""Rows of the fault table: the final dot and its answer, and what a server does not offer."""

from __future__ import annotations

from tests.engine.rows_before_the_dot import TWO
from tests.engine.stage import ADA
from tests.engine.stories import (
    INVALID,
    LARGE,
    NO_SUCH,
    QUOTA,
    TWICE,
    Story,
    cut,
    deferred,
    fault,
    rejected,
    sent,
    unknown,
)


def lost(name: str, what: dict, trouble: str, *, taken: bool, stall: float = 0.0, octets: int = 0) -> Story:
    """No complete reply to the dot: unknown; by ``resend`` tried once more, with the same Message-ID and Date."""
    return Story(
        f"{name}: unknown, and tried once more with the same octets",
        (what,),
        stall=stall,
        octets=octets,
        rows=(unknown(trouble), sent()),
        events=TWICE,
        copies=(("ada",),) * (1 + taken),
        dots=2,
        sessions=2,
    )


AT_THE_DOT = (
    Story(
        "451 to the dot: tried again by the schedule",
        (fault("dot", reply="451 4.7.500 Server busy"),),
        rows=(deferred("451 4.7.500", marked=True), sent()),
        events=TWICE,
        dots=2,
    ),
    Story(
        "432 to the dot: tried again with one session less",
        (fault("dot", reply="432 4.3.2 Concurrent connections limit exceeded."),),
        rows=(deferred("432 4.3.2", marked=True), sent()),
        events=TWICE,
        dots=2,
    ),
    Story(
        "552 to the dot: rejected",
        (fault("dot", reply="552 5.3.4 Header size exceeds fixed maximum size"),),
        results={"ada": "rejected 552 5.3.4"},
        rows=(rejected("552 5.3.4", marked=True),),
        events=("accepted", "attempted", "rejected"),
        copies=(),
    ),
    Story(
        "The day's quota is full: kept, and sent when it has room",
        (fault("dot", reply=QUOTA),),
        rows=(deferred("554 5.2.0", marked=True), sent()),
        events=TWICE,
        dots=2,
        sessions=2,
    ),
    Story(
        "421 to the dot: refused in full and for sure, so never unknown; not counted, and sent at once",
        (fault("dot", reply="421 4.3.2 Service not active"),),
        rows=(cut(None, marked=True, reply="421 4.3.2"), sent()),
        dots=2,
        sessions=2,
    ),
    lost("RST at the dot", fault("dot", action="drop"), "lost", taken=False),
    lost("FIN at the dot", fault("dot", action="close"), "closed the connection", taken=False),
    lost("TLS is truncated at the dot", fault("dot", action="truncate-tls"), "closed the connection", taken=False),
    lost(
        "No answer to the dot for 10 minutes",
        fault("dot", action="stall"),
        "no reply for 600 s",
        taken=False,
        stall=600.0,
    ),
    lost("RST after the message was taken", fault("dot", action="drop-after-dot"), "lost", taken=True),
    lost("Half an answer to the dot", fault("dot", action="half-reply"), "closed the connection", taken=True),
    lost(
        "An answer to the dot of more than 8 KiB", fault("dot", action="overlong-reply"), "the server sent", taken=True
    ),
    lost("An answer to the dot that ends in LF", fault("dot", action="bare-lf"), "the server sent", taken=True),
    lost("An answer to the dot without a code", fault("dot", action="no-code"), "the server sent", taken=True),
    lost("354 in answer to the dot", fault("dot", reply="354 Go on"), "no verdict", taken=False),
    lost(
        "The answer to the dot comes after we have given up",
        fault("dot", action="late-reply", seconds=900.0),
        "no reply for 600 s",
        taken=True,
        stall=600.0,
    ),
    lost("RST at the dot of a large content", fault("dot", action="drop"), "lost", taken=False, octets=LARGE),
    Story(
        "Two answers to the dot: the first is the verdict, the session is not used again",
        (fault("dot", action="out-of-turn"),),
        sessions=2,
    ),
    Story(
        "A second unknown ends it: unknown, never a third try",
        (fault("dot", action="drop-after-dot", times=None),),
        results={"ada": "unknown"},
        rows=(unknown("lost"), unknown("lost")),
        events=("accepted", "attempted", "deferred", "attempted", "unknown"),
        copies=(("ada",),) * 2,
        dots=2,
        sessions=3,
    ),
    Story(
        "Under hold an unknown waits for a person, and is not tried again",
        (fault("dot", action="drop-after-dot"),),
        policy="hold",
        work="held",
        results={"ada": "unknown"},
        rows=(unknown("lost"),),
        events=("accepted", "attempted", "unknown", "held"),
        sessions=2,
    ),
    Story(
        "Of two recipients the refused one stays refused when the dot is unanswered; only the other is tried again",
        (fault("rcpt", recipient=ADA, reply=NO_SUCH), fault("dot", action="drop")),
        **TWO,
        results={"ada": "rejected 550 5.4.1", "bob": "sent 250 2.0.0"},
        rows=(unknown("lost"), sent()),
        events=("accepted", "attempted", "rejected", "deferred", "attempted", "sent"),
        copies=(("bob",),),
        dots=2,
        sessions=2,
    ),
)

NOT_OFFERED = (
    Story("PIPELINING is not offered: one command at a time", (fault(action="no-pipelining", times=None),)),
    Story(
        "Without PIPELINING no DATA is said after every RCPT was refused",
        (fault(action="no-pipelining", times=None), fault("rcpt", reply=NO_SUCH)),
        results={"ada": "rejected 550 5.4.1"},
        rows=(rejected("550 5.4.1", marked=False),),
        events=("accepted", "attempted", "rejected"),
        copies=(),
        dots=0,
        unheard="DATA",
    ),
    Story(
        "Without PIPELINING no RCPT is said after MAIL was refused",
        (fault(action="no-pipelining", times=None), fault("mail", reply=INVALID)),
        results={"ada": "rejected 501 5.1.7"},
        rows=(rejected("501 5.1.7", marked=False),),
        events=("accepted", "attempted", "rejected"),
        copies=(),
        dots=0,
        unheard="RCPT",
    ),
    Story(
        "Without PIPELINING a cut at DATA is before the mark",
        (fault("data", action="drop"),),
        pipelining=False,
        rows=(cut("lost", marked=False), sent()),
        sessions=2,
    ),
    Story("SIZE is not offered: it is not said", (fault(action="no-size", times=None),), unheard="SIZE="),
    Story(
        "8BITMIME is not offered: our content is 7-bit and never says it",
        (fault(action="no-8bitmime", times=None),),
        unheard="BODY=",
    ),
    Story(
        "SMTPUTF8 is not offered: what needs it is rejected in our words, and never half said",
        (fault(action="no-smtputf8", times=None),),
        smtputf8=True,
        to=("é@customer.test",),
        results={"é": "rejected 553 5.6.7"},
        rows=(rejected("553 5.6.7", marked=False),),
        events=("accepted", "attempted", "rejected"),
        copies=(),
        dots=0,
        unheard="MAIL",
    ),
)
