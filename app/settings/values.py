"""The kinds of values that a configuration is written in: durations, sizes, listen addresses, networks, addresses.

Each parses the written form and refuses what is not one, with a sentence that says what to write instead and never
repeats what stood there. ``Form`` tells the documentation how a kind is called and written. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, PlainValidator, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.mail.address import Address, AddressPattern, parse_address, parse_pattern

_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST: Final = timedelta(days=3650)
_SIZE: Final = re.compile(r"(\d{1,9})(KB|MB|GB)", re.ASCII)
_OCTETS: Final = {"KB": 1024, "MB": 1024**2, "GB": 1024**3}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_-]+)*\.?", re.ASCII)
_LISTEN: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """How a kind of value is called and written; ``write`` turns a value back into what an operator writes.

    ``is_text``: written as a text although it becomes a plain number.
    """

    name: str
    write: Callable[[Any], str] = str
    is_text: bool = False


def misfit(problem: str, cure: str) -> PydanticCustomError:
    """Return the error that a validator raises: what is wrong and what to do, in words of our own."""
    return PydanticCustomError("misfit", "{problem}", {"problem": problem, "cure": cure})


def parse_duration(value: object) -> timedelta:
    """Return the duration of a text such as ``30s``; s, m, h and d are known."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise misfit("is not a duration", 'write a number and a unit, such as "30s", "10m", "24h" or "7d"')
    duration = timedelta(seconds=float(match.group(1)) * _SECONDS[match.group(2)])
    if duration > _LONGEST:
        raise misfit("is longer than ten years", 'write a shorter duration, such as "30d"')
    return duration


def write_duration(duration: timedelta) -> str:
    """Return the written form of a duration, in the largest unit that needs no fraction."""
    seconds = duration.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        raise misfit("is no time at all", 'write a duration above zero, such as "30s"')
    return duration


def parse_size(value: object) -> int:
    """Return the octets of a text such as ``15MB``; units are powers of 1,024, a bare 0 needs none."""
    if value in (0, "0") and not isinstance(value, bool):
        return 0
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise misfit("is not a size", 'write a number and a unit, such as "512KB", "15MB" or "1GB"')
    return int(match.group(1)) * _OCTETS[match.group(2)]


def write_size(octets: int) -> str:
    """Return the written form of a size, in the largest unit that needs no fraction."""
    for unit in ("GB", "MB", "KB"):
        if octets and octets % _OCTETS[unit] == 0:
            return f"{octets // _OCTETS[unit]}{unit}"
    return str(octets)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(value: object) -> Listen:
    """Return the listen address of a text such as ``127.0.0.1:8080`` or ``[::1]:8080``."""
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match.group(3)) > 65_535:
        cure = 'write address and port, such as "127.0.0.1:8080", "0.0.0.0:8080" or "[::]:8080"'
        raise misfit("is not a listen address", cure)
    host = match.group(1) or match.group(2)
    if match.group(1) or host.replace(".", "").isdigit():
        try:
            ip_address(host)
        except ValueError:
            raise misfit("is not a listen address", "write an IP address that exists before the port") from None
    return Listen(host, int(match.group(3)))


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """Return the network of a text such as ``10.0.0.0/8``; a single address is a network of its own."""
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        if "host bits" in str(error):
            cure = "write the network's first address before the slash, such as 10.0.0.0/8"
            raise misfit("is not a network: it has bits set behind the prefix", cure) from None
        raise misfit("is not a network", 'write it as "10.0.0.0/8", "2001:db8::/32" or a single address') from None


def _parse_sender(value: object) -> AddressPattern:
    try:
        return parse_pattern(value if isinstance(value, str) else "")
    except ValueError:
        cure = 'write an address such as "billing@contoso.com", or "*@contoso.com" for every address of a domain'
        raise misfit("is neither an address nor a pattern", cure) from None


def _parse_address(value: object) -> Address:
    try:
        return parse_address(value if isinstance(value, str) else "")
    except ValueError:
        raise misfit("is not an address", 'write one such as "billing@contoso.com"') from None


def parse_instant(value: object) -> datetime:
    """Return the aware instant of a TOML date or date-time, or of the same as text; a date means its first second."""
    if isinstance(value, str):
        kind = date if len(value) == len("2027-01-31") else datetime
        with suppress(ValueError):
            value = kind.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    cure = 'write a date or an instant with its offset, such as "2027-01-31" or "2027-01-31T08:00:00Z"'
    raise misfit("is not an instant", cure)


def check_name(name: str) -> str:
    """Return the name of a table; refuse one that could not stand in a variable's name."""
    if not _NAME.fullmatch(name) or "__" in name:
        cure = "begin with a letter a-z, go on with a-z, 0-9 and single underscores, at most 63 in all"
        raise misfit("is not a name", cure)
    return name


def _check_host(host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        if not _HOST.fullmatch(host):
            cure = 'write a host name or an IP address alone, such as "smtp.office365.com"'
            raise misfit("is not a host", cure) from None
    return host


def check_port(port: int) -> int:
    """Return the port of a submission server; refuse those on which Postroom cannot sign in safely."""
    if port == 25:
        reason = "is refused: port 25 is for mail between servers, often blocked, and takes no sign-in"
        raise misfit(reason, "use 587 (submission with STARTTLS)")
    if port == 465:
        reason = "is refused: port 465 is TLS from the first byte, which Exchange Online does not offer"
        raise misfit(reason, "use 587 (submission with STARTTLS)")
    return port


def _check_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text:
        raise misfit("is empty", "state the secret, or remove the setting")
    if not text.isprintable():
        raise misfit("has control characters or several lines", "state the secret alone, on one line")
    return secret


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    """A store in a file of this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A store in a PostgreSQL database; the address may carry a password."""

    dsn: SecretStr


StoreUrl = SqliteUrl | PostgresUrl
_STORE_CURE: Final = 'write "sqlite:////absolute/path.db", "sqlite:///relative.db" or "postgresql://user@host/database"'


def parse_store_url(value: object) -> StoreUrl:
    """Return the store that an address names; a relative path is left as it is."""
    if isinstance(value, str) and value.startswith(("postgresql://", "postgres://")):
        return PostgresUrl(SecretStr(value))
    path = value.removeprefix("sqlite:///") if isinstance(value, str) and value.startswith("sqlite:///") else ""
    if ":memory:" in path:
        raise misfit("is not on disk, and 202 means on disk", _STORE_CURE)
    if not path or path.endswith("/") or "?" in path or not path.isprintable():
        raise misfit("is not the address of a store", _STORE_CURE)
    return SqliteUrl(Path(path))


def ground_store_url(value: str, folder: Path) -> str:
    """Return the address with a relative path made absolute, seen from ``folder``."""
    head, path = value[: len("sqlite:///")], value[len("sqlite:///") :]
    if head != "sqlite:///" or not path or path.startswith("/") or ":memory:" in path:
        return value
    return f"{head}{folder / path}"


def write_store_url(url: StoreUrl) -> str:
    """Return the written form of a store's address, without what may be secret."""
    return f"sqlite:///{url.path}" if isinstance(url, SqliteUrl) else "postgresql://…"


def _text(pattern: str | None = None) -> dict[str, Any]:
    """Return the JSON Schema of a text."""
    return {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}


Duration = Annotated[
    timedelta,
    PlainValidator(parse_duration),
    WithJsonSchema(_text(r"^\d+(\.\d+)?[smhd]$")),
    Form("duration", write_duration),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Size = Annotated[
    int,
    PlainValidator(parse_size),
    WithJsonSchema({"anyOf": [_text(r"^\d+(KB|MB|GB)$"), {"const": 0}]}),
    Form("size", write_size, is_text=True),
]
MailAddress = Annotated[Address, PlainValidator(_parse_address), WithJsonSchema(_text()), Form("address")]
Pattern = Annotated[
    AddressPattern,
    PlainValidator(_parse_sender),
    WithJsonSchema(_text()),
    Form("address or pattern"),
]
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(parse_network),
    WithJsonSchema(_text()),
    Form("network"),
]
ListenAddress = Annotated[
    Listen,
    PlainValidator(parse_listen),
    WithJsonSchema(_text(r":\d+$")),
    Form("listen address"),
]
Instant = Annotated[
    datetime,
    PlainValidator(parse_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Form("date or instant"),
]
Store = Annotated[
    StoreUrl,
    PlainValidator(parse_store_url),
    WithJsonSchema(_text("^(sqlite:///|postgres(ql)?://)")),
    Form("store address", write_store_url),
]
Secret = Annotated[SecretStr, AfterValidator(_check_secret), Form("secret")]
File = Annotated[Path, Form("file")]
Name = Annotated[str, AfterValidator(check_name)]
Host = Annotated[str, AfterValidator(_check_host), Form("host")]
Port = Annotated[int, Field(strict=True, ge=1, le=65_535), AfterValidator(check_port), Form("port")]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000), Form("whole number")]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False), Form("number from 0 to 1")]
Flag = Annotated[bool, Field(strict=True), Form("true or false")]
Text = Annotated[str, Field(min_length=1, max_length=1000), Form("text")]
