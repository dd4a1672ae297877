"""The samples in ``deploy/`` are good in the eyes of the very programs they are for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import trustme

from tests.interop.daemon import program

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# Lower is safer; what is left is the network, which it needs. docs/operations.md tells the figure.
MOST_EXPOSED = 1.5


def say(*command: str | Path) -> str:
    """Run a program; return what it printed, after checking that it was content."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_nginx_takes_its_sample(tmp_path: Path) -> None:
    pair = trustme.CA().issue_cert("mail-desk.example.com")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "fullchain.pem")
    pair.private_key_pem.write_to_path(tmp_path / "privkey.pem")
    sample = (DEPLOY / "nginx" / "postroom.conf").read_text().replace("/etc/ssl/postroom", str(tmp_path))
    (tmp_path / "site.conf").write_text(sample)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}/body; include {tmp_path}/site.conf; }}\n"
    )
    said = say(program("nginx"), "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf")
    assert "test is successful" in said
    assert "[warn]" not in said


def test_haproxy_takes_its_sample() -> None:
    said = say(program("haproxy"), "-c", "-f", DEPLOY / "haproxy" / "postroom.cfg")
    assert "Configuration file is valid" in said
    assert "WARNING" not in said


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it is, but for the program, which is not installed where this runs."""
    text = (DEPLOY / "systemd" / "postroom.service").read_text()
    assert text.count("/opt/postroom/bin/postroom") == 2
    file = tmp_path / "postroom.service"
    file.write_text(text.replace("/opt/postroom/bin/postroom", "/bin/true"))
    return file


def test_systemd_takes_the_unit(unit: Path) -> None:
    # Other units of this machine are looked at too; only what is said of ours counts.
    said = [line for line in say(program("systemd-analyze"), "verify", unit).splitlines() if "postroom" in line]
    assert said == []


def test_the_unit_is_hardened(unit: Path) -> None:
    said = say(program("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", unit)
    figure = re.search(r"Overall exposure level for postroom.service: ([0-9.]+)", said)
    assert figure is not None
    assert float(figure[1]) <= MOST_EXPOSED
