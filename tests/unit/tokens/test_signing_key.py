"""The own key, and the file that keeps it."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from app.tokens.claims import UnverifiedToken
from app.tokens.errors import KeyFileError
from app.tokens.signing_key import Alg, SigningKey, _thumbprint

TOO_FEW_BITS = 1024


def write_pem(
    path: Path, key: Any, encryption: KeySerializationEncryption | None = None, mode: int = 0o600
) -> None:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    )


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_a_key_is_made_once_and_then_loaded(tmp_path: Path, alg: Alg) -> None:
    path = tmp_path / "new directory" / "key.pem"

    made = SigningKey.load_or_create(path, alg)
    loaded = SigningKey.load_or_create(path)

    assert made.alg == loaded.alg == alg
    assert made.public_jwk() == loaded.public_jwk()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["key.pem"]


def test_processes_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    together = Barrier(8)

    def start(_: int) -> str:
        together.wait(10)
        return SigningKey.load_or_create(tmp_path / "key.pem").kid

    with ThreadPoolExecutor(8) as pool:
        kids = set(pool.map(start, range(8)))

    assert len(kids) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    write_pem(path, ec.generate_private_key(ec.SECP256R1()), mode=mode)

    with pytest.raises(KeyFileError, match=r"key\.pem.*chmod 600"):
        SigningKey.load_or_create(path)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (rsa.generate_private_key(65537, TOO_FEW_BITS), "2048"),
        (ec.generate_private_key(ec.SECP384R1()), "P-256"),
        (ed25519.Ed25519PrivateKey.generate(), "EC key"),
    ],
    ids=["small RSA", "P-384", "Ed25519"],
)
def test_a_key_that_no_token_is_signed_with_is_refused(tmp_path: Path, key: Any, why: str) -> None:
    write_pem(tmp_path / "key.pem", key)

    with pytest.raises(KeyFileError, match=why):
        SigningKey.load_or_create(tmp_path / "key.pem")


def test_a_key_behind_a_password_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    write_pem(tmp_path / "key.pem", key, BestAvailableEncryption(b"password"))

    with pytest.raises(KeyFileError):
        SigningKey.load_or_create(tmp_path / "key.pem")


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes(content)

    with pytest.raises(KeyFileError):
        SigningKey.load_or_create(path)
    assert path.read_bytes() == content


def test_a_directory_in_the_keys_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        SigningKey.load_or_create(tmp_path)


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_what_is_published_lets_nobody_sign(alg: Alg) -> None:
    key = SigningKey.generate(alg)

    assert set(key.public_jwk()) <= {"kty", "crv", "x", "y", "n", "e", "alg", "use", "kid"}
    assert key.public_jwk()["kid"] == key.kid
    assert repr(key) == f"SigningKey(alg={alg!r}, kid={key.kid!r})"


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_what_a_key_signs_its_public_half_verifies(alg: Alg) -> None:
    key, other = SigningKey.generate(alg), SigningKey.generate(alg)

    token = UnverifiedToken.parse(key.sign({"a": 1}, typ="at+jwt"))

    assert token.unverified_header == {"alg": alg, "kid": key.kid, "typ": "at+jwt"}
    assert key.verification_key().verify(token.signing_input, token.signature)
    assert not other.verification_key().verify(token.signing_input, token.signature)


def test_the_name_of_a_key_is_its_thumbprint() -> None:
    """The example of RFC 7638 §3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE"
        "CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Q"
        "vzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6"
        "WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )

    assert _thumbprint({"e": "AQAB", "kty": "RSA", "n": n}) == (
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    )
