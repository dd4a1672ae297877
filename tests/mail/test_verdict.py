"""From replies to what happens: one reply, a whole transaction, a refused sign-in."""

from __future__ import annotations

import itertools
import timeit
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.mail.aadsts import TRANSIENT, explain, explanations
from app.mail.message import AttemptOutcome
from app.mail.replies import CATALOGUE
from app.mail.replies.operator import operator_rows
from app.mail.reply import Phase, Reply, reply_of
from app.mail.transaction import Fate, Replies
from app.mail.verdict import (
    Effect,
    Outcome,
    Scope,
    SignInKind,
    judge,
    judge_lost,
    judge_sign_in,
    judge_transaction,
)


def _reply(line: str, phase: Phase) -> Reply:
    return reply_of(int(line[:3]), [line[4:]], phase)


def _tx(
    mail: str | None = "250 2.1.0 Sender OK",
    rcpt: str = "ok",
    data: str | None = "354 go",
    dot: str | None = "250 2.0.0 OK",
    fate: Fate = Fate.ANSWERED,
) -> Replies:
    """Make replies; ``rcpt`` is a word for each recipient: ok, no (550 5.1.1), later (450), bye (421), park, -."""
    words = {
        "ok": "250 2.1.5 Recipient OK",
        "no": "550 5.1.1 not found",
        "later": "450 4.2.1 busy",
        "bye": "421 4.3.2 Service not active",
        "park": "550 5.2.251 Sender throttled due to continuous mailbox full errors.",
        "many": "452 4.5.3 Too many recipients",
        "-": None,
    }
    lines = [words[word] for word in rcpt.split()]
    return Replies(
        fate=fate,
        mail=_reply(mail, Phase.MAIL) if mail else None,
        recipients=tuple(_reply(line, Phase.RCPT) if line else None for line in lines),
        data=_reply(data, Phase.DATA) if data else None,
        dot=_reply(dot, Phase.DOT) if dot else None,
    )


_CUT = Fate.NOT_TAKEN
_SILENT = Fate.UNANSWERED
_QUOTA = "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"
_DENIED = "554 5.2.252 SendAsDenied; a@contoso.com not allowed to send as b@contoso.com; STOREDRV"

# replies, results, and the attempt: outcome, scope, and code and phase of the reply that explains it
TABLE = [
    # everything went well, or most of it
    (_tx(), "sent", "sent message 250 dot"),
    (_tx(rcpt="ok ok ok"), "sent sent sent", "sent message 250 dot"),
    (_tx(rcpt="ok no ok"), "sent rejected sent", "partly_sent recipient 550 rcpt"),
    (_tx(rcpt="ok later"), "sent deferred", "partly_sent recipient 450 rcpt"),
    (_tx(rcpt="ok no later"), "sent rejected deferred", "partly_sent recipient 550 rcpt"),
    (_tx(rcpt="ok many many"), "sent deferred deferred", "partly_sent recipient 452 rcpt"),
    (_tx(rcpt="ok park"), "sent kept", "partly_sent mailbox 550 rcpt"),
    # MAIL refused: for all, whatever the rest of the flight was answered
    (_tx("550 no", "no no", "503 no", None), "rejected rejected", "rejected message 550 mail"),
    (_tx("451 4.7.500 Server busy", "- -", None, None), "deferred deferred", "deferred message 451 mail"),
    (_tx("421 4.3.2 Service not active", "- -", None, None, _CUT), "kept kept", "aborted session 421 mail"),
    (_tx("552 5.3.4 Message size exceeds", "ok", "354 go", None, _CUT), "rejected", "rejected message 552 mail"),
    (_tx("550 5.2.251 Sender throttled due to continuous x", "-", None, None), "kept", "aborted mailbox 550 mail"),
    (_tx("553 5.6.7 SMTPUTF8 not offered", "", None, None), "rejected", "rejected message 553 mail"),
    # every RCPT refused: the rest does not matter
    (_tx(rcpt="no no", data="554 no valid recipients", dot=None), "rejected rejected", "rejected recipient 550 rcpt"),
    (_tx(rcpt="no later", data="503 no", dot=None), "rejected deferred", "deferred recipient 450 rcpt"),
    (_tx(rcpt="later later", data="451 no", dot=None), "deferred deferred", "deferred recipient 450 rcpt"),
    (_tx(rcpt="no", dot="250 an incident"), "rejected", "rejected recipient 550 rcpt"),
    (_tx(rcpt="no no", dot=None, fate=_SILENT), "rejected rejected", "rejected recipient 550 rcpt"),
    # DATA refused: for the accepted ones
    (_tx(rcpt="ok no", data="451 4.3.0 later", dot=None), "deferred rejected", "deferred message 451 data"),
    (_tx(rcpt="ok no", data="554 5.6.0 no", dot=None), "rejected rejected", "rejected message 554 data"),
    (_tx(rcpt="ok", data="421 4.4.2 Connection dropped", dot=None), "kept", "aborted session 421 data"),
    # the dot refused
    (_tx(dot="451 4.3.0 later"), "deferred", "deferred message 451 dot"),
    (_tx(rcpt="ok no", dot="451 4.3.0 later"), "deferred rejected", "deferred message 451 dot"),
    (_tx(rcpt="ok later", dot="550 no"), "rejected deferred", "deferred recipient 450 rcpt"),
    (_tx(rcpt="ok no", dot="550 no"), "rejected rejected", "rejected message 550 dot"),
    (_tx(dot="421 4.3.2 Service not active"), "kept", "aborted session 421 dot"),
    (_tx(rcpt="ok no", dot="421 4.3.2 bye"), "kept rejected", "aborted session 421 dot"),
    (_tx(rcpt="ok later", dot="421 4.3.2 bye"), "kept deferred", "deferred recipient 450 rcpt"),
    (_tx(dot="432 4.3.2 Concurrent connections limit exceeded."), "deferred", "deferred mailbox 432 dot"),
    (_tx(rcpt="ok ok", dot=_QUOTA), "deferred deferred", "deferred mailbox 554 dot"),
    (_tx(rcpt="ok ok", dot=_DENIED), "rejected rejected", "rejected sender 554 dot"),
    (_tx(dot="550 5.2.253 Sender throttled due to continuous x"), "kept", "aborted mailbox 550 dot"),
    # no complete reply to the dot
    (_tx(dot=None, fate=_SILENT), "unknown", "unknown session -"),
    (_tx(rcpt="ok no later", dot=None, fate=_SILENT), "unknown rejected deferred", "unknown session -"),
    (_tx(dot="354 what", fate=_SILENT), "unknown", "unknown session 354 dot"),
    # cut or withheld before the dot: not an attempt, but what was said stands
    (_tx(None, "- -", None, None, _CUT), "kept kept", "aborted session -"),
    (_tx(None, "", None, None, _CUT), "kept", "aborted session -"),
    (_tx(rcpt="ok ok", dot=None, fate=_CUT), "kept kept", "aborted session -"),
    (_tx(rcpt="ok no", dot=None, fate=_CUT), "kept rejected", "aborted session -"),
    (_tx(rcpt="ok later", data=None, dot=None, fate=_CUT), "kept deferred", "deferred recipient 450 rcpt"),
    (_tx(rcpt="no no", data=None, dot=None, fate=_CUT), "rejected rejected", "rejected recipient 550 rcpt"),
    (_tx(rcpt="ok bye -", data=None, dot=None, fate=_CUT), "kept kept kept", "aborted session 421 rcpt"),
    (_tx(dot=None, fate=Fate.WITHHELD), "kept", "aborted session -"),
    (_tx(rcpt="ok no", dot=None, fate=Fate.WITHHELD), "kept rejected", "aborted session -"),
]  # fmt: skip


@pytest.mark.parametrize(("replies", "results", "attempt"), TABLE)
def test_a_transaction_comes_to(replies: Replies, results: str, attempt: str) -> None:
    """Each recipient to its result, the attempt to its outcome, explained by one reply."""
    judged = judge_transaction(replies, len(results.split()))
    assert [verdict.outcome.value for verdict in judged.recipients] == results.split()
    explained = f"{judged.reply.code} {judged.reply.phase}" if judged.reply else "-"
    assert f"{judged.outcome} {judged.scope} {explained}" == attempt


@given(
    mail=st.sampled_from([None, "250 ok", "450 x", "550 x", "421 x"]),
    rcpt=st.lists(st.sampled_from(["ok", "no", "later", "bye", "park", "-"]), min_size=1, max_size=4),
    data=st.sampled_from([None, "354 go", "451 x", "554 x", "421 x"]),
    dot=st.sampled_from([None, "250 ok", "451 x", "554 x", "421 x", _QUOTA, _DENIED]),
    fate=st.sampled_from(list(Fate)),
)
def test_whatever_was_answered_nobody_is_forgotten_and_nobody_sent_without_a_250(
    mail: str | None, rcpt: list[str], data: str | None, dot: str | None, fate: Fate
) -> None:
    """Sent needs a 250 to the dot and no refusal before; unknown needs a dot without verdict; aborted sends nobody."""
    replies = _tx(mail, " ".join(rcpt), data, dot, fate)
    judged = judge_transaction(replies, len(rcpt))
    assert len(judged.recipients) == len(rcpt)
    for word, verdict in zip(rcpt, judged.recipients, strict=True):
        if verdict.outcome is Outcome.SENT:
            assert dot == "250 ok"
            assert word in ("ok", "-")
            assert mail in (None, "250 ok")
        if verdict.outcome is Outcome.UNKNOWN:
            assert (dot, fate) == (None, Fate.UNANSWERED)
    found = {verdict.outcome for verdict in judged.recipients}
    assert (judged.outcome is AttemptOutcome.UNKNOWN) == (Outcome.UNKNOWN in found)
    assert (judged.outcome is AttemptOutcome.SENT) == (found == {Outcome.SENT})
    if judged.outcome is AttemptOutcome.ABORTED:
        assert found <= {Outcome.KEPT, Outcome.REJECTED}


# ---------------------------------------------------------------- effects and scopes


def test_effects_come_once_each_and_the_strongest_first() -> None:
    replies = _tx(rcpt="no no park ok bye", dot="432 4.3.2 Concurrent connections limit exceeded.")
    effects = judge_transaction(replies, 5).effects
    assert [verdict.effect for verdict in effects] == [Effect.PARK, Effect.NARROW, Effect.STRIKE, Effect.RECONNECT]
    assert effects[2].family == "invalid-recipient"


def test_a_cut_has_no_effect_of_its_own() -> None:
    """What suspects a connection after cuts in a row sees the fate; there is no refusal to remember."""
    assert judge_transaction(_tx(None, "- -", None, None, _CUT), 2).effects == ()


def test_a_bad_recipient_told_at_the_dot_is_blamed_on_nobody_when_there_were_several() -> None:
    """With one recipient it is that one's; with several, the reply does not say whose."""
    line = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found"
    (alone,) = judge_transaction(_tx(dot=line), 1).recipients
    assert alone.scope is Scope.RECIPIENT
    several = judge_transaction(_tx(rcpt="ok ok", dot=line), 2).recipients
    assert {verdict.scope for verdict in several} == {Scope.MESSAGE}
    assert {verdict.effect for verdict in several} == {Effect.STRIKE}
    one_left = judge_transaction(_tx(rcpt="ok no", dot=line), 2).recipients
    assert one_left[0].scope is Scope.RECIPIENT


def test_a_refusal_of_our_sender_concerns_no_recipient() -> None:
    for mail in ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", "550 5.7.1 no"):
        (verdict,) = judge_transaction(_tx(mail, "-", None, None), 1).recipients
        assert verdict.scope is not Scope.RECIPIENT


def test_an_unknown_outcome_says_what_to_do_about_it() -> None:
    (verdict,) = judge_transaction(_tx(dot=None, fate=_SILENT), 1).recipients
    assert verdict.cause
    assert "message trace" in (verdict.cure or "")


def test_an_operators_rows_hold_for_the_whole__tx() -> None:
    rules = (*operator_rows([{"code": 550, "outcome": "deferred"}]), *CATALOGUE)
    judged = judge_transaction(_tx(rcpt="ok no", dot="250 ok"), 2, rules)
    assert [verdict.outcome for verdict in judged.recipients] == [Outcome.SENT, Outcome.DEFERRED]


@pytest.mark.parametrize(
    ("was_marked", "result", "outcome"), [(True, "unknown", "unknown"), (False, "kept", "aborted")]
)
def test_a_lost_attempt_is_unknown_only_if_it_was_marked(was_marked: bool, result: str, outcome: str) -> None:
    judged = judge_lost(2, was_marked=was_marked)
    assert [verdict.outcome for verdict in judged.recipients] == [result, result]
    assert judged.outcome == outcome
    assert judged.reply is None


def test_a_refused_mail_that_names_a_refused_sign_in_is_judged_by_it() -> None:
    """The words stay the server's own, cause and cure are those of the sign-in."""
    line = (
        "530 5.7.57 Client not authenticated to send mail. Error: 535 5.7.139 Authentication unsuccessful, "
        "the user credentials were incorrect. [LO4P123CA0001.GBRP123.PROD.OUTLOOK.COM 2026-08-01T10:00:00.000Z 08DE]"
    )
    outer = _reply(line, Phase.MAIL)
    inner = _reply("535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", Phase.AUTH)
    assert judge(outer) == replace(judge(inner), reply=outer)
    assert judge_sign_in("535 5.7.139", outer, by_token=False) == judge_sign_in("535 5.7.139", inner, by_token=False)


def test_rules_without_defaults_are_refused_and_not_guessed() -> None:
    with pytest.raises(LookupError):
        judge(_reply("550 no", Phase.DOT), rules=())


def test_a_250_costs_next_to_nothing() -> None:
    """Every message meets it; a thousand must not be felt."""
    reply = Reply(250, "2.0.0", "OK <id@contoso.com> [Hostname=X.PROD.OUTLOOK.COM]", Phase.DOT)
    assert min(timeit.repeat(lambda: judge(reply), number=1000, repeat=5)) < 0.02


@pytest.mark.parametrize("filling", ["x", " ", "a.", "retry ", "Error: 5", "[", "STOREDRV.Submission.Exception: "])
def test_no_reply_of_8_kib_takes_long_to_judge(filling: str) -> None:
    """Whatever a hostile server writes, no row's pattern runs away."""
    reply = Reply(554, "5.2.0", (filling * 8192)[:8192], Phase.DOT)
    again = Reply(451, "4.7.0", (filling * 8192)[:8192], Phase.DOT)
    assert min(timeit.repeat(lambda: (judge(reply), judge(again)), number=1, repeat=3)) < 0.25


# ---------------------------------------------------------------- signing in

_DENIED_139 = "535 5.7.139 Authentication unsuccessful,"
_OFF = SignInKind.SWITCHED_OFF
_POLICY = SignInKind.POLICY
_WAITS = (900.0, 3600.0)
_SERVICE = (60.0, 300.0, 900.0)


@pytest.mark.parametrize(
    ("line", "kind", "by_password", "by_token"),
    [
        (f"{_DENIED_139} the user credentials were incorrect.", SignInKind.PASSWORD, (), ()),
        (f"{_DENIED_139} account locked. Contact your administrator.", SignInKind.LOCKED, (), ()),
        (f"{_DENIED_139} SmtpClientAuthentication is disabled for the Tenant.", _OFF, _WAITS, _WAITS),
        (f"{_DENIED_139} SmtpClientAuthentication is disabled for the Mailbox.", _OFF, _WAITS, _WAITS),
        (f"{_DENIED_139} basic authentication is disabled.", _OFF, _WAITS, _WAITS),
        (f"{_DENIED_139} the request did not meet the criteria to be", _POLICY, (), _WAITS),
        (f"{_DENIED_139} user is locked by your organization's security defaults policy.", _POLICY, (), _WAITS),
        (f"{_DENIED_139} federated STS service was unreachable.", SignInKind.SERVICE, _SERVICE, _SERVICE),
        (f"{_DENIED_139} something new", SignInKind.OTHER, (), (3600.0,)),
        ("550 5.7.30 Basic authentication is not supported", _OFF, _WAITS, _WAITS),
        ("504 5.7.4 Unrecognized authentication type", SignInKind.CLIENT, (), ()),
        ("501 5.5.124 Invalid XOAUTH2 auth data", SignInKind.CLIENT, (), ()),
        ("454 4.7.0 Temporary authentication failure", SignInKind.SERVICE, _SERVICE, _SERVICE),
        ("553 what", SignInKind.OTHER, (), (3600.0,)),
    ],
)  # fmt: skip
def test_a_refused_sign_in_says_whether_it_may_be_tried_unasked(
    line: str, kind: SignInKind, by_password: tuple[float, ...], by_token: tuple[float, ...]
) -> None:
    """Never a password that may be the wrong one, never a locked account."""
    reply = _reply(line, Phase.AUTH)
    for token, probes in ((False, by_password), (True, by_token)):
        verdict = judge_sign_in("the reason", reply, by_token=token)
        assert (verdict.kind, verdict.probes, verdict.reason) == (kind, probes, "the reason")
        assert verdict.cause
        assert verdict.cure


@pytest.mark.parametrize("line", ["535 5.7.3 Authentication unsuccessful [SN2PR]", "535 5.7.8 bad", "535 bad"])
def test_the_same_535_is_another_trouble_for_a_token_than_for_a_password(line: str) -> None:
    reply = _reply(line, Phase.AUTH)
    token = judge_sign_in("535 5.7.3", reply, by_token=True)
    password = judge_sign_in("535 5.7.3", reply, by_token=False)
    assert token.probes == (300.0, 900.0, 3600.0)
    assert token.kind is SignInKind.TOKEN
    assert password.probes == ()
    assert password.kind is SignInKind.PASSWORD


def test_the_checklist_for_a_token_that_is_accepted_nowhere_is_complete() -> None:
    """Object id, audience, role, kind of right, address, time, licence; with the commands."""
    cure = judge_sign_in("535 5.7.3", _reply("535 5.7.3 no", Phase.AUTH), by_token=True).cure
    for part in (
        "New-ServicePrincipal -AppId", "Enterprise applications", "https://outlook.office365.com/.default", "Graph",
        "Application SMTP.SendAsApp", "Test-ServicePrincipalAuthorization", "Add-MailboxPermission", "SMTP.Send ",
        "PrimarySmtpAddress", "90 minutes", "Licence",
    ):  # fmt: skip
        assert part in cure, part


@pytest.mark.parametrize("words", ["the user credentials were incorrect.", "the request did not meet the criteria"])
def test_a_refused_password_is_told_that_its_days_are_numbered(words: str) -> None:
    verdict = judge_sign_in("535 5.7.139", _reply(f"{_DENIED_139} {words}", Phase.AUTH), by_token=False)
    assert "end of December 2026" in verdict.cure


@pytest.mark.parametrize(
    ("code", "kind", "probes"),
    [
        ("AADSTS7000215", SignInKind.TOKEN, (300.0,)),
        ("AADSTS50053", SignInKind.LOCKED, ()),
        ("AADSTS50126", SignInKind.PASSWORD, ()),
        ("AADSTS53003", SignInKind.POLICY, (300.0,)),
        ("AADSTS9", SignInKind.TOKEN, (300.0,)),
        ("invalid_grant", SignInKind.TOKEN, (300.0,)),
        ("access_denied", SignInKind.TOKEN, (300.0,)),
    ],
)
def test_a_refusal_of_the_token_endpoint_is_asked_again_every_five_minutes(
    code: str, kind: SignInKind, probes: tuple[float, ...]
) -> None:
    verdict = judge_sign_in(code, by_token=True)
    assert (verdict.reason, verdict.kind, verdict.probes) == (code, kind, probes)


def test_an_operators_row_explains_a_sign_in_too() -> None:
    rows = operator_rows(
        [{"phase": "auth", "text": "something new", "outcome": "kept", "cause": "Ours.", "cure": "Do."}]
    )
    reply = _reply(f"{_DENIED_139} something new", Phase.AUTH)
    verdict = judge_sign_in("535 5.7.139", reply, by_token=False, rules=(*rows, *CATALOGUE))
    assert (verdict.cause, verdict.cure, verdict.probes) == ("Ours.", "Do.", ())


# ---------------------------------------------------------------- Entra


def test_every_known_code_of_entra_says_what_happened_and_what_to_do() -> None:
    for code, explanation in explanations().items():
        assert explain(f"AADSTS{code}") is explanation
        for sentence in (explanation.cause, explanation.cure):
            assert 15 <= len(sentence) <= 400, sentence
            assert sentence.endswith("."), sentence


def test_an_unknown_code_of_entra_leads_to_microsofts_page_for_it() -> None:
    assert "https://login.microsoftonline.com/error?code=1234567" in explain("AADSTS1234567").cure


def test_no_code_is_both_a_passing_trouble_and_a_refusal() -> None:
    assert TRANSIENT.isdisjoint(explanations())


def test_every_word_of_a_verdict_is_told_apart() -> None:
    """The words of the four lists are columns, labels and configuration: no list says one twice."""
    for kind in (Outcome, Scope, Effect, SignInKind):
        assert all(one.value != other.value for one, other in itertools.combinations(kind, 2))
