"""Content is composed where it holds nobody up, and what cannot be written is a refusal with its place."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from app.intake import content
from app.intake.outcome import Refused
from app.mail.address import parse_named
from app.mail.draft import Attachment, Draft

SENDER, GUEST = parse_named("billing@contoso.test"), parse_named("ada@customer.test")


def draft(**changes: Any) -> Draft:
    return Draft(sender=SENDER, to=(GUEST,), **changes)


@pytest.mark.parametrize(("octets", "apart"), [(100, False), (content.APART_FROM, True)])
async def test_only_a_large_html_is_left_to_a_thread(monkeypatch: pytest.MonkeyPatch, octets: int, apart: bool) -> None:
    threads: list[threading.Thread] = []
    compose = content.compose
    monkeypatch.setattr(
        content,
        "compose",
        lambda *given, **named: (threads.append(threading.current_thread()), compose(*given, **named))[1],
    )
    plan = await content.composed(draft(html="x" * octets), "<a@contoso.test>", "MSG_1")
    assert plan.size > octets
    assert [thread is not threading.main_thread() for thread in threads] == [apart]


async def test_what_cannot_be_written_is_refused_with_its_field() -> None:
    for html in ("a\0b", "a\0b" * content.APART_FROM):
        with pytest.raises(Refused) as caught:
            await content.composed(draft(html=html), "<a@contoso.test>", "MSG_1")
        assert (caught.value.code, caught.value.pointer) == ("validation-error", "/html")


async def test_base64_that_is_none_shows_when_the_content_is_read() -> None:
    plan = await content.composed(
        draft(text="", attachments=(Attachment("a", "text/plain", "QUJ!"),)), "<a@contoso.test>", "MSG_1"
    )
    with pytest.raises(Refused) as caught:
        list(content.checked(plan.chunks()))
    assert caught.value.pointer == "/attachments/0/content"
