"""The files that people deploy with are well formed, by the judgement of linters from the locked development tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trustme
import yaml

from app.settings import load
from app.settings.values import SqliteUrl

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


def complaint(*command: str | Path) -> str:
    """Run a linter; return what it says against a file, "" where it is content."""
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}" or f"exit code {done.returncode}"


def test_hadolint_has_nothing_against_the_dockerfile() -> None:
    assert complaint(TOOLS / "hadolint", "Dockerfile") == ""


def test_the_compose_file_fits_its_schema() -> None:
    tool = (TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    assert complaint(*tool, "docker-compose.yml") == ""


def test_yamllint_has_nothing_against_the_compose_file() -> None:
    rules = "{extends: default, rules: {line-length: {max: 120}, document-start: disable, brackets: disable}}"
    assert complaint(TOOLS / "yamllint", "--strict", "--config-data", rules, "docker-compose.yml") == ""


@pytest.mark.parametrize("name", ["postroom", "emulator"])
def test_every_service_of_the_compose_file_is_hardened(name: str) -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_service_has_a_volume_for_its_store_and_time_to_drain() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    service = compose["services"]["postroom"]
    assert service["stop_grace_period"] == "60s"
    assert "store:/var/lib/postroom" in service["volumes"]
    assert "store" in compose["volumes"]


def test_the_compose_configuration_is_good_and_keeps_its_store_on_the_volume(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "compose" / "postroom.toml").read_text()
    assert text.count('"/shared/ca.pem"') == 1
    # The emulator writes it into the volume that both have.
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "postroom.toml").write_text(text.replace("/shared/ca.pem", "ca.pem"))
    settings = load(tmp_path / "postroom.toml", {})
    assert settings.store.url == SqliteUrl(Path("/var/lib/postroom/postroom.db"))


def test_the_image_is_run_without_a_shell_and_without_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    assert 'ENTRYPOINT ["postroom"]' in final
    assert 'CMD ["serve"]' in final
    assert not any(line.startswith("RUN") for line in final)
    assert [line for line in final if line.startswith("USER")] == ["USER 65532:65532"]
