"""Waiting for a device code to be entered (RFC 8628 §3.5), at an issuer that answers by script."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app.cli.sign_in import calls
from app.cli.sign_in.calls import SignInFailed
from app.cli.sign_in.device import DeviceRequest
from app.cli.sign_in.grant import Grant
from app.cli.sign_in.provider import Provider
from tests.support.servers.scripted_server import Answer, breaks_off, resets, says, scripted

CODES = {
    "device_code": "d", "user_code": "ABCD", "verification_uri": "https://issuer.example/device",
    "expires_in": 300, "interval": 2,
}  # fmt: skip
TOKENS = {"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 60}


def no(error: str, **more: Any) -> Answer:
    return says({"error": error}, status=400, **more)


async def wait(*answers: Answer, codes: dict[str, Any] | None = None) -> tuple[Grant, list[float]]:
    """The tokens, and the pauses before each question."""
    pauses: list[float] = []
    async with scripted(says(codes or CODES)) as issuer:
        provider = Provider(
            issuer=issuer.url,
            authorization_endpoint=None,
            token_endpoint=f"{issuer.url}/token",
            device_authorization_endpoint=f"{issuer.url}/device",
            revocation_endpoint=None,
            names_itself=False,
        )
        script = iter(answers)

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            issuer.answer = next(script)

        def sign_in() -> Grant:
            with calls.client() as http:
                request = DeviceRequest.begin(
                    http, provider, client_id="terminal", scope="a b", audience=None
                )
                return request.wait(http, sleep=pause)

        grant = await asyncio.to_thread(sign_in)
        assert {heard.path for heard in issuer.heard} == {"/device", "/token"}
        return grant, pauses


async def test_it_asks_as_often_as_it_may_and_slower_when_told() -> None:
    pending = no("authorization_pending")

    grant, pauses = await wait(pending, no("slow_down"), pending, no("slow_down"), says(TOKENS))

    assert grant.access_token == "a.b.c"
    assert grant.scope == "a b"
    assert pauses == [2, 2, 7, 7, 12]


async def test_a_silent_issuer_is_asked_less_often() -> None:
    away: Sequence[Answer] = (
        resets,
        breaks_off,
        says(b"<h1>502</h1>", status=502, kind="text/html"),
        says({"error": "too_many_requests"}, status=429),
    )

    grant, pauses = await wait(*away, says(TOKENS))

    assert grant.access_token == "a.b.c"
    assert pauses == [2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    ("error", "says_so"),
    [
        ("access_denied", "not signed in"),
        ("expired_token", "nobody entered the code in time"),
        ("invalid_grant", "the issuer refused: invalid_grant"),
    ],
)
async def test_a_verdict_ends_it(error: str, says_so: str) -> None:
    with pytest.raises(SignInFailed, match=says_so):
        await wait(no("authorization_pending"), no(error))


async def test_a_code_that_has_expired_is_not_asked_for() -> None:
    with pytest.raises(SignInFailed, match="nobody entered the code in time"):
        await wait(codes=CODES | {"expires_in": 1})


@pytest.mark.parametrize(
    "answer",
    [
        {**TOKENS, "access_token": None},
        {**TOKENS, "access_token": "two words"},
        {**TOKENS, "access_token": "line\r\nInjected: yes"},
        {**TOKENS, "token_type": "DPoP"},
        {**TOKENS, "token_type": None},
    ],
)
async def test_what_is_no_bearer_token_is_not_kept(answer: dict[str, Any]) -> None:
    with pytest.raises(SignInFailed, match="the issuer gave"):
        await wait(says(answer))


@pytest.mark.parametrize("missing", ["device_code", "user_code", "verification_uri", "expires_in"])
async def test_an_issuer_without_a_code_is_a_sentence(missing: str) -> None:
    codes = {name: value for name, value in CODES.items() if name != missing}

    with pytest.raises(SignInFailed, match="gave no device code"):
        await wait(codes=codes)
