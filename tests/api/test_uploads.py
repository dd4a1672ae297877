"""A message as form data: JSON first, files as they come, the same promises."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from app.intake.outcome import Refused
from app.mail.draft import Attachment
from tests.support.api_world import HELLO, World

BOUNDARY = "b0undary"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
INVITATION = "text/calendar; method=REQUEST"
PDF = b"%PDF-1.7\r\n" + bytes(range(256)) * 40


def part(
    name: str, octets: bytes, *, filename: str | None = None, media_type: str | None = None, more: str = ""
) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    head += f"\r\nContent-Type: {media_type}" if media_type else ""
    return f"{head}{more}\r\n\r\n".encode() + octets + b"\r\n"


def form(*parts: bytes, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> bytes:
    return b"".join(parts) + end


def message(**changes: Any) -> bytes:
    return part("message", json.dumps({**HELLO, **changes}).encode(), media_type="application/json")


async def post(world: World, body: bytes, content_type: str = TYPE, **headers: str) -> httpx.Response:
    async with world.client() as client:
        return await client.post("/v1/messages", content=body, headers={"content-type": content_type, **headers})


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ("name=file; filename=a.txt; filename*=utf-8''a.txt", "a.txt"),
        ("name=file; filename=\"=?utf-8?B?w6QudHh0?=\"; filename*=utf-8''%C3%A4.txt", "ä.txt"),
        ("name=\"file\"; filename*=UTF-8'en'%e2%82%ac%20rates.csv; filename=rates.csv", "€ rates.csv"),
        ("name=file; filename*=utf-8''%C3.txt; filename=plain.txt", "plain.txt"),
        ("name=file; filename*=iso-8859-1''%E4.txt; filename=plain.txt", "plain.txt"),
        ("name=file; filename*=; filename=plain.txt", "plain.txt"),
    ],
)
async def test_a_name_in_other_letters_is_read_as_dotnet_writes_it(
    world: World, disposition: str, filename: str
) -> None:
    """From ``filename*``, where that can be read; else ``filename`` stands."""
    file = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\nx\r\n".encode()
    response = await post(world, form(message(), file))
    assert response.status_code == 202, response.text
    assert [attachment.filename for attachment, _ in world.intake.files] == [filename]


@pytest.mark.parametrize("name", ["..%2Fa.txt", "a%00b", "a%0D%0Ab.txt", "C%3A%5Ca.txt"])
async def test_a_name_in_other_letters_is_judged_like_any_other(world: World, name: str) -> None:
    """No folder, no control character gets in by escapes."""
    file = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=f; filename=a; filename*=utf-8''{name}\r\n\r\nx\r\n"
    response = await post(world, form(message(), file.encode()))
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "filename")


async def test_files_become_attachments_in_the_order_they_came(world: World) -> None:
    """Under what the message says of them, else under their own name and type."""
    declared = [
        {"part": "logo", "content_id": "logo", "filename": "Logo.png"},
        {"filename": "inline.txt", "content": "QQ=="},
        {"part": "invoice", "content_type": "application/x-invoice"},
    ]
    body = form(
        message(attachments=declared),
        part("invoice", PDF, filename="8812.pdf", media_type="application/pdf"),
        part("extra", b"plain", filename="note.txt"),
        part("logo", b"\x89PNG", filename="x.bin", media_type="image/png"),
    )
    response = await post(world, body)
    assert response.status_code == 202, response.text
    assert response.headers["location"].endswith(response.json()["id"])
    assert [(attachment, bytes(octets)) for attachment, octets in world.intake.files] == [
        (Attachment("8812.pdf", "application/x-invoice", None, part="invoice"), PDF),
        (Attachment("note.txt", "text/plain", None, part="extra"), b"plain"),
        (Attachment("Logo.png", "image/png", None, part="logo", content_id="logo", is_inline=True), b"\x89PNG"),
    ]
    assert [each.filename for each in world.intake.drafts[0].attachments] == ["inline.txt"]
    assert world.intake.aborted == 0


async def test_httpx_and_curl_speak_so(world: World) -> None:
    """As a client library writes it: names outside ASCII are UTF-8 there."""
    async with world.client() as client:
        response = await client.post(
            "/v1/messages",
            files=[
                ("message", (None, json.dumps(HELLO), "application/json")),
                ("file", ("Rechnung Nº 5.pdf", PDF, "application/pdf")),
                ("file", ("b.pdf", PDF, "application/pdf")),
            ],
        )
    assert response.status_code == 202, response.text
    assert [attachment.filename for attachment, _ in world.intake.files] == ["Rechnung Nº 5.pdf", "b.pdf"]


async def test_a_key_covers_message_and_files(world: World) -> None:
    """A replay for the same, a refusal for another octet, name or type."""
    key = {"idempotency-key": "k1"}
    first = await post(world, form(message(), part("f", PDF, filename="a.pdf")), **key)
    again = await post(world, form(message(), part("f", PDF, filename="a.pdf")), **key)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    for other in (
        form(message(), part("f", PDF + b"x", filename="a.pdf")),
        form(message(), part("f", PDF, filename="b.pdf")),
        form(message(), part("g", PDF, filename="a.pdf")),
        form(message(), part("f", PDF, filename="a.pdf", media_type="text/plain")),
        form(message(), part("f", PDF, filename="a.pdf"), part("g", b"", filename="g")),
        form(message(subject="x"), part("f", PDF, filename="a.pdf")),
    ):
        assert (await post(world, other, **key)).json()["code"] == "idempotency-key-reused"
    assert await world.stored() == 1


MALFORMED = {
    "no boundary": (form(message()), "multipart/form-data"),
    "empty boundary": (form(message()), "multipart/form-data; boundary="),
    "long boundary": (form(message()), "multipart/form-data; boundary=" + "x" * 71),
    "another boundary": (form(message()), "multipart/form-data; boundary=other"),
    "nothing": (b"", TYPE),
    "no parts": (form(), TYPE),
    "no end": (form(message(), end=b""), TYPE),
    "cut off in a file": (form(message(), part("f", PDF, filename="a"))[:-200], TYPE),
    "a file first": (form(part("f", PDF, filename="a"), message()), TYPE),
    "no name": (form(b"--b0undary\r\nContent-Disposition: form-data\r\n\r\n{}\r\n"), TYPE),
    "no disposition": (form(b"--b0undary\r\nContent-Type: application/json\r\n\r\n{}\r\n"), TYPE),
    "another disposition": (form(b'--b0undary\r\nContent-Disposition: attachment; name="message"\r\n\r\n{}\r\n'), TYPE),
    "a header twice": (form(part("message", b"{}", more='\r\nContent-Disposition: form-data; name="x"')), TYPE),
    "too many headers": (form(part("message", b"{}", more="".join(f"\r\nX-{n}: y" for n in range(20)))), TYPE),
    "a long header": (form(part("message", b"{}", more="\r\nX: " + "y" * 10_000)), TYPE),
    "a header without colon": (form(part("message", b"{}", more="\r\nnonsense")), TYPE),
    "a header not in UTF-8": (form(b'--b0undary\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n{}\r\n'), TYPE),
    "base64": (form(message(), part("f", b"QQ==", filename="a", more="\r\nContent-Transfer-Encoding: base64")), TYPE),
}  # fmt: skip


@pytest.mark.parametrize(("body", "content_type"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_broken_form_is_400(world: World, body: bytes, content_type: str) -> None:
    """And nothing of it stays."""
    response = await post(world, body, content_type)
    assert (response.status_code, response.json()["code"]) == (400, "malformed-multipart")
    assert await world.stored() == 0


REFUSED = {
    "a field that is no file": ([message(), part("note", b"x")], "part", "note"),
    "a message part twice": ([message(), message()], "part", "message"),
    "a part that did not come": ([message(attachments=[{"part": "a"}])], "pointer", "#/attachments/0/part"),
    "one part for two": (
        [message(attachments=[{"part": "a"}, {"part": "a"}]), part("a", b"", filename="a")],
        "pointer",
        "#/attachments/1/part",
    ),
    "a declared part twice": (
        [message(attachments=[{"part": "a"}]), part("a", b"", filename="a"), part("a", b"", filename="a")],
        "part",
        "a",
    ),
    "the message itself as a part": ([message(attachments=[{"part": "message"}])], "pointer", "#/attachments/0/part"),
    "a folder in a name": ([message(), part("f", b"", filename="../../etc/passwd")], "part", "f"),
    "a bad type": ([message(), part("f", b"", filename="a", media_type="pdf")], "part", "f"),
    "too many": ([message(), *(part("f", b"", filename="a") for _ in range(51))], "part", "f"),
    "a bad message": ([message(bccc=1)], "pointer", "#/bccc"),
    "base64 that is none beside a part": (
        [message(attachments=[{"part": "a"}, {"content": "QUJ!"}]), part("a", b"", filename="a")],
        "pointer",
        "#/attachments/1/content",
    ),
    "a second invitation": (
        [
            message(attachments=[{"part": "b"}, {"part": "a", "content_type": INVITATION}]),
            part("b", b"", filename="b", media_type=INVITATION),
            part("a", b"", filename="a"),
        ],
        "pointer",
        "#/attachments/1/content_type",
    ),
    "a second invitation that nothing names": (
        [
            message(attachments=[{"content": "", "content_type": INVITATION}]),
            *2 * [part("x", b"", media_type=INVITATION, filename="x")],
        ],
        "part",
        "x",
    ),
}


@pytest.mark.parametrize(("parts", "where", "at"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_form_that_makes_no_sense_is_422(world: World, parts: list[bytes], where: str, at: str) -> None:
    """With the part or the field."""
    response = await post(world, form(*parts))
    assert (response.status_code, response.json()["code"]) == (422, "validation-error")
    assert response.json()["errors"][0][where] == at
    assert await world.stored() == 0
    assert world.intake.aborted == world.intake.begun


async def test_a_bad_message_part_is_told_as_json_is(world: World) -> None:
    """400 malformed-json."""
    response = await post(world, form(part("message", b'{"a": NaN}')))
    assert (response.status_code, response.json()["code"]) == (400, "malformed-json")


async def test_what_may_not_be_sent_is_refused_before_the_files_are_read(world: World) -> None:
    """403, though the files never came."""
    world.intake.trouble = Refused("sender-not-allowed", "no", "/from", missing="mailbox")
    async with world.served() as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        head = (
            form(message(), end=b"")
            + f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'.encode()
        )
        writer.write(
            f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.key.text}\r\n"
            f"Content-Type: {TYPE}\r\nContent-Length: 20000000\r\n\r\n".encode()
            + head
        )
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 403 ")
        writer.close()


async def test_who_goes_away_leaves_nothing(world: World) -> None:
    """The upload is dropped."""
    async with world.served() as (host, port):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(
            f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.key.text}\r\n"
            f"Content-Type: {TYPE}\r\nContent-Length: 20000000\r\n\r\n".encode()
            + form(message(), part("f", PDF, filename="a"), end=b"")
        )
        await writer.drain()
        while not world.intake.files:
            await asyncio.sleep(0.005)
        writer.close()
        while not world.intake.aborted:
            await asyncio.sleep(0.005)
        while not world.lines:
            await asyncio.sleep(0.005)
    assert world.lines[-1]["status"] == 499
    assert await world.stored() == 0
    assert world.app._gate.memory.held == 0


async def test_a_form_in_single_octets_is_read_the_same(world: World) -> None:
    """Wherever the network cuts."""
    body = form(message(attachments=[{"part": "f"}]), part("f", b"\r\n--b0undar\r\n--", filename="a.bin"))

    async def drops() -> Any:
        for octet in body:
            yield bytes([octet])

    async with world.client() as client:
        response = await client.post("/v1/messages", content=drops(), headers={"content-type": TYPE})
    assert response.status_code == 202
    assert bytes(world.intake.files[0][1]) == b"\r\n--b0undar\r\n--"
