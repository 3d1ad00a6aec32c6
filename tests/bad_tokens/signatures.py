"""Algorithms, keys and signatures: RFC 8725 §3.1, §3.2, §3.10, RFC 7515 §4.1."""

import json
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.support.providers.authority import Authority, b64
from tests.support.providers.forged import (
    Claims,
    Forge,
    by_stranger,
    headed,
    hmac_signed,
    public_der,
    public_jwk,
    public_pem,
    resigned,
    rsa_signed,
    signature_changed,
    spelled,
    stranger_jwk,
    strangers_without_kid,
    unsigned,
)

EVIL: Final = "https://evil.example.com"


def with_own_key(member: str, value: Any = None) -> Forge:
    """A stranger's token that brings the stranger's key."""

    def forge(authority: Authority, claims: Claims) -> str:
        jwk = stranger_jwk(authority)
        brought = value or (jwk if member == "jwk" else [jwk])
        return authority.sign_as_stranger(claims, **{member: brought})

    return forge


def payload_changed(authority: Authority, claims: Claims) -> str:
    header, _, made = authority.sign(claims).split(".")
    return f"{header}.{b64(json.dumps(claims | {'sub': 'auth0|bob'}).encode())}.{made}"


SIGNATURES: Final[dict[str, Forge]] = {
    "alg none": unsigned("none"),
    "alg nOnE": unsigned("nOnE"),
    "alg NONE": unsigned("NONE"),
    "alg none, signed": unsigned("none", with_signature=True),
    "alg None, signed": unsigned("None", with_signature=True),
    "alg empty": resigned(alg=""),
    "alg in lower case": resigned(alg="rs256"),
    "alg with a space": resigned(alg="RS256 "),
    "alg missing": resigned(alg=None),
    "alg null": headed('{"alg": null, "kid": "KID"}'),
    "alg a list": resigned(alg=["RS256"]),
    "alg a number": resigned(alg=256),
    "alg an object": resigned(alg={"RS256": True}),
    "alg RS384": resigned(alg="RS384"),
    "alg RS512": resigned(alg="RS512"),
    "alg PS256": resigned(alg="PS256"),
    "alg ES256": resigned(alg="ES256"),
    "alg ES256K": resigned(alg="ES256K"),
    "alg EdDSA": resigned(alg="EdDSA"),
    "alg Ed25519": resigned(alg="Ed25519"),
    "alg RSA-OAEP": resigned(alg="RSA-OAEP"),
    "alg dir": resigned(alg="dir"),
    "alg PBES2": resigned(alg="PBES2-HS256+A128KW", p2c=2**31 - 1, p2s="salt"),
    "HS256 with the public key": hmac_signed("HS256", public_pem),
    "HS256 with the public key, stripped": hmac_signed("HS256", lambda a: public_pem(a).strip()),
    "HS256 with the public key in DER": hmac_signed("HS256", public_der),
    "HS256 with the public JWK": hmac_signed("HS256", public_jwk),
    "HS256 with the kid": hmac_signed("HS256", lambda a: a.kid.encode()),
    "HS256 with nothing": hmac_signed("HS256", lambda _: b""),
    "HS384 with the public key": hmac_signed("HS384", public_pem),
    "HS512 with the public key": hmac_signed("HS512", public_pem),
    "PSS under RS256": rsa_signed(padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    "SHA-512 under RS256": rsa_signed(padding.PKCS1v15(), hashes.SHA512()),
    "SHA-1 under RS256": rsa_signed(padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303  refused
    "signature of zeros": signature_changed(lambda s: bytes(len(s))),
    "signature of ones": signature_changed(lambda s: b"\xff" * len(s)),
    "signature of one": signature_changed(lambda s: b"\0" * (len(s) - 1) + b"\1"),
    "signature a byte shorter": signature_changed(lambda s: s[:-1]),
    "signature a byte longer": signature_changed(lambda s: s + b"\0"),
    "signature with a zero in front": signature_changed(lambda s: b"\0" + s),
    "signature backwards": signature_changed(lambda s: s[::-1]),
    "signature one bit off": signature_changed(lambda s: bytes([s[0] ^ 1]) + s[1:]),
    "signature of another token": spelled(lambda h, p, _: f"{h}.{p}.{'A' * 342}"),
    "payload changed": payload_changed,
    "header changed": spelled(lambda _, p, s: b64(b'{"alg":"RS256"}') + f".{p}.{s}"),
    "a stranger's signature": by_stranger(),
    "a stranger's signature, no kid": strangers_without_kid,
    "jwk of its own": with_own_key("jwk"),
    "jwks of its own": with_own_key("jwks"),
    "x5c of its own": with_own_key("x5c", ["MIIB"]),
    "jku": by_stranger(jku=f"{EVIL}/jwks.json"),
    "jku to the inside": by_stranger(jku="http://169.254.169.254/latest/meta-data"),
    "jku to a file": by_stranger(jku="file:///etc/passwd"),
    "x5u": by_stranger(x5u=f"{EVIL}/cert.pem"),
    "x5t": by_stranger(x5t="A" * 27),
    "kid unknown": resigned(kid="no-such-key"),
    "kid empty": resigned(kid=""),
    "kid a path": by_stranger(kid="../../../../dev/null"),
    "kid a URL": by_stranger(kid=f"{EVIL}/key"),
    "kid SQL": by_stranger(kid="x' UNION SELECT 'secret' --"),
    "kid a command": by_stranger(kid="| cat /etc/passwd"),
    "kid a template": by_stranger(kid="{{7*7}}${7*7}%s"),
    "kid with a line break": by_stranger(kid="the-key\r\nX-Injected: 1"),
    "kid with a NUL": by_stranger(kid="the-key\0"),
    "kid endless": by_stranger(kid="k" * 3000),
    "kid a number": resigned(kid=7),
    "kid null": headed('{"alg": "RS256", "kid": null}'),
    "kid a list": resigned(kid=["the-key"]),
    "kid an object": resigned(kid={"the-key": 1}),
    "kid in upper case": resigned(kid="THE-KEY"),
}
