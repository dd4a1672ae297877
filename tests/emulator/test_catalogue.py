"""Magic recipients and logins: every row is met by name, and the page for users names every row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.emulator import CATALOGUE, Action, Emulator, Limits, Phase, wording
from app.emulator.content import read_header, readable, unstuff
from tests.emulator.talk import Talk

PAGE = Path(__file__).parents[2] / "docs" / "emulator.md"
_POSITION = {Phase.MAIL: 1, Phase.RCPT: 2, Phase.DATA: 3, Phase.DOT: 4}
_UNTHROTTLED = Limits(throttle_after=0)


def rows(*phases: Phase) -> list[str]:
    return [name for name, row in CATALOGUE.items() if row.phase in phases and row.reply and row.action is None]


@pytest.mark.parametrize("name", rows(Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT))
async def test_a_magic_recipient_meets_its_reply(name):
    async with Emulator(limits=_UNTHROTTLED) as emu, Talk(emu) as talk:
        await talk.sign_in()
        expected = wording(name).partition("{trail}")[0]
        position = _POSITION[CATALOGUE[name].phase]
        commands = f"RSET\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<{name.upper()}@emulator.postroom>\r\nDATA\r\n"
        await talk.send(commands.encode())
        replies = []
        for _ in range(min(position, 3) + 1):
            replies.append(await talk.reply())
        if position == 4:
            await talk.send(b"From: a@b.test\r\n\r\n.\r\n")
            replies.append(await talk.reply())
        assert replies[position].startswith(expected)
        if expected.startswith("421") or name == "input-timeout":
            assert await talk.rest() == b""


@pytest.mark.parametrize("name", rows(Phase.AUTH))
async def test_a_magic_login_meets_its_reply(name):
    async with Emulator() as emu, Talk(emu) as talk:
        reply = await talk.sign_in(f"{name}@emulator.postroom", "anything")
        assert reply.startswith(wording(name).partition("{trail}")[0])
        assert ("[EM0P282CA0001.emulator.postroom " in reply) is reply.startswith("535")


def test_replies_are_spoken_within_what_clients_read():
    assert all(len(row.reply) < 8000 for row in CATALOGUE.values() if row.reply)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_page_for_users_names_every_row(name):
    row = CATALOGUE[name]
    line = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` "))
    assert f"| {row.phase} " in line
    if row.reply:
        assert row.reply.replace(" {trail}", "")[:24] in line


@pytest.mark.parametrize("word", [*Action, *Phase])
def test_the_page_for_users_names_every_action_and_every_phase(word):
    assert re.search(rf"[` ]{word}[` ]", PAGE.read_text(encoding="utf-8"))


def test_content_is_read_leniently():
    header = read_header(
        "From: Ä <ä@münchen.test>\r\nSubject: a\r\n b\r\nmessage-id: <x>\r\n\r\nFrom: no@b.test".encode()
    )
    assert header.senders == ("ä@münchen.test",)
    assert (header.subject, header.message_id, header.has_sender_field) == ("a b", "<x>", False)
    assert read_header(b"").senders == ()
    assert readable("=?nonsense?q?x?=") == "=?nonsense?q?x?="
    assert unstuff(b"..a\r\n...\r\nb..\r\n.\r\n") == b".a\r\n..\r\nb..\r\n\r\n"
