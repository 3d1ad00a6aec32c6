"""Tokens signed with a real key, down to the byte: whatever a test wants to see refused."""

import base64
import json
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.tokens.keys import StaticKeys, VerificationKey, verification_key
from app.tokens.verifier import Policy, TrustedIssuer, Verifier

NOW: Final = 1_800_000_000
ISSUER: Final = "https://tenant.example.com/"
OTHER_ISSUER: Final = "https://other.example.com/"
AUDIENCE: Final = "https://api.example.com/"
MINT_AUDIENCE: Final = "https://builds.example.com/"
NAMESPACE: Final = "https://example.com/"
CLIENT: Final = "baton-api"
BUILD: Final = "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV"
LEEWAY: Final = 30

RSA_KEY: Final = rsa.generate_private_key(65537, 2048)
EC_KEY: Final = ec.generate_private_key(ec.SECP256R1())
STRANGER: Final = rsa.generate_private_key(65537, 2048)  # nobody publishes it

RS256: Final = RSAAlgorithm(RSAAlgorithm.SHA256)
ES256: Final = ECAlgorithm(ECAlgorithm.SHA256)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rsa_jwk(key: rsa.RSAPrivateKey, **members: Any) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "use": "sig", **members}


def ec_jwk(key: ec.EllipticCurvePrivateKey, **members: Any) -> dict[str, Any]:
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "use": "sig", **members}


def usable(jwk: dict[str, Any], *algorithms: str) -> VerificationKey:
    key = verification_key(jwk, frozenset(algorithms))
    assert key is not None
    return key


def user_claims(**changes: Any) -> dict[str, Any]:
    """Auth0's default dialect; None takes a claim away."""
    claims = {
        "iss": ISSUER,
        "sub": "auth0|ann",
        "aud": [AUDIENCE, f"{ISSUER}userinfo"],
        "azp": "spa",
        "iat": NOW,
        "exp": NOW + 3600,
        "scope": "openid read:builds create:builds update:builds",
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def build_claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": ISSUER,
        "sub": f"{CLIENT}@clients",
        "aud": MINT_AUDIENCE,
        "azp": CLIENT,
        "gty": "client-credentials",
        "iat": NOW,
        "exp": NOW + 86400,
        "scope": "update:builds",
        f"{NAMESPACE}user_id": "auth0|ann",
        f"{NAMESPACE}build_id": BUILD,
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(
    claims: dict[str, Any] | bytes,
    header: dict[str, Any] | bytes | None = None,
    *,
    key: rsa.RSAPrivateKey = RSA_KEY,
    **changes: Any,
) -> str:
    """An RS256 token; bytes are taken as they are, and None takes a header member away."""
    if not isinstance(header, bytes):
        members = {"alg": "RS256", "typ": "JWT", "kid": "rsa", **(header or {}), **changes}
        header = json.dumps({k: v for k, v in members.items() if v is not None}).encode()
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    signing_input = f"{b64(header)}.{b64(payload)}"
    return f"{signing_input}.{b64(RS256.sign(signing_input.encode(), key))}"


def signed_es256(claims: dict[str, Any], **header: Any) -> str:
    members = {"alg": "ES256", "typ": "JWT", "kid": "ec", **header}
    signing_input = f"{b64(json.dumps(members).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signing_input}.{b64(ES256.sign(signing_input.encode(), EC_KEY))}"


def verifier(**policy: Any) -> Verifier:
    """Trusts two issuers, each with keys of its own; its clock stands at `NOW`."""
    rules: dict[str, Any] = {
        "audience": AUDIENCE,
        "mint_audience": MINT_AUDIENCE,
        "namespace": NAMESPACE,
        "minting_clients": frozenset({CLIENT}),
        "delegated": frozenset({"update:builds"}),
        "leeway": LEEWAY,
    }
    algorithms = frozenset({"RS256", "ES256"})
    keys = [
        usable(rsa_jwk(RSA_KEY, kid="rsa"), "RS256"),
        usable(ec_jwk(EC_KEY, kid="ec"), "ES256"),
    ]
    others = [usable(rsa_jwk(STRANGER, kid="rsa"), "RS256")]
    return Verifier(
        [
            TrustedIssuer(issuer=ISSUER, keys=StaticKeys(keys), algorithms=algorithms),
            TrustedIssuer(issuer=OTHER_ISSUER, keys=StaticKeys(others), algorithms=algorithms),
        ],
        Policy(**rules | policy),
        clock=lambda: NOW,
    )
