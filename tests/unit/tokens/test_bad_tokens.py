"""Tokens that must not pass, one by one: each signed by the right key unless its name says no."""

import hashlib
import hmac
import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings, strategies as st

from app.tokens.claims import MAX_TOKEN, UnverifiedToken
from app.tokens.errors import InvalidToken, TokenError
from tests.unit.tokens.signed import (
    AUDIENCE,
    EC_KEY,
    ES256,
    ISSUER,
    LEEWAY,
    NOW,
    OTHER_ISSUER,
    RSA_KEY,
    STRANGER,
    b64,
    build_claims,
    rsa_jwk,
    signed,
    signed_es256,
    user_claims,
    verifier,
)

#: RFC 6750 §3: what an `error_description` may consist of.
QUOTABLE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")

GOOD = signed(user_claims())
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")

#: The order of P-256: (r, n - s) verifies whenever (r, s) does.
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def claims_text(*more: str, without: str = "") -> bytes:
    """The good claims with members added as text, so that JSON can say what Python cannot."""
    claims = {name: value for name, value in user_claims().items() if name != without}
    return (json.dumps(claims)[:-1] + "".join(f", {member}" for member in more) + "}").encode()


def unsigned(alg: str) -> str:
    return f"{b64(json.dumps({'alg': alg, 'typ': 'JWT', 'kid': 'rsa'}).encode())}.{PAYLOAD}."


def hmac_with_the_public_key() -> str:
    secret = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = b64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).encode())
    digest = hmac.new(secret, f"{header}.{PAYLOAD}".encode(), hashlib.sha256).digest()
    return f"{header}.{PAYLOAD}.{b64(digest)}"


def ecdsa_signature(raw: bytes) -> str:
    return f"{signed_es256(user_claims()).rpartition('.')[0]}.{b64(raw)}"


def last_bits_changed(segment: str) -> str:
    """Another spelling of the same bytes: the bits that padding would have cut off."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(segment) % 4, "this segment has no bits to spare"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) ^ 1]


def json_serialization() -> str:
    return json.dumps({"payload": PAYLOAD, "protected": HEADER, "signature": SIGNATURE})


NOT_A_JWT = "not a signed JWT"
CLAIM = "the claim {} is missing"

BAD: dict[str, tuple[str, str]] = {
    # what is no JWS to the letter
    "nothing": ("", NOT_A_JWT),
    "too long": (signed(user_claims(more="x" * MAX_TOKEN)), "too long"),
    "two segments": (f"{HEADER}.{PAYLOAD}", NOT_A_JWT),
    "four segments": (f"{GOOD}.{SIGNATURE}", NOT_A_JWT),
    "five segments, like a JWE": (f"{GOOD}.{SIGNATURE}.{SIGNATURE}", NOT_A_JWT),
    "JSON serialization": (json_serialization(), NOT_A_JWT),
    "a space in front": (f" {GOOD}", NOT_A_JWT),
    "a newline at the end": (f"{GOOD}\n", NOT_A_JWT),
    "a newline within": (f"{HEADER}\n.{PAYLOAD}.{SIGNATURE}", NOT_A_JWT),
    "other letters than base64url's": (f"{HEADER}.{PAYLOAD}.é{SIGNATURE}", NOT_A_JWT),
    "base64 instead of base64url": (f"{HEADER}.{PAYLOAD}.+/{SIGNATURE}", NOT_A_JWT),
    "padding on the signature": (f"{GOOD}==", NOT_A_JWT),
    "padding on the payload": (f"{HEADER}.{PAYLOAD}==.{SIGNATURE}", NOT_A_JWT),
    "signature spelled otherwise": (
        f"{HEADER}.{PAYLOAD}.{last_bits_changed(SIGNATURE)}",
        NOT_A_JWT,
    ),
    "header of one stray letter": (f"A.{PAYLOAD}.{SIGNATURE}", NOT_A_JWT),
    # what is no JSON object, or two at once
    "payload is a list": (signed(b"[]"), NOT_A_JWT),
    "payload is not JSON": (signed(b"{'iss': 1}"), NOT_A_JWT),
    "payload in UTF-16": (signed(json.dumps(user_claims()).encode("utf-16")), NOT_A_JWT),
    "payload in UTF-16 without BOM": (
        signed(json.dumps(user_claims()).encode("utf-16-le")),
        NOT_A_JWT,
    ),
    "payload with a BOM": (signed(b"\xef\xbb\xbf" + claims_text()), NOT_A_JWT),
    "payload not UTF-8": (signed(claims_text('"a": "\xff"').replace(b"\xc3", b"")), NOT_A_JWT),
    "NaN": (signed(claims_text('"a": NaN')), NOT_A_JWT),
    "Infinity": (signed(claims_text('"exp": Infinity', without="exp")), NOT_A_JWT),
    "a number that overflows": (signed(claims_text('"a": 1e400')), NOT_A_JWT),
    "a number of 5000 digits": (signed(claims_text('"a": ' + "1" * 5000)), NOT_A_JWT),
    "half a surrogate pair": (signed(claims_text('"a": "\\ud800"')), NOT_A_JWT),
    "claim twice": (signed(claims_text('"sub": "auth0|eve"')), NOT_A_JWT),
    "member twice, deep down": (signed(claims_text('"a": [{"b": 1, "b": 2}]')), NOT_A_JWT),
    "header member twice": (
        signed(user_claims(), b'{"alg":"none","alg":"RS256","kid":"rsa"}'),
        NOT_A_JWT,
    ),
    "nested 30 deep": (signed(claims_text('"a": ' + "[" * 30 + "]" * 30)), NOT_A_JWT),
    "nested 2500 deep": (signed(claims_text('"a": ' + "[" * 2500 + "]" * 2500)), NOT_A_JWT),
    # signatures and algorithms
    "alg none": (unsigned("none"), NOT_A_JWT),
    "alg noNe": (unsigned("noNe"), NOT_A_JWT),
    "alg none with a signature": (unsigned("none") + SIGNATURE, "algorithm"),
    "alg in lower case": (signed(user_claims(), alg="rs256"), "algorithm"),
    "alg missing": (signed(user_claims(), alg=None), "algorithm"),
    "alg a list": (signed(user_claims(), alg=["RS256"]), "algorithm"),
    "alg not allowed": (signed(user_claims(), alg="RS512"), "algorithm"),
    "HS256 with the public key as secret": (hmac_with_the_public_key(), "algorithm"),
    "alg of another key": (signed(user_claims(), alg="ES256"), "algorithm"),
    "kid of another key": (signed(user_claims(), kid="ec"), "algorithm"),
    "kid unknown": (signed(user_claims(), kid="../../etc/passwd"), "does not publish"),
    "kid a number": (signed(user_claims(), kid=1), "kid"),
    "kid missing, with two keys": (signed(user_claims(), kid=None), "does not publish"),
    "signed by a stranger": (signed(user_claims(), key=STRANGER), "signature"),
    "signed by a stranger whose key it brings": (
        signed(user_claims(), key=STRANGER, jwk=rsa_jwk(STRANGER)),
        "signature",
    ),
    "signed by a stranger whose key it points to": (
        signed(user_claims(), key=STRANGER, jku="https://evil.example/keys"),
        "signature",
    ),
    "claims changed": (".".join([HEADER, b64(claims_text('"a": 1')), SIGNATURE]), "signature"),
    "signature of another token": (f"{GOOD.rpartition('.')[0]}.{b64(b'x' * 256)}", "signature"),
    "signature too short": (f"{GOOD.rpartition('.')[0]}.AAAA", "signature"),
    "ECDSA signature in DER": (ecdsa_signature(encode_dss_signature(1, 1)), "signature"),
    "ECDSA with r = s = 0": (ecdsa_signature(bytes(64)), "signature"),
    # header extensions and types
    "crit empty": (signed(user_claims(), crit=[]), "extensions"),
    "crit unknown": (signed(user_claims(), crit=["exp"], exp=1), "extensions"),
    "crit with b64 true": (signed(user_claims(), crit=["b64"], b64=True), "extensions"),
    "b64 false": (signed(user_claims(), crit=["b64"], b64=False), "extensions"),
    "b64 false, not critical": (signed(user_claims(), b64=False), "extensions"),
    "typ of a DPoP proof": (signed(user_claims(), typ="dpop+jwt"), "typ"),
    "typ of a security event": (signed(user_claims(), typ="secevent+jwt"), "typ"),
    "typ of a logout": (signed(user_claims(), typ="logout+jwt"), "typ"),
    "typ empty": (signed(user_claims(), typ=""), "typ"),
    "typ a list": (signed(user_claims(), typ=["JWT"]), "typ"),
    # whose, for whom, until when
    "iss without its slash": (signed(user_claims(iss=ISSUER.rstrip("/"))), "issuer"),
    "iss in upper case": (signed(user_claims(iss=ISSUER.upper())), "issuer"),
    "iss a list": (signed(user_claims(iss=[ISSUER])), "issuer"),
    "iss missing": (signed(user_claims(iss=None)), "issuer"),
    "iss of another issuer that is trusted too": (
        signed(user_claims(iss=OTHER_ISSUER)),
        "signature",
    ),
    "aud of another API": (signed(user_claims(aud="https://other.example/")), "audience"),
    "aud only userinfo": (signed(user_claims(aud=[f"{ISSUER}userinfo"])), "audience"),
    "aud a prefix of ours": (signed(user_claims(aud=AUDIENCE.rstrip("/"))), "audience"),
    "aud missing": (signed(user_claims(aud=None)), CLAIM.format("aud")),
    "aud empty": (signed(user_claims(aud=[])), CLAIM.format("aud")),
    "aud an object": (signed(user_claims(aud={AUDIENCE: 1})), CLAIM.format("aud")),
    "aud a list with an object": (signed(user_claims(aud=[AUDIENCE, {}])), CLAIM.format("aud")),
    "aud endless": (signed(user_claims(aud=[AUDIENCE] * 33)), CLAIM.format("aud")),
    "exp over": (signed(user_claims(exp=NOW - LEEWAY)), "expired"),
    "exp missing": (signed(user_claims(exp=None)), CLAIM.format("exp")),
    "exp a string": (signed(user_claims(exp=str(NOW + 60))), CLAIM.format("exp")),
    "exp true": (signed(user_claims(exp=True)), CLAIM.format("exp")),
    "exp 10^300": (signed(user_claims(exp=10**300)), CLAIM.format("exp")),
    "exp 1e300": (signed(user_claims(exp=1e300)), CLAIM.format("exp")),
    "exp negative": (signed(user_claims(exp=-1)), CLAIM.format("exp")),
    "exp an object": (signed(user_claims(exp={})), CLAIM.format("exp")),
    "nbf to come": (signed(user_claims(nbf=NOW + LEEWAY + 1)), "not valid yet"),
    "nbf a string": (signed(user_claims(nbf=str(NOW))), CLAIM.format("nbf")),
    "iat to come": (signed(user_claims(iat=NOW + LEEWAY + 1)), "not valid yet"),
    "iat missing": (signed(user_claims(iat=None)), CLAIM.format("iat")),
    "iat a string": (signed(user_claims(iat=str(NOW))), CLAIM.format("iat")),
    # who
    "sub empty": (signed(user_claims(sub="")), CLAIM.format("sub")),
    "sub missing": (signed(user_claims(sub=None)), CLAIM.format("sub")),
    "sub a number": (signed(user_claims(sub=7)), CLAIM.format("sub")),
    "sub with a newline": (signed(user_claims(sub="ann\nadmin")), CLAIM.format("sub")),
    "sub with a NUL": (signed(user_claims(sub="ann\0")), CLAIM.format("sub")),
    "sub endless": (signed(user_claims(sub="a" * 513)), CLAIM.format("sub")),
    "no client": (signed(user_claims(azp=None)), "client"),
    "client_id and azp disagree": (signed(user_claims(client_id="x")), "client"),
    "azp a list": (signed(user_claims(azp=["spa"])), CLAIM.format("azp")),
    "gty a list": (signed(user_claims(gty=["client-credentials"])), "gty"),
    "scope a list": (signed(user_claims(scope=["update:builds"])), "scope"),
    "scope with a tab": (signed(user_claims(scope="read:builds\tupdate:builds")), "scope"),
    "scope with a quote": (signed(user_claims(scope='"')), "scope"),
    "bound to a DPoP key": (signed(user_claims(cnf={"jkt": "x"})), "bound"),
    "bound to a certificate": (signed(user_claims(cnf={"x5t#S256": "x"})), "bound"),
    "bound, emptily": (signed(claims_text('"cnf": null')), "bound"),
    # RFC 9068's own demands
    "at+jwt without jti": (signed(user_claims(client_id="spa"), typ="at+jwt"), "jti"),
    "at+jwt without client_id": (signed(user_claims(jti="1"), typ="at+jwt"), "client_id"),
    "at+jwt with an empty jti": (
        signed(user_claims(client_id="spa", jti=""), typ="at+jwt"),
        "jti",
    ),
}


@pytest.mark.parametrize(("bad", "why"), BAD.values(), ids=BAD)
async def test_a_bad_token_is_refused_for_what_is_wrong_with_it(bad: str, why: str) -> None:
    checks = verifier()

    for check in (checks.user, checks.build, checks.claims):
        with pytest.raises(InvalidToken, match=re.escape(why)) as refusal:
            await check(bad)
        assert QUOTABLE.fullmatch(str(refusal.value))


GOOD_ONES: dict[str, str] = {
    "Auth0's dialect": GOOD,
    "typ absent": signed(user_claims(), typ=None),
    "typ in lower case": signed(user_claims(), typ="jwt"),
    "RFC 9068": signed(user_claims(azp=None, client_id="spa", jti="1"), typ="at+jwt"),
    "RFC 9068, type in full": signed(
        user_claims(client_id="spa", jti="1"), typ="application/AT+JWT"
    ),
    "ES256": signed_es256(user_claims()),
    "aud a string": signed(user_claims(aud=AUDIENCE)),
    "exp over by less than the leeway": signed(user_claims(exp=NOW - LEEWAY + 1)),
    "exp a fraction": signed(user_claims(exp=NOW + 0.5)),
    "iat to come by less than the leeway": signed(user_claims(iat=NOW + LEEWAY)),
    "nbf to come by less than the leeway": signed(user_claims(nbf=NOW + LEEWAY)),
    "header brings a key that nobody looks at": signed(user_claims(), jwk=rsa_jwk(STRANGER)),
    "acted for, with an actor's own claims": signed(
        user_claims(act={"sub": "service", "exp": 1, "aud": "x", "act": {"sub": "older"}})
    ),
}


@pytest.mark.parametrize("good", GOOD_ONES.values(), ids=GOOD_ONES)
async def test_a_good_token_names_its_user(good: str) -> None:
    user = await verifier().user(good)

    assert user.user_id == "auth0|ann"
    assert user.client_id == "spa"
    assert user.scopes == {"openid", "read:builds", "create:builds", "update:builds"}


async def test_neither_permissions_nor_custom_claims_widen_a_user_token() -> None:
    token = signed(
        user_claims(
            scope="read:builds",
            permissions=["update:builds"],
            scp=["create:builds"],
            **{f"{name}": "auth0|eve" for name in ("https://example.com/user_id", "user_id")},
        )
    )

    user = await verifier().user(token)

    assert user.scopes == {"read:builds"}
    assert user.user_id == "auth0|ann"


async def test_a_token_without_scope_has_none() -> None:
    assert (await verifier().user(signed(user_claims(scope=None)))).scopes == frozenset()


async def test_every_spelling_of_an_ecdsa_signature_is_the_same_token() -> None:
    token = signed_es256(build_claims())
    signing_input, _, _ = token.rpartition(".")
    raw = UnverifiedToken.parse(token).signature
    s = P256_ORDER - int.from_bytes(raw[32:])
    respelled = f"{signing_input}.{b64(raw[:32] + s.to_bytes(32))}"
    assert respelled != token

    first, second = [await verifier().build(each) for each in (token, respelled)]

    assert first.token_id == second.token_id


async def test_tokens_that_differ_have_other_ids() -> None:
    first = await verifier().build(signed(build_claims(jti="1")))
    second = await verifier().build(signed(build_claims(jti="2")))

    assert first.token_id != second.token_id


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.sampled_from("ABCxyz019-_.=+/ \n\0é"))
async def test_no_letter_of_a_token_can_be_changed(at: int, letter: str) -> None:
    changed = GOOD[:at] + letter + GOOD[at + 1 :]
    if changed == GOOD:
        return

    with pytest.raises(InvalidToken):
        await verifier().user(changed)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary().map(b64), st.lists(st.binary(), max_size=5)))
def test_junk_is_refused_and_never_a_surprise(junk: str | list[bytes]) -> None:
    raw = junk if isinstance(junk, str) else ".".join(map(b64, junk))

    with pytest.raises(InvalidToken):
        UnverifiedToken.parse(raw)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*build_claims(), "nbf", "cnf", "jti"]), JSON_VALUES)
async def test_whatever_a_claim_holds_the_answer_is_a_token_error_or_a_principal(
    name: str, value: Any
) -> None:
    checks = verifier()
    for claims in (user_claims(), build_claims()):
        token = signed_es256(claims | {name: value})
        for check in (checks.user, checks.build):
            said = "in order"
            try:
                await check(token)
            except TokenError as error:
                said = str(error)
            assert QUOTABLE.fullmatch(said)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "cty", "zip"]),
        JSON_VALUES,
        min_size=1,
        max_size=3,
    )
)
async def test_whatever_a_header_holds_the_answer_is_a_token_error_or_a_principal(
    members: dict[str, Any],
) -> None:
    checks = verifier()
    for claims in (user_claims(), build_claims()):
        head = {"alg": "ES256", "typ": "JWT", "kid": "ec"} | members
        signing_input = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
        token = f"{signing_input}.{b64(ES256.sign(signing_input.encode(), EC_KEY))}"
        for check in (checks.user, checks.build):
            said = "in order"
            try:
                await check(token)
            except TokenError as error:
                said = str(error)
            assert QUOTABLE.fullmatch(said)


def test_a_token_does_not_show_what_it_says() -> None:
    token = UnverifiedToken.parse(signed(user_claims(sub="secret-name")))

    assert "secret-name" not in repr(token)
