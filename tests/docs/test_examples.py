"""The configurations that are shown can be used: each whole one, and each way to sign in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trustme

from app.settings.documents import entries
from tests.docs.reading import ROOT, Block, blocks
from tests.support.configuration import HASH, faults_of

README, SETUP = ROOT / "README.md", ROOT / "docs/exchange-setup.md"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
REST = """
[mailboxes.noreply]
address = "noreply@contoso.com"
connection = "contoso"
"""


def shown(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "toml"]


def filled(text: str) -> str:
    """An example with its placeholders filled in; each key gets an id of its own."""
    ids = iter(("4Tn2kQ9xWb7d", "5Tn2kQ9xWb7d"))
    text = re.sub(r'id = "…", hash = "sha256:…"', lambda _: f'id = "{next(ids)}", hash = "{HASH}"', text)
    return text.replace("DIRECTORY", "contoso.onmicrosoft.com").replace("CLIENT_ID", CLIENT_ID)


def in_place(folder: Path, text: str) -> str:
    """The example with its files there, and the paths of a machine led into the folder."""
    text = re.sub(r'"/var/[\w/]+/([\w.-]+)"', r'"\1"', text)
    for name in re.findall(r'_file = "([\w.-]+)"', text):
        (folder / name).write_bytes(trustme.CA().cert_pem.bytes() if name == "ca.pem" else b"something")
    return text


@pytest.mark.parametrize("block", [b for b in shown(README) if "[store]" in b.text], ids=lambda b: f"line-{b.line}")
def test_a_whole_configuration_has_no_fault(block: Block, tmp_path: Path) -> None:
    assert faults_of(tmp_path, in_place(tmp_path, filled(block.text))) == {}


@pytest.mark.parametrize(
    "block", [b for page in (README, SETUP) for b in shown(page) if "auth = " in b.text], ids=lambda b: f"line-{b.line}"
)
def test_a_way_to_sign_in_has_no_fault(block: Block, tmp_path: Path) -> None:
    text = filled(block.text)
    auth = re.findall(r"^auth = .*$", text, re.MULTILINE)
    assert len(auth) == 1
    whole = f'[connections.contoso]\nhost = "smtp.office365.com"\n{auth[0]}\n{REST}'
    assert faults_of(tmp_path, in_place(tmp_path, whole)) == {}


def test_every_way_to_sign_in_is_shown() -> None:
    methods = set(re.findall(r'method = "([\w-]+)"', "\n".join(block.text for block in shown(SETUP))))
    (known,) = (entry.kind for entry in entries("connections") if entry.place[-2:] == ("auth", "method"))
    assert methods == set(known.split(" | "))
