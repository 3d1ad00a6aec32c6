"""Proofs of possession (RFC 9449): what the holder makes is taken once, anything else never."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.contract.dpop import ProofKey, thumbprint, token_hash
from app.tokens.dpop import ProofChecker
from app.tokens.errors import InvalidProof, InvalidToken
from tests.unit.tokens.signed import (
    EC_KEY,
    ES256,
    NOW,
    RS256,
    RSA_KEY,
    b64,
    build_claims,
    ec_jwk,
    rsa_jwk,
    signed,
    user_claims,
    verifier,
)

TOKEN = "the.access.token"
API = "https://builds.example.com/baton"
PATH = "/builds/bld_1/claim"
KEY = ProofKey(EC_KEY)
OTHER = ProofKey.generate()
PUBLIC = {name: ec_jwk(EC_KEY)[name] for name in ("crv", "kty", "x", "y")}


class Checker(ProofChecker):
    def __init__(self) -> None:
        self.used: set[str] = set()

        async def first_use(name: str, seconds: float) -> bool:
            assert seconds > 120
            new = name not in self.used
            self.used.add(name)
            return new

        super().__init__([API, "http://api:8080"], first_use, clock=lambda: NOW)

    async def look_at(self, raw: str) -> str:
        found = self.check(raw, method="POST", path=PATH, token=TOKEN)
        await self.use(found)
        return found.jkt


def proof(header: dict[str, Any] | None = None, key: Any = EC_KEY, **changes: Any) -> str:
    claims = {
        "jti": "one",
        "htm": "POST",
        "htu": API + PATH,
        "iat": NOW,
        "ath": token_hash(TOKEN),
    } | changes
    members = {"typ": "dpop+jwt", "alg": "ES256", "jwk": PUBLIC} | (header or {})
    text = ".".join(
        b64(json.dumps({k: v for k, v in part.items() if v is not None}).encode())
        for part in (members, claims)
    )
    algorithm = RS256 if members["alg"] == "RS256" else ES256
    return f"{text}.{b64(algorithm.sign(text.encode(), key))}"


@pytest.mark.parametrize(
    "url",
    [
        API + PATH,
        "HTTPS://BUILDS.example.com:443/baton" + PATH,
        "http://api:8080" + PATH,
        API + PATH + "?limit=1#top",
    ],
)
async def test_the_holders_proof_names_its_key(url: str) -> None:
    assert await Checker().look_at(proof(htu=url)) == KEY.jkt


async def test_a_proof_of_the_workers_own_making_is_taken() -> None:
    used: set[str] = set()

    async def first_use(name: str, _: float) -> bool:
        used.add(name)
        return True

    checker = ProofChecker([API], first_use)
    for _ in range(2):
        made = KEY.proof("PUT", API + PATH, TOKEN)
        found = checker.check(made, method="PUT", path=PATH, token=TOKEN)
        await checker.use(found)
        assert found.jkt == KEY.jkt
    assert len(used) == 2


async def test_a_proof_is_taken_once() -> None:
    checker = Checker()
    await checker.look_at(proof())
    with pytest.raises(InvalidProof, match="used before"):
        await checker.look_at(proof())
    await checker.look_at(proof(jti="two"))


PRIVATE = {**PUBLIC, "d": b64(EC_KEY.private_numbers().private_value.to_bytes(32, "big"))}
WRONG: dict[str, str] = {
    "nothing": "",
    "no JWT": "proof",
    "an access token": signed(user_claims()),
    "typ JWT": proof({"typ": "JWT"}),
    "no typ": proof({"typ": None}),
    "no key": proof({"jwk": None}),
    "a key as text": proof({"jwk": json.dumps(PUBLIC)}),
    "a private key": proof({"jwk": PRIVATE}),
    "another key": proof({"jwk": {**PUBLIC, **ec_jwk(ec.generate_private_key(ec.SECP256R1()))}}),
    "an RSA key": proof({"jwk": rsa_jwk(RSA_KEY), "alg": "RS256"}, key=RSA_KEY),
    "alg none": proof({"alg": "none"}),
    "crit": proof({"crit": ["b64"]}),
    "no jti": proof(jti=None),
    "an empty jti": proof(jti=""),
    "a long jti": proof(jti="x" * 513),
    "another method": proof(htm="PUT"),
    "the method in small letters": proof(htm="post"),
    "another path": proof(htu=API + "/builds/bld_2/claim"),
    "another host": proof(htu="https://evil.example.com/baton" + PATH),
    "another scheme": proof(htu="http://builds.example.com/baton" + PATH),
    "another port": proof(htu="https://builds.example.com:8443/baton" + PATH),
    "no port at all": proof(htu="https://builds.example.com:x/baton" + PATH),
    "a list of URLs": proof(htu=[API + PATH]),
    "no URL": proof(htu=None),
    "long ago": proof(iat=NOW - 61),
    "to come": proof(iat=NOW + 61),
    "a time as text": proof(iat=str(NOW)),
    "another token": proof(ath=token_hash("an.other.token")),
    "no token": proof(ath=None),
}


@pytest.mark.parametrize("raw", WRONG.values(), ids=WRONG.keys())
async def test_any_other_proof_is_refused_and_leaves_no_trace(raw: str) -> None:
    checker = Checker()
    with pytest.raises(InvalidProof):
        await checker.look_at(raw)
    assert not checker.used


async def test_a_changed_signature_is_refused() -> None:
    text, _, signature = proof().rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[5] ^= 1
    with pytest.raises(InvalidProof):
        await Checker().look_at(f"{text}.{b64(bytes(raw))}")


# ── tokens that are bound ─────────────────────────────────────────────────────────────────────


async def test_a_bound_token_is_taken_from_its_holder_alone() -> None:
    user = signed(user_claims(cnf={"jkt": KEY.jkt}))
    build = signed(build_claims(cnf={"jkt": KEY.jkt}))
    checks = verifier()
    assert (await checks.user(user, KEY.jkt)).user_id == "auth0|ann"
    assert (await checks.build(build, KEY.jkt)).user_id == "auth0|ann"
    for jkt in (None, OTHER.jkt):
        with pytest.raises(InvalidToken, match="bound to"):
            await checks.user(user, jkt)
        with pytest.raises(InvalidToken, match="bound to"):
            await checks.build(build, jkt)


async def test_a_token_that_is_not_bound_is_no_dpop_token() -> None:
    with pytest.raises(InvalidToken, match="bound to no key"):
        await verifier().user(signed(user_claims()), KEY.jkt)


@pytest.mark.parametrize(
    "cnf",
    [
        {},
        [],
        "jkt",
        None,
        {"jkt": ""},
        {"jkt": 1},
        {"jkt": [KEY.jkt]},
        {"x5t#S256": KEY.jkt},
        {"jkt": KEY.jkt, "x5t#S256": KEY.jkt},
        {"jwk": PUBLIC},
    ],
    ids=range(10),
)
@pytest.mark.parametrize("jkt", [None, KEY.jkt], ids=["bearer", "holder"])
async def test_a_binding_that_is_not_understood_opens_nothing(cnf: Any, jkt: str | None) -> None:
    claims = json.dumps({**user_claims(), "cnf": cnf}).encode()
    with pytest.raises(InvalidToken):
        await verifier().user(signed(claims), jkt)


async def test_where_workers_have_keys_only_their_tokens_report() -> None:
    checks = verifier(worker_keys=frozenset({KEY.jkt}))
    await checks.build(signed(build_claims(cnf={"jkt": KEY.jkt})), KEY.jkt)
    with pytest.raises(InvalidToken, match="not bound to a key of this API's workers"):
        await checks.build(signed(build_claims()))
    with pytest.raises(InvalidToken, match="not bound to a key of this API's workers"):
        await checks.build(signed(build_claims(cnf={"jkt": OTHER.jkt})), OTHER.jkt)
    await checks.user(signed(user_claims()))


# ── keys ──────────────────────────────────────────────────────────────────────────────────────


def test_the_thumbprint_is_rfc_7638s() -> None:
    jwk = {
        "kty": "EC",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "crv": "P-256",
    }
    assert thumbprint(jwk) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"  # RFC 9449 §6.1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("no key")
    file.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        ProofKey.load(file)
    file.chmod(0o600)
    with pytest.raises(ValueError, match=r"key\.pem cannot be used as a key"):
        ProofKey.load(file)
    with pytest.raises(ValueError, match="No such file"):
        ProofKey.load(tmp_path / "none")
