"""Every refusal has a cause and a cure."""

import re

import pytest

from app.signin import aadsts
from app.signin.aadsts import TRANSIENT, explain


def _known() -> list[str]:
    return [f"AADSTS{code}" for code in aadsts._TABLE] + list(aadsts._WORDS)


@pytest.mark.parametrize("code", _known())
def test_a_known_code_says_what_happened_and_what_to_do(code: str) -> None:
    explanation = explain(code)
    for sentence in (explanation.cause, explanation.cure):
        assert re.fullmatch(r"[^\n]{15,400}[.]", sentence), sentence


def test_an_unknown_code_leads_to_microsofts_page_for_it() -> None:
    assert "https://login.microsoftonline.com/error?code=1234567" in explain("AADSTS1234567").cure


@pytest.mark.parametrize("code", ["access_denied", "AADSTS", "AADSTSx", ""])
def test_an_unknown_word_is_explained_too(code: str) -> None:
    assert explain(code).cause
    assert explain(code).cure


@pytest.mark.parametrize("code", [7000215, 7000222, 700016, 90002, 700027, 700082, 700213, 500011, 53003])
def test_the_codes_relays_meet_have_their_own_words(code: int) -> None:
    assert explain(f"AADSTS{code}") != explain("AADSTS1")


def test_no_code_is_both_a_passing_trouble_and_a_refusal() -> None:
    assert TRANSIENT.isdisjoint(aadsts._TABLE)
