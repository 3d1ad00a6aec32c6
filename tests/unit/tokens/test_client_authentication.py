"""How the minting client authenticates: what each way sends, and what it never shows."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import jwt
import pytest

from app.tokens.errors import KeyFileError
from app.tokens.minting.client_authentication import (
    ASSERTION_TYPE,
    AssertionAlg,
    AssertionKey,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
)
from app.tokens.signing_key import SigningKey

ISSUER = "https://example.eu.auth0.com/"
NOW = 1_800_000_000.7
RSA, EC = SigningKey.generate("RS256"), SigningKey.generate("ES256")


def read(assertion: str, key: AssertionKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of an assertion, its signature checked with the public key."""
    public = jwt.PyJWK(key.public_jwk)
    claims = jwt.decode(
        assertion,
        public,
        algorithms=[key.alg],
        options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
    )
    return jwt.get_unverified_header(assertion), claims


def assertion_of(key: AssertionKey, audience: str = ISSUER) -> str:
    credentials = PrivateKeyJwt("baton", key, audience=audience, clock=lambda: NOW).credentials()
    return credentials.members["client_assertion"]


# ── secrets ───────────────────────────────────────────────────────────────────────────────────


def test_post_sends_the_secret_in_the_body_and_nowhere_else() -> None:
    credentials = ClientSecretPost(client_id="baton", client_secret="s&=+%").credentials()

    assert credentials.members == {"client_id": "baton", "client_secret": "s&=+%"}
    assert not credentials.headers


def test_basic_sends_the_secret_in_the_header_and_nowhere_else() -> None:
    credentials = ClientSecretBasic(client_id="baton", client_secret="secret").credentials()

    assert not credentials.members
    assert credentials.headers == {"Authorization": "Basic YmF0b246c2VjcmV0"}


@pytest.mark.parametrize(
    ("client_id", "client_secret"),
    [
        ("https://baton.example.com:8443/", "s3cret"),
        ("baton", "a:b"),
        ("baton", "100% + more & = ?"),
        ("bätön", "ünsafe 字"),
        ("a%3Ab", "%"),
    ],
)
def test_basic_encodes_both_halves_so_that_they_can_be_told_apart(
    client_id: str, client_secret: str
) -> None:
    header = ClientSecretBasic(client_id=client_id, client_secret=client_secret).credentials()

    scheme, _, encoded = header.headers["Authorization"].partition(" ")
    pair = base64.b64decode(encoded, validate=True).decode("ascii")
    assert scheme == "Basic"
    assert pair.count(":") == 1
    assert tuple(map(unquote_plus, pair.split(":"))) == (client_id, client_secret)


@pytest.mark.parametrize("way", [ClientSecretPost, ClientSecretBasic])
def test_a_secret_is_not_shown(way: type[ClientSecretPost | ClientSecretBasic]) -> None:
    authentication = way(client_id="baton", client_secret="s3cret")

    shown = repr(authentication) + repr(authentication.credentials())
    assert "s3cret" not in shown
    assert "YmF0b24" not in shown
    assert authentication.redact("your s3cret is wrong") == "your *** is wrong"


# ── private_key_jwt ───────────────────────────────────────────────────────────────────────────


def test_an_assertion_says_who_asks_whom_and_for_how_long() -> None:
    key = AssertionKey(RSA)
    authentication = PrivateKeyJwt("baton", key, audience=ISSUER, clock=lambda: NOW)

    members = authentication.credentials().members

    _, claims = read(members["client_assertion"], key)
    assert set(members) == {"client_id", "client_assertion_type", "client_assertion"}
    assert members["client_assertion_type"] == ASSERTION_TYPE
    assert claims.pop("jti")
    assert claims == {
        "iss": "baton",
        "sub": "baton",
        "aud": ISSUER,  # one string: an assertion for several providers works at each of them
        "iat": 1_800_000_000,
        "exp": 1_800_000_060,
    }


def test_each_request_has_an_assertion_of_its_own() -> None:
    key = AssertionKey(EC)

    found = {read(assertion_of(key), key)[1]["jti"] for _ in range(50)}

    assert len(found) == 50


@pytest.mark.parametrize(
    ("signing", "alg", "expected"),
    [(RSA, None, "RS256"), (RSA, "RS256", "RS256"), (RSA, "PS256", "PS256"), (EC, None, "ES256")],
)
def test_an_assertion_is_signed_with_the_algorithm_of_the_client(
    signing: SigningKey, alg: AssertionAlg | None, expected: str
) -> None:
    key = AssertionKey(signing, alg=alg)

    header, _ = read(assertion_of(key), key)

    assert header == {"alg": expected, "typ": "JWT", "kid": signing.kid}
    assert (key.public_jwk["alg"], key.public_jwk["kid"]) == (expected, signing.kid)
    assert "d" not in key.public_jwk


def test_a_kid_that_the_provider_gave_is_used_as_it_is() -> None:
    key = AssertionKey(EC, kid="made up by the provider")

    assert read(assertion_of(key), key)[0]["kid"] == "made up by the provider"


@pytest.mark.parametrize(("signing", "alg"), [(RSA, "ES256"), (EC, "RS256"), (EC, "PS256")])
def test_a_key_that_cannot_do_the_algorithm_is_refused(
    signing: SigningKey, alg: AssertionAlg
) -> None:
    with pytest.raises(ValueError, match="this key signs with"):
        AssertionKey(signing, alg=alg)


def test_neither_key_nor_assertion_is_shown() -> None:
    authentication = PrivateKeyJwt("baton", AssertionKey(EC), audience=ISSUER)

    credentials = authentication.credentials()
    shown = repr(authentication) + repr(credentials)
    assert credentials.members["client_assertion"] not in shown
    assert "PRIVATE KEY" not in shown


# ── the key's file ────────────────────────────────────────────────────────────────────────────


def pem_file(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "client.pem"
    path.write_bytes(RSA.pem())
    path.chmod(mode)
    return path


def test_the_key_is_read_from_a_pem_file(tmp_path: Path) -> None:
    key = AssertionKey.load(pem_file(tmp_path), alg="PS256", kid="k1")

    assert (key.alg, key.kid) == ("PS256", "k1")
    assert key.public_jwk["n"] == RSA.public_jwk()["n"]


def test_a_key_file_that_is_missing_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "client.pem"

    with pytest.raises(KeyFileError, match=r"client\.pem does not exist"):
        AssertionKey.load(path)
    assert not path.exists()


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="chmod 600"):
        AssertionKey.load(pem_file(tmp_path, 0o640))


def test_a_key_file_with_a_key_of_the_wrong_kind_for_the_algorithm_is_named(
    tmp_path: Path,
) -> None:
    path = pem_file(tmp_path)

    with pytest.raises(KeyFileError, match=r"client\.pem: this key signs with RS256 or PS256"):
        AssertionKey.load(path, alg="ES256")
