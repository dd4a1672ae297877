"""The log is one JSON object a line, without secrets, with addresses as the operator chose."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app.kit import log

KEY = b"k" * 32
SECRET = "pr_live_4Tn2kQ9xWb7d_" + "q0" * 21 + "a_1Zk3Pa"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_starts_with_time_level_and_event() -> None:
    """Then come the fields in the order given."""
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get_logger("web").info("request", status=202, route="/v1/messages")
    assert list(_lines(stream)[0]) == ["ts", "level", "event", "room", "status", "route"]


@pytest.mark.parametrize(
    ("how", "shown"),
    [("masked", "to a***@example.com#"), ("hash", "to address#"), ("full", "to Ada@example.com")],
)
def test_addresses_are_shown_as_the_operator_chose(how: log.Addresses, shown: str) -> None:
    """In the event's text, in fields and within structures."""
    stream = io.StringIO()
    log.configure(addresses=how, stream=stream, key=KEY)
    log.get_logger("x").info("to Ada@example.com", field="to Ada@example.com", deep={"list": ["to Ada@example.com"]})
    line = _lines(stream)[0]
    for text in (line["event"], line["field"], line["deep"]["list"][0]):
        assert text.lower().startswith(shown.lower())


def test_the_digest_is_the_same_for_one_address_however_it_is_written() -> None:
    """So that lines about one person can be found without naming anybody."""
    assert log.mask_address("ADA@Example.com", "hash", KEY) == log.mask_address("ada@example.com", "hash", KEY)
    assert log.mask_address("ada@example.com", "hash", KEY) != log.mask_address("ada@example.com", "hash", b"o" * 32)


@pytest.mark.parametrize(
    "text",
    [
        f"key {SECRET} was wrong",
        f"Authorization: Bearer {SECRET}",
        "Authorization: Basic dXNlcjpodW50ZXIy",
        "token eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJodHRwcz.c2lnbmF0dXJl refused",
        "sent AUTH PLAIN AGh1bnRlcjIAaHVudGVyMg==",
        "postgresql://postroom:hunter2@db/postroom",
    ],
)
def test_no_secret_leaves_through_a_text(text: str) -> None:
    """Neither as event, nor as field, nor in an exception."""
    stream = io.StringIO()
    log.configure(stream=stream)
    logger = log.get_logger("x")
    logger.info(text, field=text)
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")
    logging.getLogger("other").error(text)
    shown = stream.getvalue()
    for part in (SECRET, "hunter2", "aHVudGVyMg", "dXNlcjpodW50ZXIy", "eyJ0eXAiOiJKV1Qi"):
        assert part not in shown


def test_no_secret_leaves_through_a_field_of_that_name() -> None:
    """Whatever it holds."""
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get_logger("x").info(
        "e", password="pw", client_secret="longer than twelve", nested={"access_token": "t"}, key_id="k"
    )
    line = _lines(stream)[0]
    assert (line["password"], line["client_secret"], line["nested"]["access_token"]) == ("***", "***", "***")
    assert line["key_id"] == "k"


def test_a_line_break_cannot_forge_a_line() -> None:
    """JSON takes it out."""
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get_logger("x").info('a\n{"level": "info"}', lone="\ud800")
    assert len(stream.getvalue().splitlines()) == 1


def test_levels_below_the_threshold_are_silent_and_others_libraries_speak_json() -> None:
    """Information of libraries is not ours to tell; their warnings are."""
    stream = io.StringIO()
    log.configure(level="info", stream=stream)
    log.get_logger("x").debug("silent")
    logging.getLogger("uvicorn.error").info("silent")
    logging.getLogger("uvicorn.error").warning("said %s", "so")
    assert [line["event"] for line in _lines(stream)] == ["said so"]


def _flushes(stream: io.StringIO) -> list[int]:
    """Count how many lines each flush found written."""
    found: list[int] = []
    stream.flush = lambda: found.append(stream.getvalue().count("\n"))  # type: ignore[method-assign]
    return found


async def test_what_a_turn_of_the_loop_says_goes_out_together_when_it_ends() -> None:
    """In the order in which it was said, other libraries' words included."""
    stream = io.StringIO()
    flushes = _flushes(stream)
    log.configure(level="debug", stream=stream)
    for number in range(3):
        log.get_logger("x").info("said", number=number)
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    log.get_logger("x").info("said", number=3)
    await asyncio.sleep(0)
    assert [line["number"] for line in _lines(stream)] == [0, 1, 2, 3]
    assert flushes == [3, 4]


async def test_a_warning_writes_what_waits_and_itself_at_once() -> None:
    """Whoever reads what went wrong also reads what went before."""
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get_logger("x").info("before")
    log.get_logger("x").warning("trouble")
    assert [line["event"] for line in _lines(stream)] == ["before", "trouble"]


async def test_another_thread_writes_at_once_behind_what_waits() -> None:
    """It has no turn that would end."""
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get_logger("x").info("before")
    thread = threading.Thread(target=lambda: log.get_logger("x").info("thread"))
    thread.start()
    thread.join()
    assert [line["event"] for line in _lines(stream)] == ["before", "thread"]


def test_lines_of_many_threads_and_a_loop_are_all_written_whole() -> None:
    """None is lost between the one who says it and the one who writes."""
    stream = io.StringIO()
    log.configure(stream=stream)

    def speak(name: str) -> None:
        for number in range(200):
            log.get_logger(name).info("said", number=number)

    async def turns() -> None:
        for number in range(200):
            log.get_logger("loop").info("said", number=number)
            await asyncio.sleep(0)

    threads = [threading.Thread(target=speak, args=(f"t{no}",)) for no in range(3)]
    for thread in threads:
        thread.start()
    asyncio.run(turns())
    for thread in threads:
        thread.join()
    said = [(line["room"], line["number"]) for line in _lines(stream)]
    assert sorted(said) == sorted((name, number) for name in ("loop", "t0", "t1", "t2") for number in range(200))


_SPEAKER = """
import asyncio, os, sys
from app.kit import log
log.configure()
async def main():
    log.get_logger("x").info("last words")
    {end}
asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise ValueError", "asyncio.get_running_loop().stop()"])
def test_the_last_words_of_a_process_are_written_however_it_ends(end: str) -> None:
    """But for a kill."""
    done = subprocess.run([sys.executable, "-c", _SPEAKER.format(end=end)], capture_output=True, text=True, timeout=30)
    assert "last words" in done.stdout
    assert done.returncode != -signal.SIGKILL
    assert os.path.sep not in done.stdout
