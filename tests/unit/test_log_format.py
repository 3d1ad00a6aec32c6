"""One event is one line, in either style, and no line holds a secret, wherever it came from."""

import json
import logging
import sys
import threading
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from app.observability import log_context
from app.observability.log_format import LogFormat, Style
from app.observability.redaction import Redaction, without_secrets
from worker.settings import WorkerSettings

TOKEN = jwt.encode({"sub": "x"}, "a-key-that-is-long-enough-for-hs256", algorithm="HS256")
SECRET = "s3cr3t-of-the-client"

#: What ends a line somewhere, steers a terminal, or turns text around.
HOSTILE = "a\nb\r\nc\x1b[31m\x1b]0;title\x07\x85\u2028\u2029\u202e\x00\x7f\u200b d"


def formatted(
    message: str,
    /,
    *args: object,
    style: Style = "text",
    error: Exception | None = None,
    **extra: Any,
) -> str:
    info = None
    if error is not None:
        try:
            raise error
        except type(error):
            info = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "f", 1, message, args, info)
    record.__dict__.update(extra)
    return LogFormat(style, ["a-known-word"]).format(record)


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    ("message", "args", "error"),
    [
        (TOKEN, (), None),
        ("headers: %r", ({"baton_token": TOKEN, "lang": "py"},), None),
        ("Authorization: Bearer %s!", (TOKEN,), None),
        ("cut off: %s", (TOKEN[:60],), None),
        ("failed", (), ValueError(f"Illegal header value b'Bearer {TOKEN}'")),
        ("failed", (), ValueError(f'{{"access_token": "{TOKEN}"}}')),
    ],
)
def test_a_token_is_replaced(
    style: Style, message: str, args: tuple[object, ...], error: Exception | None
) -> None:
    line = formatted(message, *args, style=style, error=error)
    header, payload, signature = TOKEN.split(".")
    for secret in (header, payload[:20], signature):
        assert secret not in line
    assert "[token]" in line


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "text",
    [
        f"client_id=baton-api&client_secret={SECRET}&grant_type=client_credentials",
        f'{{"client_id": "baton-api", "client_secret": "{SECRET} and more"}}',
        f"{{'client_secret': '{SECRET}', 'scope': 'x'}}",
        f"[(b'Authorization', b'Basic {SECRET}'), (b'Accept', b'*/*')]",
        f"authorization: DPoP {SECRET}",
        f"Proxy-Authorization: Basic {SECRET}",
        f"no header of ours: Bearer {SECRET}",
        f"Cannot connect to redis://worker:{SECRET}@redis.internal:6379/0",
        f"amqps://:{SECRET}@[::1]:5671//",
        f"{{'baton_token': '{SECRET}'}}",
        f"refresh_token={SECRET}",
    ],
)
def test_a_secret_is_replaced_by_its_name_or_its_place(style: Style, text: str) -> None:
    for line in (
        formatted(text, style=style),
        formatted("it failed", style=style, error=ValueError(text)),
        formatted("more", style=style, detail=text),
        formatted(json.dumps(text), style=style),
    ):
        assert SECRET not in line
        assert "[secret]" in line


def test_a_secret_that_the_process_was_given_is_replaced_wherever_it_stands() -> None:
    assert "a-known-word" not in formatted("well: a-known-word", error=ValueError("a-known-word"))
    settings = WorkerSettings.from_env(
        {
            "BATON_BROKER_URL": "rediss://user:pass%2Fword-1@redis.example.com/0",
            "BATON_API_URL": "https://api.example.com",
            "BATON_MESSAGE_KEYS": f"{'A' * 43}= {'B' * 43}=",
        }
    )
    redacted = Redaction(settings.secrets())
    for word in ("pass%2Fword-1", "pass/word-1", "A" * 43 + "=", "B" * 43 + "="):
        assert redacted(f"see {word}!") == "see [secret]!"
    assert redacted("redis.example.com") == "redis.example.com"


@pytest.mark.parametrize("name", ["client_secret", "Authorization", "baton_token"])
def test_a_field_that_is_secret_by_its_name_is_not_shown(name: str) -> None:
    extra: dict[str, Any] = {name: SECRET}
    assert SECRET not in formatted("x", **extra)
    assert json.loads(formatted("x", style="json", **extra))[name] == "[secret]"


@pytest.mark.parametrize(
    "text",
    [
        "Task baton.run_build[0b1c-4f] received: eyJ, eye.j.k, bld_01eyJabc",
        "the token lasts 30 s more; see BATON_MINT_CLIENT_SECRET",
        "GET https://api.example.com/builds?limit=3 bearer of news",
        "Connected to redis://:**@127.0.0.1:6379/0",
        "dispatch waits: Error 111 connecting to 127.0.0.1:6379. Connection refused.",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text
    assert f" ERROR   x: {text}" in formatted(text)


@pytest.mark.parametrize("style", ["text", "json"])
def test_one_event_is_one_line(style: Style) -> None:
    line = formatted("%s", HOSTILE, style=style, error=ValueError(HOSTILE), detail=HOSTILE, n=3)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert "ValueError" in line and "Traceback" in line


def test_json_has_every_field_under_its_name() -> None:
    with log_context.bound(build_id="bld_1", attempt=2):
        line = formatted(
            "%d %s", 1, HOSTILE, style="json", error=ValueError("x"), reason="no_token"
        )
    event = json.loads(line)
    assert list(event)[:4] == ["time", "level", "logger", "message"]
    assert event["time"].endswith("Z") and len(event["time"]) == len("2026-01-31T12:00:00.000Z")
    assert event["message"] == f"1 {HOSTILE}"
    assert (event["build_id"], event["attempt"], event["reason"]) == ("bld_1", 2, "no_token")
    assert event["exception"].splitlines()[-1] == "ValueError: x"


def test_text_has_the_context_behind_the_message() -> None:
    with log_context.bound(build_id="bld_1", attempt=2):
        line = formatted("it happened", why="two words")
    assert line.endswith(' ERROR   x: it happened build_id=bld_1 attempt=2 why="two words"')


def test_a_context_cannot_say_otherwise_than_the_event() -> None:
    event = json.loads(formatted("so it was", style="json", level="INFO", time="noon"))
    assert event["level"] == "ERROR" and event["time"] != "noon"


def test_arguments_that_cannot_be_shown_do_not_get_out_another_way() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    assert "x: at %s (RuntimeError over its arguments)" in formatted("at %s", Broken())
    assert "x: %d (TypeError over its arguments)" in formatted("%d", TOKEN)


def test_a_thread_has_the_context_of_who_started_it() -> None:
    found: list[Mapping[str, object]] = []

    def look() -> None:
        found.append(log_context.fields())

    with log_context.bound(build_id="bld_1"):
        with_it = threading.Thread(target=log_context.with_context(look))
    with_it.start()
    with_it.join()
    assert found == [{"build_id": "bld_1"}]
    assert log_context.fields() == {}
