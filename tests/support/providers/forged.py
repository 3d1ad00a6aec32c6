"""Tokens as no library would make them: signed by the right key, to the byte that a test wants."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.providers.authority import Authority, b64

Claims = dict[str, Any]
#: A token from the claims of a good one.
Forge = Callable[[Authority, Claims], str]


def header_of(authority: Authority, **changes: Any) -> Claims:
    """The header of a good token; None takes a member away."""
    members = {"alg": "RS256", "typ": "JWT", "kid": authority.kid} | changes
    return {name: value for name, value in members.items() if value is not None}


def signed(authority: Authority, payload: bytes, header: bytes | None = None, **more: Any) -> str:
    """These very bytes with a good signature; `more` changes the good header."""
    head = json.dumps(header_of(authority, **more)).encode() if header is None else header
    signing_input = f"{b64(head)}.{b64(payload)}"
    return f"{signing_input}.{b64(signature(authority, signing_input))}"


def signature(authority: Authority, signing_input: str) -> bytes:
    made: bytes = jwt.get_algorithm_by_name("RS256").sign(signing_input.encode(), authority.key)
    return made


def resigned(**header: Any) -> Forge:
    """The good claims under another header; None takes a member away."""
    return lambda a, c: signed(a, json.dumps(c).encode(), **header)


def strangers_without_kid(authority: Authority, claims: Claims) -> str:
    """Where the issuer has one key, a token may leave its name out (RFC 7515 §4.1.4)."""
    head = b64(json.dumps(header_of(authority, kid=None)).encode())
    signing_input = f"{head}.{b64(json.dumps(claims).encode())}"
    rs256 = jwt.get_algorithm_by_name("RS256")
    return f"{signing_input}.{b64(rs256.sign(signing_input.encode(), authority.stranger))}"


def headed(header: str | bytes) -> Forge:
    """The good claims under these bytes as header; `KID` in them stands for the good kid."""
    raw = header.encode() if isinstance(header, str) else header
    return lambda a, c: signed(a, json.dumps(c).encode(), raw.replace(b"KID", a.kid.encode()))


def claiming(**changes: Any) -> Forge:
    """The good claims, changed."""
    return lambda a, c: signed(a, json.dumps(c | changes).encode())


def lacking(*names: str) -> Forge:
    return lambda a, c: signed(
        a, json.dumps({k: v for k, v in c.items() if k not in names}).encode()
    )


def moved(name: str, seconds: float) -> Forge:
    """A time claim so many seconds after the good `iat`."""
    return lambda a, c: signed(a, json.dumps(c | {name: c["iat"] + seconds}).encode())


def written(member: str, without: str = "") -> Forge:
    """The good claims and one more member as JSON text, so that JSON can say what Python cannot."""

    def forge(authority: Authority, claims: Claims) -> str:
        kept = {name: value for name, value in claims.items() if name != without}
        return signed(authority, f"{json.dumps(kept)[:-1]}, {member}}}".encode())

    return forge


def bytes_of(change: Callable[[bytes], bytes]) -> Forge:
    """The good claims' JSON, changed as bytes before it is signed."""
    return lambda a, c: signed(a, change(json.dumps(c).encode()))


def spelled(change: Callable[[str, str, str], str]) -> Forge:
    """The three parts of a good token, put together otherwise."""

    def forge(authority: Authority, claims: Claims) -> str:
        header, payload, made = authority.sign(claims).split(".")
        return change(header, payload, made)

    return forge


def unsigned(alg: str, *, with_signature: bool = False) -> Forge:
    def forge(authority: Authority, claims: Claims) -> str:
        head = json.dumps(header_of(authority, alg=alg)).encode()
        made = authority.sign(claims).rpartition(".")[2] if with_signature else ""
        return f"{b64(head)}.{b64(json.dumps(claims).encode())}.{made}"

    return forge


def hmac_signed(alg: str, secret: Callable[[Authority], bytes]) -> Forge:
    """An HMAC whose secret is something that everyone knows (RFC 8725 §2.1)."""
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]

    def forge(authority: Authority, claims: Claims) -> str:
        head = json.dumps(header_of(authority, alg=alg)).encode()
        signing_input = f"{b64(head)}.{b64(json.dumps(claims).encode())}"
        made = hmac.new(secret(authority), signing_input.encode(), digest).digest()
        return f"{signing_input}.{b64(made)}"

    return forge


def public_pem(authority: Authority) -> bytes:
    return authority.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_der(authority: Authority) -> bytes:
    return authority.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_jwk(authority: Authority) -> bytes:
    return json.dumps(authority.jwks()["keys"][0]).encode()


def by_stranger(**header: Any) -> Forge:
    """Signed with a key that nobody publishes."""
    return lambda a, c: a.sign_as_stranger(c, **header)


def stranger_jwk(authority: Authority) -> Claims:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(authority.stranger.public_key(), as_dict=True)
    return {**jwk, "kid": authority.kid}


def rsa_signed(scheme: padding.AsymmetricPadding, digest: hashes.HashAlgorithm) -> Forge:
    """The right key, but another signature scheme than the `alg` says."""

    def forge(authority: Authority, claims: Claims) -> str:
        signing_input, _, _ = authority.sign(claims).rpartition(".")
        made = authority.key.sign(signing_input.encode(), scheme, digest)
        return f"{signing_input}.{b64(made)}"

    return forge


def signature_changed(change: Callable[[bytes], bytes]) -> Forge:
    def forge(authority: Authority, claims: Claims) -> str:
        signing_input, _, _ = authority.sign(claims).rpartition(".")
        return f"{signing_input}.{b64(change(signature(authority, signing_input)))}"

    return forge


def last_bits_changed(segment: str) -> str:
    """Another spelling of the same bytes: the bits that padding would have cut off."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(segment) % 4, "this segment has no bits to spare"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) ^ 1]
