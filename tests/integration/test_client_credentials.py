"""Minting at a provider that fails, refuses, or does not do as asked; over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from app.minting import MintError, ProviderRefused, ProviderUnavailable, UnfitToken
from app.tokens.minting.client_authentication import ClientSecretPost
from app.tokens.minting.client_credentials import ClientCredentialsMinter
from app.tokens.minting.token_endpoint import TokenEndpoint
from tests.support.providers.minting_bench import (
    AUDIENCE,
    CLIENT,
    NAMESPACE,
    REQUEST,
    SECRET,
    ProviderBench,
    read_body,
    with_provider,
)
from tests.support.servers.scripted_server import (
    Answer,
    Heard,
    breaks_off,
    drips,
    floods,
    hangs,
    resets,
    says,
    scripted,
)


@pytest.fixture
async def provided() -> AsyncIterator[ProviderBench]:
    async with AsyncExitStack() as stack:
        yield await with_provider(stack)


# ── a provider that fails in passing ──────────────────────────────────────────────────────────


async def test_the_provider_is_asked_for_what_the_build_needs(provided: ProviderBench) -> None:
    await provided.minter.mint(REQUEST)

    (asked,) = provided.provider.asked
    assert (asked.method, asked.path) == ("POST", "/oauth/token")
    assert read_body(asked) == {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": SECRET,
        "audience": AUDIENCE,
        "user_id": "auth0|ann",
        "build_id": "bld_1",
    }


PASSING: dict[str, Answer] = {
    "429": says({"error": "too_many_requests"}, status=429, headers={"Retry-After": "0"}),
    "429 without a time": says({}, status=429),
    "429 with nonsense": says({}, status=429, headers={"Retry-After": "soon"}),
    "429 with a date that is over": says(
        {}, status=429, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}
    ),
    "500": says({}, status=500),
    "502 with a page": says(b"<html>bad gateway</html>", status=502, kind="text/html"),
    "503": says(b"", status=503),
    "resets": resets,
    "breaks off": breaks_off,
    "200 with a page": says(b"<html>sign in</html>", kind="text/html"),
    "200 with nothing": says(b""),
    "200 with 60 MB": floods,
}


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
async def test_what_passes_is_tried_again(provided: ProviderBench, answer: Answer) -> None:
    provided.provider.first = [answer, answer]

    minted = await provided.minter.mint(REQUEST)

    assert minted.facts.build_id == "bld_1"
    assert len(provided.provider.asked) == 3


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
async def test_what_does_not_pass_is_given_up_after_some_attempts(
    provided: ProviderBench, answer: Answer
) -> None:
    provided.provider.first = [answer] * 10

    with pytest.raises(ProviderUnavailable, match="no token from http"):
        await provided.minter.mint(REQUEST)

    assert len(provided.provider.asked) == 4


@pytest.mark.parametrize("answer", [hangs, drips], ids=["hangs", "drips"])
async def test_a_slow_provider_costs_no_more_than_the_deadline(answer: Answer) -> None:
    async with AsyncExitStack() as stack:
        bench = await with_provider(stack, deadline=0.4)
        bench.provider.first = [answer] * 10

        async with asyncio.timeout(5):
            with pytest.raises(ProviderUnavailable, match="in time"):
                await bench.minter.mint(REQUEST)


async def test_one_answer_that_never_comes_does_not_cost_the_token() -> None:
    async with AsyncExitStack() as stack:
        bench = await with_provider(stack, deadline=4.0)
        bench.provider.first = [hangs]

        assert (await bench.minter.mint(REQUEST)).facts.build_id == "bld_1"


async def test_a_wait_beyond_the_deadline_is_handed_on(provided: ProviderBench) -> None:
    provided.provider.first = [says({}, status=429, headers={"Retry-After": "3600"})] * 10

    with pytest.raises(ProviderUnavailable) as error:
        await provided.minter.mint(REQUEST)

    assert error.value.retry_after == 3600
    assert len(provided.provider.asked) == 1


async def test_a_wait_may_be_given_as_a_date(provided: ProviderBench) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    provided.provider.first = [says({}, status=503, headers={"Retry-After": date})] * 10

    with pytest.raises(ProviderUnavailable) as error:
        await provided.minter.mint(REQUEST)

    assert error.value.retry_after is not None
    assert 3000 < error.value.retry_after <= 3600
    assert len(provided.provider.asked) == 1


async def test_a_wait_within_the_deadline_is_waited(provided: ProviderBench) -> None:
    provided.provider.first = [says({}, status=429, headers={"Retry-After": "1"})]
    start = time.monotonic()

    await provided.minter.mint(REQUEST)

    assert time.monotonic() - start >= 1
    assert len(provided.provider.asked) == 2


async def test_a_provider_where_nobody_listens_is_unavailable() -> None:
    async with AsyncExitStack() as stack:
        bench = await with_provider(stack)
        await stack.aclose()
        async with httpx.AsyncClient(trust_env=False) as http:
            endpoint = TokenEndpoint(
                f"{bench.provider.issuer}oauth/token",
                ClientSecretPost(client_id=CLIENT, client_secret=SECRET),
                http,
                backoff=0.01,
            )
            minter = ClientCredentialsMinter(endpoint, AUDIENCE, bench.verifier)
            with pytest.raises(ProviderUnavailable, match="cannot be reached"):
                await minter.mint(REQUEST)


async def test_while_the_keys_cannot_be_had_the_token_is_not_blamed(
    provided: ProviderBench,
) -> None:
    async def answer(request: Heard, writer: asyncio.StreamWriter) -> None:
        if request.path == "/keys":
            await says(b"", status=500)(request, writer)
        else:
            await provided.provider.answer(request, writer)

    provided.provider.server.answer = answer

    with pytest.raises(ProviderUnavailable, match="keys") as error:
        await provided.minter.mint(REQUEST)
    assert error.value.retry_after


# ── a provider that says no ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            says({"error": "access_denied", "error_description": "Unauthorized"}, status=401),
            "access_denied: Unauthorized",
        ),
        (says({"error": "invalid_request"}, status=400), "invalid_request"),
        (says({"error": "a\nb\x1b[31m", "error_description": 7}, status=403), "a b [31m"),
        (says(b"<html>not found</html>", status=404, kind="text/html"), "BATON_MINT_TOKEN_URL"),
        (says({"error": {"code": 1}}, status=400), "BATON_MINT_TOKEN_URL"),
        (says({"id_token": "x"}), "BATON_MINT_TOKEN_URL"),
        (says({"access_token": None, "token_type": "Bearer"}), "BATON_MINT_TOKEN_URL"),
    ],
)
async def test_a_refusal_is_not_asked_for_again_and_says_what_the_provider_said(
    provided: ProviderBench, answer: Answer, said: str
) -> None:
    provided.provider.first = [answer]

    with pytest.raises(ProviderRefused) as error:
        await provided.minter.mint(REQUEST)

    assert said in str(error.value)
    assert str(error.value).isprintable()
    assert len(provided.provider.asked) == 1


async def test_a_refusal_that_repeats_the_secret_does_not_pass_it_on(
    provided: ProviderBench,
) -> None:
    words = {"error": "invalid_client", "error_description": f"bad secret {SECRET} " + "x" * 9999}
    provided.provider.first = [says(words, status=401)]

    with pytest.raises(ProviderRefused) as error:
        await provided.minter.mint(REQUEST)

    assert SECRET not in str(error.value)
    assert "bad secret ***" in str(error.value)
    assert len(str(error.value)) < 400


async def test_the_secret_does_not_follow_a_redirect(provided: ProviderBench) -> None:
    async with scripted(says({})) as elsewhere:
        provided.provider.first = [
            says(b"", status=307, headers={"Location": f"{elsewhere.url}/token"})
        ]

        with pytest.raises(ProviderRefused, match="307"):
            await provided.minter.mint(REQUEST)
        assert elsewhere.heard == []


# ── a token that does not fit ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        (
            {"scope": "read:builds update:builds"},
            [
                "scope 'read:builds update:builds' instead of exactly 'update:builds'",
                "grant the machine-to-machine application only update:builds",
            ],
        ),
        ({"scope": None}, ["scope '' instead of exactly 'update:builds'"]),
        ({f"{NAMESPACE}user_id": None}, [f"no claim {NAMESPACE}user_id", "Action", "deployed"]),
        (
            {f"{NAMESPACE}build_id": None, "scope": "read:builds"},
            [f"no claim {NAMESPACE}build_id", "scope 'read:builds'"],
        ),
        ({f"{NAMESPACE}user_id": ""}, [f"{NAMESPACE}user_id"]),
        ({f"{NAMESPACE}build_id": "bld_2"}, ["another build", "cache"]),
        ({f"{NAMESPACE}user_id": "auth0|eve"}, ["another build or user"]),
        ({"aud": [AUDIENCE, "https://api.example.com/"]}, ["BATON_MINT_AUDIENCE", "only"]),
        ({"azp": "renamed", "sub": "renamed@clients"}, ["'renamed'", "BATON_MINT_CLIENT_ID"]),
        ({"sub": "service-account"}, ["sub is 'service-account'", f"{CLIENT}@clients"]),
        ({"iss": "https://elsewhere.example/"}, ["issuer is not trusted", "BATON_ISSUER"]),
        ({"exp": 1}, ["expired", "clocks"]),
        ({"cnf": {"jkt": "x"}}, ["bound to a key"]),
        ({"gty": "password"}, ["the token"]),
    ],
    ids=str,
)
async def test_a_token_that_does_not_fit_is_refused_with_what_to_change(
    provided: ProviderBench, changes: dict[str, Any], advice: list[str]
) -> None:
    provided.provider.changes = changes

    with pytest.raises(UnfitToken) as error:
        await provided.minter.mint(REQUEST)

    for words in advice:
        assert words in str(error.value)
    assert len(provided.provider.asked) == 1


async def test_a_token_that_ends_too_soon_says_what_to_raise_or_lower(
    provided: ProviderBench,
) -> None:
    provided.provider.lifetime = 3600

    with pytest.raises(UnfitToken) as error:
        await provided.minter.mint(REQUEST)

    said = str(error.value)
    assert "but this build needs 7290 s" in said
    assert f"token lifetime of API {AUDIENCE} at the provider to 7320 s or more" in said
    assert "BATON_MAX_BUILD_TIMEOUT" in said
    assert "BATON_QUEUE_TTL" in said


async def test_the_lifetime_that_a_refusal_names_is_enough(provided: ProviderBench) -> None:
    provided.provider.lifetime = 7320

    assert (await provided.minter.mint(REQUEST)).facts.build_id == "bld_1"


async def test_a_lifetime_set_to_the_second_is_enough(provided: ProviderBench) -> None:
    provided.provider.lifetime = 7290

    assert (await provided.minter.mint(REQUEST)).facts.build_id == "bld_1"


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"token_type": "DPoP"}, "DPoP"),
        ({"token_type": None}, "bearer"),
        ({"access_token": "opaque"}, "BATON_MINT_AUDIENCE"),
        ({"access_token": "a.b.c.d.e"}, "BATON_MINT_AUDIENCE"),
    ],
    ids=str,
)
async def test_an_answer_that_is_no_bearer_jwt_is_refused(
    provided: ProviderBench, changes: dict[str, Any], advice: str
) -> None:
    provided.provider.answer_changes = changes

    with pytest.raises(UnfitToken, match=advice):
        await provided.minter.mint(REQUEST)


@pytest.mark.parametrize("word", ["bearer", "Bearer", "BEARER"])
async def test_bearer_may_be_written_in_any_case(provided: ProviderBench, word: str) -> None:
    provided.provider.answer_changes = {"token_type": word, "expires_in": "soon", "more": [1]}

    assert (await provided.minter.mint(REQUEST)).facts.build_id == "bld_1"


async def test_no_error_shows_token_or_secret(provided: ProviderBench) -> None:
    for changes in ({"scope": "x"}, {f"{NAMESPACE}build_id": "other"}, {"iss": "x"}, {"exp": 1}):
        provided.provider.changes = changes
        with pytest.raises(MintError) as error:
            await provided.minter.mint(REQUEST)
        assert SECRET not in str(error.value)
        assert "eyJ" not in str(error.value)  # how every JWT begins
