"""Sealing: what comes out is what went in, for those with a key and the same purpose alone."""

import base64

import pytest
from hypothesis import given, strategies as st

from app.contract.sealing import Seal, Unsealable, new_key


@given(st.text(), st.text())
def test_what_was_sealed_opens(secret: str, purpose: str) -> None:
    seal = Seal([new_key()])
    assert seal.open(seal.seal(secret, purpose=purpose), purpose=purpose) == secret


def test_nothing_of_the_secret_is_seen() -> None:
    sealed = Seal([new_key()]).seal("header.payload.signature", purpose="bld_1")
    assert "payload" not in sealed
    assert b"payload" not in base64.urlsafe_b64decode(sealed)


def test_the_same_secret_is_never_sealed_alike() -> None:
    seal = Seal([new_key()])
    assert seal.seal("a", purpose="b") != seal.seal("a", purpose="b")


def test_it_opens_for_no_other_purpose() -> None:
    seal = Seal([new_key()])
    with pytest.raises(Unsealable, match="another purpose"):
        seal.open(seal.seal("a", purpose="bld_1"), purpose="bld_2")


def test_it_opens_with_no_other_key() -> None:
    sealed = Seal([new_key()]).seal("a", purpose="b")
    with pytest.raises(Unsealable, match="key"):
        Seal([new_key()]).open(sealed, purpose="b")


def test_keys_change_without_a_gap() -> None:
    old, new = new_key(), new_key()
    before, between, after = Seal([old]), Seal([new, old]), Seal([new])
    assert between.open(before.seal("a", purpose="b"), purpose="b") == "a"
    assert after.open(between.seal("a", purpose="b"), purpose="b") == "a"
    with pytest.raises(Unsealable):
        after.open(before.seal("a", purpose="b"), purpose="b")


def test_a_changed_byte_is_noticed() -> None:
    seal = Seal([new_key()])
    sealed = seal.seal("a", purpose="b")
    for place in range(0, len(sealed) - 2, 7):
        other = "A" if sealed[place] != "A" else "B"
        with pytest.raises(Unsealable):
            seal.open(sealed[:place] + other + sealed[place + 1 :], purpose="b")


@pytest.mark.parametrize("rubbish", ["", "a.b.c", "gAAAA", "é", "\x00", "=" * 1000])
def test_rubbish_is_refused(rubbish: str) -> None:
    with pytest.raises(Unsealable):
        Seal([new_key()]).open(rubbish, purpose="b")


@pytest.mark.parametrize("keys", [[], ["short"], [new_key(), "x" * 44], ["é"]])
def test_a_key_that_is_none_is_refused_and_not_shown(keys: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^(there is no key|a key must be 32 bytes)") as error:
        Seal(keys)
    assert not any(key in str(error.value) for key in keys)
