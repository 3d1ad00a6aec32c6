"""Which published keys are used, and for what."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.tokens.errors import InvalidToken
from app.tokens.keys import KeySet, StaticKeys, verification_key
from tests.unit.tokens.signed import EC_KEY, RSA_KEY, STRANGER, ec_jwk, rsa_jwk

ALLOWED = frozenset({"RS256", "ES256"})
TOO_FEW_BITS = 1024
SMALL = rsa.generate_private_key(65537, TOO_FEW_BITS)
P384 = ec.generate_private_key(ec.SECP384R1())


def key_set(*jwks: Any, algorithms: frozenset[str] = ALLOWED) -> KeySet:
    return KeySet.from_jwks({"keys": list(jwks)}, algorithms)


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "a", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "RS256"},
        rsa_jwk(SMALL, kid="a"),
        rsa_jwk(RSA_KEY, kid="a", use="enc"),
        rsa_jwk(RSA_KEY, kid="a", key_ops=["sign"]),
        rsa_jwk(RSA_KEY, kid="a", key_ops="verify"),
        rsa_jwk(RSA_KEY, kid="a", key_ops=5),
        rsa_jwk(RSA_KEY, kid="a", alg="HS256"),
        rsa_jwk(RSA_KEY, kid="a", alg="RS512"),
        rsa_jwk(RSA_KEY, kid="a", alg="rs256"),
        rsa_jwk(RSA_KEY, kid="a", alg=["RS256"]),
        rsa_jwk(RSA_KEY, kid="a", alg="ES256"),
        rsa_jwk(RSA_KEY, kid="a", alg=None),
        rsa_jwk(RSA_KEY, kid=7),
        rsa_jwk(RSA_KEY, kid=""),
        rsa_jwk(RSA_KEY, kid="a", n="AQ"),
        rsa_jwk(RSA_KEY, kid="a", n=5),
        rsa_jwk(RSA_KEY, kid="a", e="AA"),
        RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True) | {"kid": "a", "key_ops": ["verify"]},
        ECAlgorithm.to_jwk(EC_KEY, as_dict=True) | {"kid": "a"},
        ec_jwk(P384, kid="a"),
        ec_jwk(P384, kid="a", alg="ES256"),
        ec_jwk(EC_KEY, kid="a", crv="P-384"),
        ec_jwk(EC_KEY, kid="a", x="AA"),
        ec_jwk(EC_KEY, kid="a", y=ec_jwk(EC_KEY)["x"]),
        ec_jwk(EC_KEY, kid="a", crv=None),
        {"kid": "a"},
        {},
        "RSA",
        None,
    ],
    ids=lambda jwk: "" if isinstance(jwk, dict) else None,
)
def test_a_key_that_is_not_for_these_signatures_is_left_out(jwk: Any) -> None:
    good = rsa_jwk(STRANGER, kid="good")

    keys = key_set(jwk, good)

    assert len(keys) == 1
    assert "good" in keys


@pytest.mark.parametrize(
    ("jwk", "allowed", "algorithm"),
    [
        (rsa_jwk(RSA_KEY), {"RS256", "ES256"}, "RS256"),
        (rsa_jwk(RSA_KEY), {"RS256", "PS256", "RS512"}, "RS256"),
        (rsa_jwk(RSA_KEY), {"PS256"}, "PS256"),
        (rsa_jwk(RSA_KEY), {"PS256", "PS512"}, None),
        (rsa_jwk(RSA_KEY, alg="PS256"), {"RS256", "PS256"}, "PS256"),
        (ec_jwk(EC_KEY), {"ES256", "ES384"}, "ES256"),
        (ec_jwk(P384), {"ES256", "ES384"}, "ES384"),
        (ec_jwk(EC_KEY, alg="ES256"), {"RS256"}, None),
    ],
)
def test_a_key_has_one_algorithm(
    jwk: dict[str, Any], allowed: set[str], algorithm: str | None
) -> None:
    key = verification_key(jwk, frozenset(allowed))

    assert (key.algorithm if key else None) == algorithm


def test_a_key_is_used_with_its_algorithm_only() -> None:
    keys = key_set(rsa_jwk(RSA_KEY, kid="a"), algorithms=frozenset({"RS256", "PS256"}))

    assert keys.get("a", "RS256").kid == "a"
    with pytest.raises(InvalidToken, match="algorithm"):
        keys.get("a", "PS256")


def test_of_two_keys_with_one_name_neither_is_used() -> None:
    keys = key_set(
        rsa_jwk(RSA_KEY, kid="a"),
        rsa_jwk(STRANGER, kid="a"),
        ec_jwk(EC_KEY, kid="a"),
        ec_jwk(EC_KEY, kid="b"),
    )

    assert "a" not in keys
    assert keys.get("b", "ES256").kid == "b"


def test_a_token_need_not_name_the_only_key() -> None:
    assert key_set(rsa_jwk(RSA_KEY, kid="a")).get(None, "RS256").kid == "a"
    assert key_set(rsa_jwk(RSA_KEY)).get(None, "RS256").kid is None


def test_a_token_has_to_name_one_of_several_keys() -> None:
    keys = key_set(rsa_jwk(RSA_KEY, kid="a"), ec_jwk(EC_KEY, kid="b"))

    with pytest.raises(InvalidToken):
        keys.get(None, "RS256")


def test_a_key_without_a_name_is_not_found_by_one() -> None:
    with pytest.raises(InvalidToken):
        key_set(rsa_jwk(RSA_KEY)).get("None", "RS256")


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": "a"}], ids=str)
def test_a_document_without_a_list_of_keys_is_no_key_set(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="JWK Set"):
        KeySet.from_jwks(document, ALLOWED)


async def test_static_keys_refuse_what_they_do_not_have() -> None:
    key = verification_key(ec_jwk(EC_KEY, kid="a"), ALLOWED)
    assert key is not None
    keys = StaticKeys([key])

    assert await keys.key("a", "ES256") is key
    with pytest.raises(InvalidToken):
        await keys.key("b", "ES256")
