"""Shows Postroom at work on one machine: emulator, service, one real message, its journey; then keeps serving.

``demo.py`` exits 0 when the message was sent and 1 when it was not; ``demo.py --keep`` goes on serving until Ctrl-C.
Everything it writes is below ``.postroom/`` in the current folder, which git ignores. It speaks with the service as
any caller would, over HTTP, and knows nothing of its inside.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import httpx

POSTROOM = str(Path(sys.executable).with_name("postroom"))
USUAL_PORTS = {"api": 8080, "management": 8081, "smtp": 2525, "emulator": 8025}
PATIENCE_SECONDS = 60.0


class DemoFailedError(Exception):
    """The demonstration cannot go on; the text says why."""


def free_port(usual: int, taken: set[int]) -> int:
    """Return the usual port, or one that is free where somebody else has it."""
    for port in (usual, 0):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen = int(probe.getsockname()[1])
            taken.add(chosen)
            return chosen
    raise DemoFailedError("no free port on 127.0.0.1")


def own_folder() -> tuple[Path, int]:
    """Return a folder below ``.postroom`` that no other run uses, and the descriptor that keeps it ours."""
    for number in range(1, 100):
        folder = Path(".postroom") / ("dev" if number == 1 else f"dev-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        return folder.resolve(), lock
    raise DemoFailedError("a hundred runs are going on in this folder")


def new_key(*arguments: str) -> tuple[str, str]:
    """Return a fresh key and the line for the configuration, from the product's own command."""
    lines = subprocess.run(  # noqa: S603 - our own console script
        [POSTROOM, "keys", "new", *arguments], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return lines[0], lines[1]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def write_configuration(folder: Path, ports: dict[str, int]) -> tuple[str, str]:
    """Write the configurations of service and emulator; return the API key and the admin key."""
    api_key, api_line = new_key("demo")
    admin_key, admin_line = new_key("--admin")
    password = secrets.token_urlsafe(18)
    write_private(folder / "mailbox-password", password)
    write_private(
        folder / "emulator.toml",
        f'[[accounts]]\naddress = "noreply@contoso.test"\npassword = {json.dumps(password)}\n'
        'send_as = ["billing@contoso.test"]\n',
    )
    write_private(
        folder / "postroom.toml",
        f"""\
# Written anew by every `make run` and `make demo`; for development only.
[server]
listen = "127.0.0.1:{ports["api"]}"
management_listen = "127.0.0.1:{ports["management"]}"
drain_delay = "0s"
admin_keys = [{admin_line}]

[store]
url = "sqlite:///postroom.db"
content_retention = {{ sent = "1h", other = "7d" }}

[connections.emulator]
host = "127.0.0.1"
port = {ports["smtp"]}
ca_file = "ca.pem"
auth = {{ method = "password", password_file = "mailbox-password" }}

[mailboxes.noreply]
address = "noreply@contoso.test"
connection = "emulator"
send_as = ["billing@contoso.test"]

[tenants.demo]
keys = [{api_line}]
senders = ["billing@contoso.test", "noreply@contoso.test"]
""",
    )
    return api_key, admin_key


def pdf() -> bytes:
    """Return a one-page PDF that says hello."""
    content = b"BT /F1 24 Tf 72 700 Td (Hello from Postroom) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def png(side: int = 32) -> bytes:
    """Return a small blue square as PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + b"\x1f\x6f\xeb" * side for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def letter() -> dict[str, object]:
    """Return the message that is sent: text, html, a PDF attachment and an inline picture."""
    return {
        "from": "Billing <billing@contoso.test>",
        "to": ["Ada Byron <ada@customer.test>"],
        "subject": "Your first message through Postroom",
        "text": "Hello Ada,\n\nthis message was on disk before its 202 was written.\n",
        "html": '<p>Hello Ada,</p><p><img src="cid:logo" alt=""> on disk before its 202 was written.</p>',
        "attachments": [
            {"filename": "hello.pdf", "content_type": "application/pdf", "content": base64.b64encode(pdf()).decode()},
            {
                "filename": "logo.png",
                "content_type": "image/png",
                "content": base64.b64encode(png()).decode(),
                "content_id": "logo",
                "disposition": "inline",
            },
        ],
    }


def await_answer(what: str, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until ``url`` answers 200; fail with the end of the log when its process ends or time is up."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise DemoFailedError(f"{what} did not come up; the end of {log}:\n{tail}")


def send(base: str, key: str) -> tuple[str, bool]:
    """POST the letter, follow it to its outcome, print the journey; return its id and whether it was sent."""
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False) as http:
        answer = http.post("/v1/messages", json=letter(), headers={"Idempotency-Key": f"demo-{secrets.token_hex(6)}"})
        print(f"\nPOST /v1/messages       {answer.status_code} {answer.reason_phrase}")
        if answer.status_code != 202:
            raise DemoFailedError(answer.text)
        identity = answer.json()["id"]
        print(f"                        {identity}  status: {answer.json()['status']}")
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            message = http.get(f"/v1/messages/{identity}").json()
            if message["status"] not in ("queued", "sending", "deferred", "scheduled"):
                break
            time.sleep(0.05)
        for attempt in message["attempts"]:
            reply = attempt["reply"] or {}
            said = " ".join(
                str(part) for part in (reply.get("code"), reply.get("enhanced_code"), reply.get("text")) if part
            )
            print(f"attempt {attempt['number']}               by mailbox {attempt['mailbox']}: {attempt['outcome']}")
            print(f"the server's reply      {said}")
        print(f"GET /v1/messages/…      {message['status']}")
        return identity, message["status"] == "sent"


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start one of the product's commands with its output in a log file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    with log.open("wb") as out:
        return subprocess.Popen(  # noqa: S603 - our own console script
            [POSTROOM, *arguments], stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End what was started, the service before the emulator."""
    for process in reversed(processes):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(45)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def show_addresses(base: str, ports: dict[str, int], key: str, folder: Path) -> None:
    """Print where everything is and a line to paste."""
    body = {"from": "billing@contoso.test", "to": "you@customer.test", "subject": "Hello", "text": "By hand."}
    print(f"\nService                 {base}   (OpenAPI: {base}/v1/openapi.json)")
    print(f"Health, metrics         http://127.0.0.1:{ports['management']}")
    print(f"Emulator, what arrived  http://127.0.0.1:{ports['emulator']}/messages")
    print(f"Configuration, logs     {folder}")
    print("\nSend one yourself:\n")
    print(
        f"  curl -sS {base}/v1/messages -H 'Authorization: Bearer {key}' \\\n"
        f"       -H 'Content-Type: application/json' -d '{json.dumps(body)}'\n"
    )


def main() -> int:
    """Run the demonstration; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="go on serving until Ctrl-C")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        folder, _lock = own_folder()
        taken: set[int] = set()
        ports = {name: free_port(usual, taken) for name, usual in USUAL_PORTS.items()}
        key, admin_key = write_configuration(folder, ports)
        write_private(folder / "api-key", key + "\n")
        write_private(folder / "admin-key", admin_key + "\n")
        emulator_log, service_log = folder / "emulator.log", folder / "service.log"
        print(f"starting the emulator   127.0.0.1:{ports['smtp']} (SMTP), 127.0.0.1:{ports['emulator']} (HTTP)")
        emulator = start(
            [
                *("emulator", "--port", str(ports["smtp"]), "--http-port", str(ports["emulator"])),
                *("--ca-out", str(folder / "ca.pem"), "--config", str(folder / "emulator.toml")),
            ],
            emulator_log,
        )
        processes.append(emulator)
        await_answer("the emulator", f"http://127.0.0.1:{ports['emulator']}/ca.pem", emulator, emulator_log)
        base = f"http://127.0.0.1:{ports['api']}"
        print(f"starting the service    {base}")
        service = start(["serve", "--dev", "--config", str(folder / "postroom.toml")], service_log)
        processes.append(service)
        await_answer("the service", f"{base}/readyz", service, service_log)
        _identity, sent = send(base, key)
        if not sent:
            print("\nNot sent.", file=sys.stderr)
            return 1
        if keep:
            show_addresses(base, ports, key, folder)
            print("Serving; Ctrl-C ends it.", flush=True)
            while all(process.poll() is None for process in processes):
                time.sleep(0.5)
            print(f"\nA process ended by itself; see {folder}", file=sys.stderr)
            return 1
    except DemoFailedError as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopping …")
    finally:
        stop(processes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
