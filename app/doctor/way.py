"""Judges the way to a server: name, port, banner, STARTTLS, certificate, EHLO. Pure.

A port that a firewall blocks is told from a host that is not there, a certificate of somebody in between from an
expired one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from app.doctor.check import Check, Status, counted, skipped
from app.mail.replies import CATALOGUE
from app.mail.rule import Row
from app.mail.transaction import ConnectTrouble
from app.mail.verdict import judge
from app.settings import MailboxPlan
from app.signin.clouds import CLOUDS
from app.smtp.examine import Certificate, Examination, Knock, Stage

_DAYS_WARN: Final = 14
_MICROSOFTS: Final = frozenset(cloud.smtp_host for cloud in CLOUDS.values())
_TRIED: Final = {
    Stage.BANNER: "wait for the server's greeting",
    Stage.STARTTLS: "EHLO, then STARTTLS",
    Stage.EHLO: "EHLO under TLS",
}
_STEPS: Final = (Stage.DNS, Stage.TCP, Stage.BANNER, Stage.STARTTLS, Stage.CERTIFICATE, Stage.EHLO)


def judge_way(found: Examination, plan: MailboxPlan, now: datetime, rules: Sequence[Row] = CATALOGUE) -> list[Check]:
    """Return one check for each step up to the EHLO under TLS; ``rules`` judge what the server refused."""
    steps: dict[Stage, Callable[[], Check]] = {
        Stage.DNS: lambda: _dns(found, plan),
        Stage.TCP: lambda: _tcp(found, plan),
        Stage.BANNER: lambda: _banner(found, plan),
        Stage.STARTTLS: lambda: _starttls(found, plan),
        Stage.CERTIFICATE: lambda: _certificate(found, plan, now),
        Stage.EHLO: lambda: _ehlo(found, plan),
    }

    def judged(stage: Stage) -> Check:
        reply = found.trouble.reply if found.trouble is not None and stage is found.broke_at else None
        if reply is None:
            return steps[stage]()
        verdict = judge(reply, rules)
        means = verdict.cause or "The server refused."
        return Check(stage.value, Status.FAIL, _TRIED[stage], str(reply), means, verdict.cure or "", plan.name)

    return [
        judged(stage)
        if found.was_reached(stage)
        else skipped(stage.value, plan.name, f"the check {found.broke_at} failed before it")
        for stage in _STEPS
    ]


def _table(plan: MailboxPlan) -> str:
    return f"[connections.{plan.connection_name}]"


def _reason(found: Examination) -> str:
    return found.trouble.reason if isinstance(found.trouble, ConnectTrouble) else ""


def _words(found: Examination) -> str:
    return found.trouble.text if isinstance(found.trouble, ConnectTrouble) else ""


def _dns(found: Examination, plan: MailboxPlan) -> Check:
    host = plan.connection.host
    tried = f"resolve {host}"
    if found.has_passed(Stage.DNS):
        addresses = ", ".join(knock.address for knock in found.knocks)
        got = f"{counted(len(found.knocks), 'address', 'addresses')}: {addresses}"
        return Check("dns", Status.OK, tried, got, "The name resolves.", "", plan.name)
    if _reason(found) == "closed":
        return skipped("dns", plan.name, _words(found))
    if found.is_resolver_down:
        means = "This machine's resolver does not answer; the name itself may be right."
        do = f"Check the resolver (/etc/resolv.conf) and the way to it (port 53). Then: getent hosts {host}"
    else:
        means = "The name does not exist, or not in the DNS that this machine asks."
        do = f"Check host in {_table(plan)}; for Microsoft 365 it is smtp.office365.com. Then: getent hosts {host}"
    return Check("dns", Status.FAIL, tried, _words(found), means, do, plan.name)


def _tcp(found: Examination, plan: MailboxPlan) -> Check:
    host, port = plan.connection.host, plan.connection.port
    tried = f"connect to port {port} of {counted(len(found.knocks), 'address', 'addresses')}"
    got = "; ".join(_knock_words(knock) for knock in found.knocks)
    if found.has_passed(Stage.TCP):
        silent = [knock.address for knock in found.knocks if knock.trouble and knock.trouble.reason == "timeout"]
        if silent:
            means = "Some addresses do not answer; each new session may wait for them before it tries the next."
            do = (
                f"Allow outgoing TCP port {port} to every address of {host}, or take the family that has no route away."
            )
            return Check("tcp", Status.WARN, tried, got, means, do, plan.name)
        return Check("tcp", Status.OK, tried, got, "The port is open.", "", plan.name)
    reason = _reason(found)
    if reason == "timeout":
        means = "Nobody answers, nobody refuses: a firewall drops the packets, or the host is switched off."
        do = (
            f"Allow outgoing TCP port {port} to {host} on this machine's firewall, the network's, and the cloud's "
            f"(many block mail ports). Then: nc -vz {host} {port}"
        )
    elif reason == "refused":
        means = f"The host is there, but nothing listens on port {port}, or a firewall refuses in its name."
        do = f"Check host and port in {_table(plan)} (submission is port 587), and that the server runs."
    else:
        means = "There is no way to the host from here: no route, or the network is down."
        do = f"Check the network of this machine: ip route get {found.knocks[0].address if found.knocks else host}"
    return Check("tcp", Status.FAIL, tried, got or _words(found), means, do, plan.name)


def _knock_words(knock: Knock) -> str:
    if knock.trouble is None:
        return f"{knock.address} connected in {knock.seconds * 1000:.0f} ms"
    words = {"timeout": f"no answer within {knock.seconds:.0f} s", "refused": "refused", "unreachable": "unreachable"}
    return f"{knock.address} {words.get(knock.trouble.reason, knock.trouble.text)}"


def _banner(found: Examination, plan: MailboxPlan) -> Check:
    tried = _TRIED[Stage.BANNER]
    if found.has_passed(Stage.BANNER):
        return Check("banner", Status.OK, tried, found.greeting, "A mail server answers.", "", plan.name)
    reason = _reason(found)
    if reason == "timeout":
        means = "The connection is taken, but nothing is said: something in between holds it, or it is no SMTP port."
        do = f"Check port in {_table(plan)} (587, not 465), and proxies or mail filters on the way."
    elif reason == "closed":
        means = "The connection is closed without a word: the server, or something in between, does not want us."
        do = "Ask whoever runs the firewall or the server whether this machine's address is blocked."
    else:
        means = "What answers there is no mail server."
        do = f"Check host and port in {_table(plan)}."
    return Check("banner", Status.FAIL, tried, _words(found), means, do, plan.name)


def _starttls(found: Examination, plan: MailboxPlan) -> Check:
    tried = _TRIED[Stage.STARTTLS]
    if found.has_passed(Stage.STARTTLS):
        got = found.tls_version or "the server began TLS"
        return Check("starttls", Status.OK, tried, got, "The connection is encrypted.", "", plan.name)
    reason = _reason(found)
    if reason == "starttls-missing":
        means = (
            "The server, or something in between that takes the offer away, has no encryption. Nothing is ever said "
            "in the clear."
        )
        do = "Switch off SMTP inspection for this way (Cisco: no inspect esmtp; mail filters, virus scanners)."
    elif reason == "injected":
        means = "Somebody in between puts octets into the conversation before it is encrypted."
        do = "Treat it as an attack: look at every device between this machine and the server."
    else:
        means = "The encryption cannot be agreed on: the server wants less than TLS 1.2, or something cuts in."
        do = (
            "Look for TLS inspection on the way. By hand: openssl s_client -starttls smtp -connect "
            f"{plan.connection.host}:{plan.connection.port}"
        )
    return Check("starttls", Status.FAIL, tried, _words(found), means, do, plan.name)


def _certificate(found: Examination, plan: MailboxPlan, now: datetime) -> Check:
    host, told = plan.connection.host, found.certificate
    tried = f"verify the certificate's chain and that it is for {host}"
    if found.has_passed(Stage.CERTIFICATE):
        days = (told.not_after - now).days if told else None
        got = _certificate_words(told) + (f", {counted(days, 'day')} left" if days is not None else "")
        if days is not None and days < _DAYS_WARN:
            means, do = "The server's certificate ends soon.", "Tell whoever runs the server."
            return Check("certificate", Status.WARN, tried, got, means, do, plan.name)
        return Check("certificate", Status.OK, tried, got, "It is the server it claims to be.", "", plan.name)
    means, do = _distrust(_reason(found), told, plan)
    got = f"{_words(found)}. The certificate: {_certificate_words(told)}" if told else _words(found)
    return Check("certificate", Status.FAIL, tried, got, means, do, plan.name)


def _certificate_words(told: Certificate | None) -> str:
    if told is None:
        return "verified"
    names = told.names if len(told.names) <= 4 else (*told.names[:4], f"and {len(told.names) - 4} more")
    return f"for {', '.join(names)}; issued by {told.issuer}; valid until {told.not_after:%Y-%m-%d}"


def _distrust(reason: str, told: Certificate | None, plan: MailboxPlan) -> tuple[str, str]:
    host = plan.connection.host
    if reason == "tls-name":
        return (
            f"The certificate is for another name than {host}: it is another server.",
            f"Write into host of {_table(plan)} a name that the certificate has, or look for what answers in its "
            "place. An IP address as host is rarely in a certificate.",
        )
    if reason == "tls-expired":
        return "The certificate has expired.", "Tell whoever runs the server. Check this machine's clock: timedatectl"
    if reason == "tls-not-yet-valid":
        return "The certificate is not valid yet: this machine's clock is behind.", "Set it: timedatectl set-ntp true"
    issuer = f" ({told.issuer})" if told else ""
    if host in _MICROSOFTS:
        return (
            f"Its issuer{issuer} is not trusted here. Microsoft's is; so something in between reads along.",
            f"Take {host} out of TLS inspection. Only if it must stay: ca_file in {_table(plan)}.",
        )
    return (
        f"Its issuer{issuer} is not trusted here: a private authority, or something in between.",
        f'If it is your own authority: ca_file = "…" (PEM) in {_table(plan)}.',
    )


def _ehlo(found: Examination, plan: MailboxPlan) -> Check:
    tried = _TRIED[Stage.EHLO]
    features = found.features
    if features is None:
        means = "The connection ended after the encryption had begun."
        return Check(
            "ehlo", Status.FAIL, tried, _words(found), means, "Try again; then look at what is between.", plan.name
        )
    got = "; ".join(found.hello[1:]) or "no extension"
    wanted = ("XOAUTH2",) if plan.sign_in is not None else ("LOGIN", "PLAIN")
    if features.mechanisms.isdisjoint(wanted):
        offered = ", ".join(sorted(features.mechanisms)) or "none"
        means = f"This mailbox signs in by {' or '.join(wanted)}; the server offers {offered}."
        do = f"Check host in {_table(plan)}, and method in its auth."
        return Check("ehlo", Status.FAIL, tried, got, means, do, plan.name)
    limit = plan.limits.message_size
    if features.size is not None and limit > features.size:
        means = f"The server takes messages of {features.size:,} octets; larger ones that we accept will be refused."
        do = f'Write limits = {{ message_size = "{features.size // 1024}KB" }} into {_table(plan)}.'
        return Check("ehlo", Status.WARN, tried, got, means, do, plan.name)
    missing = _missing(found.hello, ("PIPELINING", "8BITMIME", "SMTPUTF8"))
    means = "Everything needed is offered."
    if missing:
        means = f"It will do; without {', '.join(missing)}{_consequences(missing)}."
    return Check("ehlo", Status.OK, tried, got, means, "", plan.name)


def _missing(hello: Iterable[str], wanted: Iterable[str]) -> list[str]:
    offered = {line.partition(" ")[0].upper() for line in hello}
    return [keyword for keyword in wanted if keyword not in offered]


def _consequences(missing: list[str]) -> str:
    words = []
    if "PIPELINING" in missing:
        words.append("each message takes more round trips")
    if "SMTPUTF8" in missing:
        words.append("addresses with letters outside ASCII before the @ are refused")
    return " " + " and ".join(words) if words else " nothing is lost"
