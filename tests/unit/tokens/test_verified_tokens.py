"""A token's signature is verified once; all else about it is asked again for each call."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, strategies as st

from app.tokens.errors import InvalidToken, KeysUnavailable, WrongKind
from app.tokens.keys import KeySet, VerificationKey
from app.tokens.verifier import Policy, TrustedIssuer, Verifier
from tests.unit.tokens.signed import (
    AUDIENCE,
    CLIENT,
    ISSUER,
    LEEWAY,
    MINT_AUDIENCE,
    NAMESPACE,
    NOW,
    RSA_KEY,
    STRANGER,
    b64,
    build_claims,
    rsa_jwk,
    signed,
    usable,
    user_claims,
)

GOOD = signed(user_claims())


@dataclass(kw_only=True)
class Issuer:
    """A `KeySource` whose keys change, and that counts what they are asked to verify."""

    now: float = NOW
    verified: int = 0
    away: bool = False
    keys: list[VerificationKey] = field(default_factory=list)

    def publish(self, *jwks: dict[str, str]) -> None:
        issuer = self

        class CountingKey(VerificationKey):
            def verify(self, signing_input: bytes, signature: bytes) -> bool:
                issuer.verified += 1
                return VerificationKey.verify(self, signing_input, signature)

        found = [usable(jwk, "RS256") for jwk in jwks]
        self.keys = [CountingKey(kid=k.kid, algorithm=k.algorithm, jwk=k.jwk) for k in found]

    async def key(self, kid: str | None, algorithm: str) -> VerificationKey:
        if self.away:
            raise KeysUnavailable(1.0)
        return KeySet(self.keys).get(kid, algorithm)

    def verifier(self, *, max_cached_tokens: int = 100) -> Verifier:
        policy = Policy(
            audience=AUDIENCE,
            mint_audience=MINT_AUDIENCE,
            namespace=NAMESPACE,
            minting_clients=frozenset({CLIENT}),
            delegated=frozenset({"update:builds"}),
            leeway=LEEWAY,
        )
        trusted = TrustedIssuer(issuer=ISSUER, keys=self, algorithms=frozenset({"RS256"}))
        return Verifier(
            [trusted], policy, clock=lambda: self.now, max_cached_tokens=max_cached_tokens
        )


@pytest.fixture
def issuer() -> Issuer:
    found = Issuer()
    found.publish(rsa_jwk(RSA_KEY, kid="rsa"))
    return found


async def test_the_second_call_verifies_no_signature(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    first = await verifier.user(GOOD)
    assert await verifier.user(GOOD) == first
    assert issuer.verified == 1


async def test_both_kinds_of_token_are_remembered(issuer: Issuer) -> None:
    verifier, raw = issuer.verifier(), signed(build_claims())
    assert await verifier.build(raw) == await verifier.build(raw)
    assert issuer.verified == 1


async def test_a_remembered_token_is_still_of_one_kind(issuer: Issuer) -> None:
    verifier, raw = issuer.verifier(), signed(build_claims())
    await verifier.build(raw)
    await verifier.user(GOOD)
    with pytest.raises(WrongKind):
        await verifier.user(raw)
    with pytest.raises(WrongKind):
        await verifier.build(GOOD)


async def test_a_remembered_token_is_still_bound_to_its_key(issuer: Issuer) -> None:
    verifier, raw = issuer.verifier(), signed(user_claims(cnf={"jkt": "ann's"}))
    await verifier.user(raw, "ann's")
    for jkt in ("eve's", None):
        with pytest.raises(InvalidToken):
            await verifier.user(raw, jkt)
    await verifier.user(GOOD)
    with pytest.raises(InvalidToken):
        await verifier.user(GOOD, "ann's")


async def test_a_remembered_token_ends_as_any_other(issuer: Issuer) -> None:
    verifier, end = issuer.verifier(), NOW + 100
    raw = signed(user_claims(exp=end))
    await verifier.user(raw)
    issuer.now = end + LEEWAY - 1
    await verifier.user(raw)
    issuer.now = end + LEEWAY
    with pytest.raises(InvalidToken, match="expired"):
        await verifier.user(raw)


async def test_nothing_is_remembered_beyond_its_end(issuer: Issuer) -> None:
    verifier, end = issuer.verifier(), NOW + 100
    raw = signed(user_claims(exp=end))
    issuer.now = end - 0.5
    await verifier.user(raw)
    issuer.now = end  # within the leeway: good, and looked at in full each time
    for _ in range(3):
        await verifier.user(raw)
    assert issuer.verified == 4


async def test_a_fraction_of_a_second_counts(issuer: Issuer) -> None:
    verifier, end = issuer.verifier(), NOW + 100.25
    raw = signed(user_claims(exp=end))
    await verifier.user(raw)
    issuer.now = end + LEEWAY - 0.125
    await verifier.user(raw)
    issuer.now = end + LEEWAY
    with pytest.raises(InvalidToken, match="expired"):
        await verifier.user(raw)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_a_clock_that_is_set_back_is_before_the_beginning_again(
    issuer: Issuer, claim: str
) -> None:
    verifier, raw = issuer.verifier(), signed(user_claims(**{claim: NOW}))
    await verifier.user(raw)
    issuer.now = NOW - LEEWAY - 1
    with pytest.raises(InvalidToken, match="not valid yet"):
        await verifier.user(raw)


async def test_a_key_that_is_gone_takes_its_tokens_with_it(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    await verifier.user(GOOD)
    issuer.publish(rsa_jwk(RSA_KEY, kid="another"))
    with pytest.raises(InvalidToken):
        await verifier.user(GOOD)


async def test_another_key_of_the_same_name_verifies_anew(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    await verifier.user(GOOD)
    issuer.publish(rsa_jwk(STRANGER, kid="rsa"))
    with pytest.raises(InvalidToken, match="signature is wrong"):
        await verifier.user(GOOD)
    issuer.publish(rsa_jwk(RSA_KEY, kid="rsa"))
    await verifier.user(GOOD)


async def test_a_token_without_kid_is_of_the_only_key(issuer: Issuer) -> None:
    verifier, raw = issuer.verifier(), signed(user_claims(), kid=None)
    await verifier.user(raw)
    issuer.publish(rsa_jwk(STRANGER, kid="rsa"))
    with pytest.raises(InvalidToken):
        await verifier.user(raw)
    issuer.publish(rsa_jwk(RSA_KEY, kid="rsa"), rsa_jwk(STRANGER, kid="other"))
    with pytest.raises(InvalidToken):
        await verifier.user(raw)


async def test_keys_that_cannot_be_known_are_no_excuse(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    await verifier.user(GOOD)
    issuer.away = True
    with pytest.raises(KeysUnavailable):
        await verifier.user(GOOD)


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("AZaz09-_.=é\ud800"))
async def test_a_twin_of_a_remembered_token_is_another_token(place: int, other: str) -> None:
    issuer = Issuer()
    issuer.publish(rsa_jwk(RSA_KEY, kid="rsa"))
    verifier = issuer.verifier()
    await verifier.user(GOOD)
    twin = GOOD[:place] + other + GOOD[place + 1 :]
    if twin == GOOD:
        return
    for _ in range(2):
        with pytest.raises(InvalidToken):
            await verifier.user(twin)
    await verifier.user(GOOD)
    assert issuer.verified <= 3  # the good one's once, the twin's each time


async def test_a_good_signature_lends_itself_to_no_other_claims(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    await verifier.user(GOOD)
    header, payload, signature = GOOD.split(".")
    other = signed(user_claims(sub="auth0|eve"), key=STRANGER).split(".")
    for twin in ([header, other[1], signature], [header, payload, other[2]]):
        with pytest.raises(InvalidToken, match="signature is wrong"):
            await verifier.user(".".join(twin))
    empty = b64(b"")
    with pytest.raises(InvalidToken):
        await verifier.user(f"{header}.{payload}.{empty}")


async def test_bad_tokens_are_not_remembered(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    raw = signed(user_claims(), key=STRANGER)
    for _ in range(2):
        with pytest.raises(InvalidToken):
            await verifier.user(raw)
    assert issuer.verified == 2
    issuer.publish(rsa_jwk(STRANGER, kid="rsa"))
    await verifier.user(raw)


async def test_no_more_than_so_many_are_remembered_the_last_used_ones(issuer: Issuer) -> None:
    verifier = issuer.verifier(max_cached_tokens=2)
    tokens = [signed(user_claims(jti=str(number))) for number in range(3)]
    for raw in (tokens[0], tokens[1], tokens[0], tokens[2], tokens[0]):
        await verifier.user(raw)
    assert issuer.verified == 3
    await verifier.user(tokens[1])
    assert issuer.verified == 4
