"""No log line of a worker holds a token, wherever it came from."""

import logging
import sys

import jwt
import pytest

from worker.log_format import WithoutTokens

TOKEN = jwt.encode({"sub": "x"}, "a-key-that-is-long-enough-for-hs256", algorithm="HS256")


def formatted(message: str, *args: object, error: Exception | None = None) -> str:
    info = None
    if error is not None:
        try:
            raise error
        except type(error):
            info = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "f", 1, message, args, info)
    return WithoutTokens("%(levelname)s %(message)s").format(record)


@pytest.mark.parametrize(
    "line",
    [
        formatted(TOKEN),
        formatted("headers: %r", {"baton_token": TOKEN, "lang": "py"}),
        formatted("Authorization: Bearer %s!", TOKEN),
        formatted("cut off: %s", TOKEN[:60]),
        formatted("failed", error=ValueError(f"Illegal header value b'Bearer {TOKEN}'")),
    ],
)
def test_a_token_is_replaced(line: str) -> None:
    header, payload, signature = TOKEN.split(".")
    for secret in (header, payload[:20], signature):
        assert secret not in line
    assert "[token]" in line


def test_other_lines_stay_as_they_are() -> None:
    line = "Task baton.run_build[0b1c-4f] received: eyJ, eye.j.k, bld_01eyJabc"
    assert formatted(line) == f"ERROR {line}"
