"""A token provider in trouble: builds wait, say why, and run when it is well again.

A scripted endpoint stands in front of the embedded issuer's: it misbehaves as a test tells it to,
and else passes on what the issuer says.
"""

import asyncio
import json
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from app.tokens.signing_key import SigningKey
from tests.e2e.user import User, steps
from tests.support.servers.scripted_server import (
    Answer,
    Heard,
    ScriptedServer,
    breaks_off,
    hangs,
    resets,
    says,
    scripted,
    send,
)
from tests.support.stack import Stack
from tests.support.waiting import wait_until


class Provider:
    """The scripted endpoint, in a thread of its own; it begins as one that is away."""

    def __init__(self) -> None:
        self._server: ScriptedServer | None = None
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._thread.start()
        assert self._up.wait(10)

    async def _serve(self) -> None:
        async with scripted(resets) as self._server:
            self._up.set()
            await self._over.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    @property
    def server(self) -> ScriptedServer:
        assert self._server
        return self._server

    def answers(self, answer: Answer) -> None:
        self.server.answer = answer


def passes_on(stack: Stack, *, after: float = 0.0) -> Answer:
    """What the issuer says, `after` so many seconds."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(after)
        said = await _ask_issuer(stack, heard)
        send(writer, said.content, status=said.status_code)

    return answer


def changes(stack: Stack, change: dict[str, Any], *, only: Callable[[str], bool]) -> Answer:
    """What the issuer says, with other claims (signed by its key) for the builds of `only`."""
    key = SigningKey.load_or_create(stack.folder / "keys" / "current.pem", "RS256")

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        said = (await _ask_issuer(stack, heard)).json()
        if only(json.loads(heard.body)["build_id"]):
            claims = jwt.decode(said["access_token"], options={"verify_signature": False})
            claims |= {"exp": claims["iat"] + change["lasts"]} if "lasts" in change else change
            said["access_token"] = key.sign(claims, typ="JWT")
        send(writer, json.dumps(said).encode())

    return answer


async def _ask_issuer(stack: Stack, heard: Heard) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.post(
            f"{stack.issuer_url}oauth/token",
            content=heard.body,
            headers={"Content-Type": heard.headers["content-type"]},
        )


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Stack]:
    with Stack(
        tmp_path_factory.mktemp("stack"),
        BATON_MINT_TOKEN_URL=f"{provider.server.url}/oauth/token",
    ) as stack:
        stack.worker()
        yield stack


@pytest.fixture
def ann(stack: Stack) -> Iterator[User]:
    with User(stack) as user:
        yield user


@pytest.fixture
def release() -> Iterator[Path]:
    """A file that is not there yet, where builds can see it: they run as another user."""
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "release"


def running(ann: User, release: Path) -> str:
    """A build that runs until `release` exists."""
    build_id = ann.submit(steps(f"echo begun; until [ -e {release} ]; do sleep 0.1; done"))
    ann.wait_for_log(build_id, "begun")
    return build_id


PAGE = b"<!doctype html><title>Sign in</title><p>Please sign in."

#: A trouble: what the endpoint does, the reason on the build, and words of its message.
TROUBLES: dict[str, tuple[Answer, str, str]] = {
    "away": (resets, "no_token", "cannot be reached"),
    "too many requests": (
        says({"error": "too_many_requests"}, status=429, headers={"Retry-After": "2"}),
        "no_token", "it answered 429: too_many_requests",
    ),
    "an error of its own": (
        says({"error": "server_error"}, status=500), "no_token", "it answered 500: server_error",
    ),
    "a page": (says(PAGE, kind="text/html"), "no_token", "its answer is not JSON"),
    "a page of a proxy": (says(PAGE, status=502, kind="text/html"), "no_token", "answered 502"),
    "half an answer": (breaks_off, "no_token", "cannot be reached"),
    "never an answer": (hangs, "no_token", "did not answer in time"),
    "no token": (says({"token_type": "Bearer"}), "token_refused", "without an access_token"),
    "another's token": (
        says({"access_token": "a.b.c", "token_type": "Bearer"}), "token_refused", "not accepted",
    ),
    "a refusal": (
        says({"error": "access_denied"}, status=403), "token_refused", "refused (403): access_den",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TROUBLES)
def test_builds_wait_and_say_why_while_others_go_on(
    stack: Stack, provider: Provider, ann: User, release: Path, name: str
) -> None:
    trouble, reason, words = TROUBLES[name]
    provider.answers(passes_on(stack))
    begun = running(ann, release)

    provider.answers(trouble)
    build_id = ann.submit(steps("true"))
    # One answer that never comes is waited for, for as long as minting may take: 20 s.
    wait_until("it says why it waits", lambda: ann.show(build_id)["reason"], seconds=60)
    waiting = ann.show(build_id)
    assert (waiting["status"], waiting["reason"], waiting["attempt"]) == ("queued", reason, 0)
    assert words in waiting["message"]
    assert "the-secret-of-the-tests" not in waiting["message"]
    release.touch()
    assert ann.wait_for(begun)["status"] == "succeeded"  # tokens that are out stay good

    provider.answers(passes_on(stack))
    build = ann.wait_for(build_id, seconds=120)
    assert (build["status"], build["reason"], build["message"]) == ("succeeded", None, None)
    assert build["attempt"] == 1


def test_a_slow_provider_only_costs_time(stack: Stack, provider: Provider, ann: User) -> None:
    provider.answers(passes_on(stack, after=4))
    with ThreadPoolExecutor(3) as clients:
        builds = list(clients.map(lambda _: ann.run(steps("true")), range(3)))
    for build in builds:
        assert (build["status"], build["attempt"]) == ("succeeded", 1)


def test_a_token_that_is_too_short_holds_up_no_other_build(
    stack: Stack, provider: Provider, ann: User
) -> None:
    """It is too short for one build, maybe: another's timeout may be smaller."""
    first: list[str] = []
    provider.answers(
        changes(stack, {"lasts": 60}, only=lambda build_id: build_id == (first or [build_id])[0])
    )
    first.append(ann.submit(steps("true")))
    wait_until("it says why it waits", lambda: ann.show(first[0])["reason"])
    waiting = ann.show(first[0])
    assert (waiting["status"], waiting["reason"]) == ("queued", "token_refused")
    # Counted from when the token was asked for: the clock may have ticked by the time it is signed.
    assert re.match("the token lasts 6[0-9] s but this build needs", waiting["message"])
    assert ann.run(steps("true"))["status"] == "succeeded"
    assert ann.show(first[0])["status"] == "queued"
    provider.answers(passes_on(stack))
    assert ann.wait_for(first[0], seconds=120)["status"] == "succeeded"


def test_a_token_that_may_do_more_than_it_has_to_is_given_to_nobody(
    stack: Stack, provider: Provider, ann: User
) -> None:
    wide = {"scope": "create:builds update:builds"}
    provider.answers(changes(stack, wide, only=lambda _: True))
    build_id = ann.submit(steps("true"))
    wait_until("it says why it waits", lambda: ann.show(build_id)["reason"])
    waiting = ann.show(build_id)
    assert (waiting["status"], waiting["reason"], waiting["attempt"]) == (
        "queued", "token_refused", 0,
    )  # fmt: skip
    assert "instead of exactly 'update:builds'" in waiting["message"]
    provider.answers(passes_on(stack))
    assert ann.wait_for(build_id, seconds=120)["status"] == "succeeded"
