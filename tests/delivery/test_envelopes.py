"""An address that stands twice in an envelope is named once, and its reply told to both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.delivery.envelopes import submit_once
from app.mail.reply import Phase, Reply
from app.mail.transaction import Content, Envelope, Fate, HandOver, Replies


class Nothing:
    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""


async def never() -> bool:
    return False


class Server:
    """Says of each recipient its own address; ``cut``: says nothing at all."""

    def __init__(self, *, cut: bool = False) -> None:
        self.cut = cut
        self.named: tuple[str, ...] = ()

    async def submit(self, envelope: Envelope, content: Content, hand_over: HandOver) -> Replies:
        self.named = envelope.recipients
        said = tuple(Reply(250, None, wire, Phase.RCPT) for wire in envelope.recipients)
        return Replies(Fate.NOT_TAKEN if self.cut else Fate.ANSWERED, None, () if self.cut else said, None, None)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (("a", "b"), ("a", "b")),
        (("a", "a", "a"), ("a",)),
        (("b", "a", "b", "c"), ("b", "a", "c")),
    ],
)
async def test_each_address_is_named_once_and_its_reply_is_everyones(
    asked: tuple[str, ...], named: tuple[str, ...]
) -> None:
    server = Server()
    replies = await submit_once(server, Envelope("me", asked, 1), Nothing(), never)
    assert server.named == named
    assert [reply.text for reply in replies.recipients if reply] == list(asked)


async def test_no_reply_is_made_up_where_none_came() -> None:
    replies = await submit_once(Server(cut=True), Envelope("me", ("a", "a"), 1), Nothing(), never)
    assert replies.recipients == ()
