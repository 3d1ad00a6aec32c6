"""The server's patience with connections that do not say what they want, and how many it keeps."""

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from app.cli.serving import http_protocol
from tests.support.waiting import wait_until

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"

MAX_CONNECTIONS = 3


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


async def flood(_: Request) -> StreamingResponse:
    async def without_end() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    return StreamingResponse(without_end())


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server that waits for half a second, keeps idle connections for longer, and not many."""
    for seconds in ("_HEAD_TIMEOUT", "_BODY_TIMEOUT", "_WRITE_TIMEOUT"):
        monkeypatch.setattr(http_protocol, seconds, 0.5)
    monkeypatch.setattr(http_protocol, "_MAX_REFUSED_CONNECTIONS", 1)
    config = uvicorn.Config(
        Starlette(
            routes=[
                Route("/", hello),
                Route("/echo", echo, methods=["POST"]),
                Route("/deaf", hello, methods=["POST"]),
                Route("/flood", flood),
            ]
        ),
        http=http_protocol.bounded(MAX_CONNECTIONS),
        server_header=False,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_keep_alive=60,
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until("the server answers", lambda: server.started)
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.mark.parametrize("said", [b"", b"GET /", HEAD[:-2], HEAD + b"GET / HTTP/1.1\r\nHo"])
def test_a_head_that_does_not_come_ends_the_connection(
    address: tuple[str, int], said: bytes
) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(said)
        heard = b""
        while piece := connection.recv(4096):
            heard += piece
    assert heard.count(b"hello") == said.count(b"\r\n\r\n")


def test_a_head_in_drops_has_no_longer(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=0.1) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")

        def ended() -> bool:
            try:
                connection.sendall(b"x")
                return connection.recv(4096) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until("the server has had enough", ended)


def test_a_connection_between_two_requests_is_kept(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=1) as connection:
        connection.sendall(HEAD)
        assert says_hello(connection)
        with pytest.raises(TimeoutError):
            connection.recv(4096)  # nothing more is said, and nobody hangs up
        connection.sendall(HEAD)
        assert says_hello(connection)


def heard(connection: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionError:
        pass
    return said


def says_hello(connection: socket.socket) -> bool:
    """Whether the answer is `hello`, in however many pieces it comes."""
    said = b""
    while b"hello" not in said and (piece := connection.recv(4096)):
        said += piece
    return b"hello" in said


def problem_of(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return str(json.loads(body)["type"])


def test_a_body_that_does_not_come_is_refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(POST + b"1234")
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert problem_of(answer) == "urn:baton:problem:too-slow"


def test_a_body_in_drops_has_no_longer(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=0.1) as connection:
        connection.sendall(POST.replace(b"Length: 5", b"Length: 100000"))
        answer = b""

        def ended() -> bool:
            nonlocal answer
            try:
                connection.sendall(b"x")
                piece = connection.recv(65536)
                answer += piece
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            return not piece

        wait_until("the server has had enough", ended)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_nobody_reads_does_not_stay_either(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(POST.replace(b"/echo", b"/deaf") + b"1")
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"408" not in answer  # one answer for a request


def test_the_time_of_a_body_is_its_own(address: tuple[str, int]) -> None:
    """Requests one after another on a connection, each in two pieces."""
    with socket.create_connection(address, timeout=30) as connection:
        for _ in range(8):
            connection.sendall(POST + b"12")
            time.sleep(0.1)  # a slow client, but not too slow
            connection.sendall(b"345")
            assert connection.recv(65536).endswith(b"12345")


def test_empty_lines_are_no_reason_to_wait(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(HEAD)
        assert says_hello(connection)
        connection.sendall(b"\r\n")
        assert heard(connection) == b""


def test_who_takes_nothing_of_his_answer_is_let_go(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(HEAD.replace(b"/ ", b"/flood "))
        assert connection.recv(1) == b"H"

        def gone() -> bool:
            connection.setblocking(False)
            try:
                connection.sendall(b"x")
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        wait_until("the server has let go", gone)


def test_one_connection_too_many_is_told_so_and_more_are_not_kept(
    address: tuple[str, int],
) -> None:
    with ExitStack() as stack:
        kept = [
            stack.enter_context(socket.create_connection(address, timeout=30))
            for _ in range(MAX_CONNECTIONS)
        ]
        for connection in kept:
            connection.sendall(HEAD)
            assert says_hello(connection)
        surplus = stack.enter_context(socket.create_connection(address, timeout=30))
        hopeless = stack.enter_context(socket.create_connection(address, timeout=30))
        assert heard(hopeless) == b""
        surplus.sendall(HEAD)
        answer = heard(surplus)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
        assert problem_of(answer) == "urn:baton:problem:unavailable"
        # Those that were there first notice nothing.
        for connection in kept:
            connection.sendall(HEAD)
            assert says_hello(connection)
        kept[0].close()

        def admitted() -> bool:
            with socket.create_connection(address, timeout=30) as next_one:
                next_one.sendall(HEAD)
                return says_hello(next_one)

        wait_until("there is room again", admitted)
