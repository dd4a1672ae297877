"""The written forms of values: what is taken, what it becomes, what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from app.settings import values
from app.settings.values import Listen, SqliteUrl


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("10m", 600), ("24h", 86_400), ("30d", 2_592_000), ("0s", 0), ("0.5s", 0.5), ("1.5h", 5400)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert values.parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5S", "1h30m", "5s\n", "٥s", "1e3s", "9999999d", 5, None])
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|longer than ten years"):
        values.parse_duration(text)


@pytest.mark.parametrize("text", ["5s", "90s", "10m", "24h", "30d", "0s", "0.5s"])
def test_a_duration_written_is_read_as_the_same(text: str) -> None:
    duration = values.parse_duration(text)
    assert values.parse_duration(values.write_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "octets"), [("1KB", 1024), ("15MB", 15 * 1024**2), ("2GB", 2 * 1024**3), ("0MB", 0), ("0", 0), (0, 0)]
)
def test_a_size_is_a_number_and_a_unit_of_1024(text: object, octets: int) -> None:
    assert values.parse_size(text) == octets
    assert values.parse_size(values.write_size(octets)) == octets


@pytest.mark.parametrize("text", ["", "15", "15mb", "15 MB", "1.5MB", "15MiB", "-1MB", 15, False, None])
def test_anything_else_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:8080", Listen("127.0.0.1", 8080)),
        ("[::1]:8080", Listen("::1", 8080)),
        ("localhost:0", Listen("localhost", 0)),
    ],
)
def test_a_listen_address_is_read_and_written(text: str, listen: Listen) -> None:
    assert values.parse_listen(text) == listen
    assert str(listen) == text


@pytest.mark.parametrize("text", ["", ":8080", "8080", "::1:8080", "[x]:1", "h:65536", "256.1.1.1:1", "h:", "h: 1", 1])
def test_anything_else_is_no_listen_address(text: object) -> None:
    with pytest.raises(ValueError, match="is not a listen address"):
        values.parse_listen(text)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "net", "", 167_772_160])
def test_a_network_has_no_bits_behind_its_prefix(text: object) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        values.parse_network(text)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        (date(2027, 1, 31), datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T08:00:00+01:00", datetime(2027, 1, 31, 7, tzinfo=UTC)),
        (datetime(2027, 1, 31, 8, tzinfo=timezone(timedelta(hours=1))), datetime(2027, 1, 31, 7, tzinfo=UTC)),
    ],
)
def test_an_instant_is_a_date_or_has_its_offset(value: object, instant: datetime) -> None:
    assert values.parse_instant(value) == instant


@pytest.mark.parametrize("value", ["2027-01-31T08:00:00", datetime(2027, 1, 31), "soon", "31.01.2027", "", 3, None])  # noqa: DTZ001
def test_an_instant_without_offset_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not an instant"):
        values.parse_instant(value)


@pytest.mark.parametrize("name", ["a", "billing", "no_reply2", "a_", "a" * 63])
def test_a_name_is_lower_case(name: str) -> None:
    assert values.check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "9a", "_a", "a__b", "a-b", "ä", "a" * 64, "a\n"])
def test_a_name_that_no_variable_could_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        values.check_name(name)


@pytest.mark.parametrize("port", [1, 587, 2525, 26, 464])
def test_any_port_but_25_and_465_is_taken(port: int) -> None:
    assert values.check_port(port) == port


@pytest.mark.parametrize("port", [25, 465])
def test_ports_25_and_465_are_refused_with_the_reason_and_587(port: int) -> None:
    with pytest.raises(ValueError, match=f"port {port} is") as raised:
        values.check_port(port)
    assert "use 587" in raised.value.context["cure"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("url", "grounded"),
    [
        ("sqlite:///a.db", "sqlite:////etc/a.db"),
        ("sqlite:////a.db", "sqlite:////a.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://h/d", "postgresql://h/d"),
    ],
)
def test_a_relative_store_is_seen_from_the_folder(url: str, grounded: str) -> None:
    assert values.ground_store_url(url, Path("/etc")) == grounded


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "sqlite:///a/", "sqlite:///a?mode=ro", "mysql://h", 3])
def test_anything_else_is_no_store(url: object) -> None:
    with pytest.raises(ValueError, match="is not the address of a store"):
        values.parse_store_url(url)


def test_the_address_of_a_database_keeps_its_password() -> None:
    url = values.parse_store_url("postgresql://user:hidden@host/database")
    assert not isinstance(url, SqliteUrl)
    assert "hidden" not in repr(url)
    assert "hidden" not in values.write_store_url(url)
