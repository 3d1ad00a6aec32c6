"""What every answer tells browsers."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.api.middleware.security_headers import (
    DATA_POLICY,
    READING_POLICY,
    SecurityHeaders,
    page_policy,
)

Headers = list[tuple[bytes, bytes]]


async def answer(headers: Headers, *pieces: bytes, https: bool = False) -> list[dict[str, Any]]:
    """What leaves the middleware when the application inside answers with these."""
    sent: list[dict[str, Any]] = []

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, piece in enumerate(pieces):
            before = len(sent)
            more = number < len(pieces) - 1
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            assert len(sent) == before + 1, "a piece was held back"

    async def receive() -> dict[str, Any]:
        raise AssertionError("nobody asked for the body")

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await SecurityHeaders(app, https=https)({"type": "http"}, receive, send)
    return sent


def named(sent: Sequence[dict[str, Any]]) -> dict[str, str]:
    pairs: Headers = sent[0]["headers"]
    assert len({name for name, _ in pairs}) == len(pairs), "a header twice"
    return {name.decode(): value.decode() for name, value in pairs}


async def test_an_answer_that_says_nothing_gets_all_of_them() -> None:
    headers = named(await answer([(b"content-type", b"application/json")], b"{}"))

    assert headers["content-type"] == "application/json"
    assert headers["content-security-policy"] == DATA_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cache-control"] == "no-store"


async def test_what_an_answer_says_itself_stands() -> None:
    page = page_policy(issuer_origin="https://login.example.com")
    own = [
        (b"Content-Security-Policy", page.encode()),
        (b"Cache-Control", b"public, max-age=60"),
    ]

    names = {name.lower(): value for name, value in named(await answer(own, b"")).items()}

    assert names["content-security-policy"] == page
    assert names["cache-control"] == "public, max-age=60"
    assert names["x-content-type-options"] == "nosniff"


async def test_a_stream_passes_piece_by_piece() -> None:
    sent = await answer([], b"one", b"two", b"three")

    assert [message.get("body") for message in sent[1:]] == [b"one", b"two", b"three"]


@pytest.mark.parametrize("https", [True, False])
async def test_browsers_are_held_to_https_where_the_api_has_it(https: bool) -> None:
    headers = named(await answer([], b"", https=https))

    assert ("strict-transport-security" in headers) is https


async def test_an_application_without_http_is_left_alone() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    lifespan: tuple[Any, ...] = ({"type": "lifespan"}, answer, named)
    await SecurityHeaders(app, https=True)(*lifespan)

    assert seen == [lifespan]


@pytest.mark.parametrize("loose", ["unsafe-inline", "unsafe-eval", "*", "http:", "https: "])
def test_no_policy_has_a_hole(loose: str) -> None:
    for policy in (
        DATA_POLICY,
        READING_POLICY,
        page_policy(issuer_origin="https://login.example.com"),
    ):
        assert loose not in policy
        directives = dict(each.strip().partition(" ")[::2] for each in policy.split(";"))
        # These do not fall back to default-src, so each has to be there.
        assert directives["default-src"] == "'none'"
        assert {"base-uri", "form-action", "frame-ancestors"} <= directives.keys()
