"""Writes ``docs/replies.md`` from the catalogue, so that page and behaviour cannot differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from app.mail.aadsts import TRANSIENT, explanations
from app.mail.replies import auth, content, envelope, session
from app.mail.reply import Phase
from app.mail.rule import Effect, Outcome, Row, Scope

_HEAD: Final = """\
# Replies: what happened, whose matter it is, what to do

This page is made from the catalogue in `app/mail/replies`; change the rows there and run `make generated`.

The first row that fits a reply counts: rows of your own (`[[replies]]` in `postroom.toml`) first, then the sections
below from top to bottom, special before general, and last the class of the reply. A reply is judged by its phase, its
reply code, its enhanced status code and its words together. Diagnostics of Exchange (`[BeginDiagnosticData]…`) are
left out before that. Placeholders in capitals stand for your own names; `NAME` is the mailbox's in `postroom.toml`.

| The page says | It means |
|---|---|
| sent | The server said 250 to the message. |
| deferred | Tried again by the schedule; counts as a try. |
| rejected | Refused for good. |
| kept | Not this message's fault. It stays pending, no try is counted, and it goes when the trouble is over. |
| parks the mailbox | The mailbox stops until the credential changes, an allowed probe succeeds, or `postroom mailbox resume NAME`. |
| parks the connection | The same for every mailbox of the connection: the organisation is meant. |
| strike (family) | Counts against the sender; at the second one the sender is held, so that Exchange does not block the mailbox. |

"""  # noqa: E501 (a table row is one line)

_OPERATOR: Final = """\
## Rows of your own

```toml
[[replies]]
phase = "dot"                  # connect, starttls, auth, mail, rcpt, data, dot; leave it out for any
code = 554                     # or "4xx", "5xx"
enhanced = "5.2.0"             # "5.7.*" fits them all
text = "Exception:NewName"     # regular expression, found anywhere in the words, without regard to case
outcome = "deferred"           # deferred, rejected, kept
scope = "message"              # recipient, message, sender, mailbox, connection, session
wait = "30m"
cause = "What happened."
cure = "What to do."
```

At least one of `code`, `enhanced` and `text` is needed. `kept` needs the scope mailbox or connection (they are parked,
for `wait` where it is given) or session (a new one is opened); `rejected` with scope sender counts against the sender
as a Send-As refusal does. Of a positive reply nothing else can be said.
"""

_PARKS: Final = {Scope.MAILBOX: "parks the mailbox", Scope.CONNECTION: "parks the connection"}
_EFFECTS: Final = {
    Effect.NARROW: "one session fewer for ten minutes",
    Effect.DAY_FULL: "the mailbox waits for room in its day",
    Effect.EXTERNAL_DAY_FULL: "external mail of the connection waits for room in its day",
    Effect.RECONNECT: "a new session is opened",
}


def render_markdown() -> str:
    """Return the whole page."""
    parts = [
        _HEAD,
        _section("The session", "Any phase, unless a row says otherwise. Never a try of a message.", session.ROWS),
        _section(
            "Signing in",
            "Passwords (app passwords too) are basic authentication, which Microsoft switches off by default at the "
            f"end of December {auth.BASIC_AUTH_ENDS.year}. A 4xx here never parks a mailbox.",
            auth.ROWS,
        ),
        _section("The envelope", "MAIL and RCPT, and what is said of sender, recipients and size.", envelope.ROWS),
        _section(
            "The content", "Most of Exchange's refusals come after the content has been sent whole.", content.ROWS
        ),
        _section("Everything else", "What no row above knows.", session.DEFAULTS),
        _entra(),
        _OPERATOR,
    ]
    return "".join(parts)


def _section(title: str, about: str, rows: Iterable[Row]) -> str:
    lines = [f"## {title}", "", about, "", "| Reply | Phase | Outcome | Cause | Cure |", "|---|---|---|---|---|"]
    columns: tuple[Callable[[Row], str], ...] = (_reply, _phases, _outcome, lambda row: row.cause or "", _cure)
    lines += ["| " + " | ".join(_cell(column(row)) for column in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n\n"


def _reply(row: Row) -> str:
    code = {None: "any", 4: "4xx", 5: "5xx"}.get(row.code, str(row.code))
    enhanced = ", ".join("none" if each == "-" else each for each in row.enhanced)
    words = row.text.pattern.replace(r"\s+", " ").replace(r"\s*", "").replace("\\", "") if row.text else ""
    shown = " ".join(part for part in (f"{code} {enhanced}".strip(), f"`{words}`" if words else "") if part)
    method = {None: "", True: " (with a token)", False: " (with a password)"}[row.by_token]
    return shown + method


def _phases(row: Row) -> str:
    return ", ".join(phase for phase in Phase if phase in row.phases) or "any"


def _outcome(row: Row) -> str:
    if row.looks_inside:
        return "as the reply within"
    parts = [row.outcome.value, row.scope.value]
    if row.effect is Effect.PARK:
        parts.append(_PARKS[row.scope])
    elif row.effect is Effect.STRIKE:
        parts.append(f"strike ({row.family})")
    elif row.effect is not Effect.NONE:
        parts.append(_EFFECTS[row.effect])
    if row.wait is not None and row.outcome is not Outcome.KEPT:
        parts.append(f"waits {row.wait:.0f} s at least")
    if row.alerts:
        parts.append("an alert at first sight")
    return "; ".join(parts)


def _cure(row: Row) -> str:
    return row.cure or "By the schedule." if row.outcome is Outcome.DEFERRED else row.cure or ""


def _entra() -> str:
    lines = [
        "## Refusals of the token endpoint",
        "",
        "A refusal that a person must mend parks the mailboxes of the connection; it is probed every five minutes and "
        "released at once by a changed credential. A wrong password and a locked account are never probed. Tried again "
        f"by themselves: {', '.join(f'AADSTS{code}' for code in sorted(TRANSIENT))}.",
        "",
        "| Code | Cause | Cure |",
        "|---|---|---|",
    ]
    lines += [f"| AADSTS{code} | {_cell(each.cause)} | {_cell(each.cure)} |" for code, each in explanations().items()]
    lines.append("| any other | Entra refuses. | See `https://login.microsoftonline.com/error?code=` and its number. |")
    return "\n".join(lines) + "\n\n"


def _cell(text: str) -> str:
    """Return a text that cannot break out of its cell."""
    return text.replace("|", "\\|").replace("\n", " ")
