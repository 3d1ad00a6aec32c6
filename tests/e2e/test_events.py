"""Following builds and logs by server-sent events, over real connections."""

import contextlib
import itertools
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.scene import QUIET, Scene
from tests.e2e.user import FINAL, User, steps
from tests.support.event_stream import Event, events
from tests.support.providers.authority import Authority
from tests.support.stack import Stack
from tests.support.waiting import wait_until

#: Text, colours, a character of four bytes in two writes, and what is no text at all.
MIXED = (
    "printf 'one\\r\\n\\033[31mred\\033[0m\\n'; sleep 0.4; printf '\\360\\237'; sleep 0.6; "
    "printf '\\230\\200\\n'; sleep 0.4; printf '\\377\\376end\\n'"
)
CHATTY = "for i in $(seq 120); do echo line $i of many; sleep 0.05; done"


def log_of(seen: list[Event]) -> bytes:
    """The log, after a look at that no byte is missing or came twice."""
    logs = [event for event in seen if event.event == "log"]
    for one, two in itertools.pairwise(logs):
        assert one.data["end"] == two.data["offset"]
    return b"".join(event.bytes for event in logs)


def statuses(seen: list[Event]) -> list[str]:
    found: list[str] = []
    for event in seen:
        if event.event == "build" and event.data["status"] not in found[-1:]:
            found.append(event.data["status"])
    return found


def test_a_build_is_followed_from_its_queue_to_its_last_byte(ann: User) -> None:
    build_id = ann.submit(steps("echo first", MIXED))
    seen = list(events(ann.http, f"/builds/{build_id}/events"))
    assert statuses(seen) in (["queued", "running", "succeeded"], ["running", "succeeded"])
    raw = ann.http.get(f"/builds/{build_id}/log").content
    assert log_of(seen) == raw and "😀".encode() in raw and b"\xff\xfe" in raw
    assert [event.event for event in seen[-2:]] == ["build", "end"]
    assert seen[-2].data == ann.show(build_id)
    assert len([event for event in seen if event.event == "log"]) > 2
    texts = "".join(event.data.get("text", "") for event in seen if event.event == "log")
    assert "\x1b[31mred" in texts and "😀" in texts
    assert len({event.id for event in seen[:-1]}) == len(seen) - 1


def test_a_build_that_has_ended_is_told_whole_and_once(ann: User) -> None:
    build_id = ann.run(steps("echo done"))["id"]
    seen = list(events(ann.http, f"/builds/{build_id}/events"))
    assert [event.event for event in seen] == ["log", "build", "end"]
    rest = list(events(ann.http, f"/builds/{build_id}/events", seen[0].id))
    assert [event.event for event in rest] == ["build", "end"]
    rest = list(events(ann.http, f"/builds/{build_id}/events", seen[1].id))
    assert [event.event for event in rest] == ["end"]
    only = list(events(ann.http, f"/builds/{build_id}/events", log="0"))
    assert [event.event for event in only] == ["build", "end"]


def test_a_stream_goes_on_over_restarts_and_replicas(tmp_path: Path) -> None:
    """One API process is killed under its follower, who goes on now there, now at another."""
    with (
        Stack(tmp_path, BATON_LEASE="60") as own,
        User(own) as ann,
        httpx.Client(headers=ann.http.headers, timeout=30) as http,
    ):
        own.worker()
        _, other = own.replica()
        build_id = ann.submit(steps("echo begin", CHATTY))
        ann.wait_for_log(build_id, "line 3 of many")
        seen: list[Event] = []
        kill = threading.Timer(0.5, own.api.stop, [signal.SIGKILL])

        def follow(url: str, most: int) -> None:
            last = seen[-1].id if seen else None
            stream = events(http, f"{url}/builds/{build_id}/events", last)
            with contextlib.closing(stream):
                seen.extend(itertools.islice(stream, most))

        follow(own.api_url, 3)
        kill.start()
        with pytest.raises(httpx.TransportError):
            follow(own.api_url, 10_000)
        kill.join()
        own.start_api()
        for turn in itertools.count():
            follow((own.api_url, other)[turn % 2], 7)
            if seen[-1].event == "end":
                break
        raw = http.get(f"{other}/builds/{build_id}/log").content
        assert log_of(seen) == raw and b"line 120 of many\n" in raw
        assert statuses(seen) == ["running", "succeeded"]
        ids = [event.id for event in seen if event.event != "end"]
        assert len(ids) == len(set(ids))


def test_an_api_that_is_stopped_lets_its_followers_go_at_once(own: Stack) -> None:
    own.worker()
    with User(own) as ann:
        build_id = ann.submit(steps("echo begin; sleep 60"))
        ann.wait_for_log(build_id, "begin")
        opened, let_go = threading.Semaphore(0), threading.Semaphore(0)

        def listen(path: str) -> None:
            for _ in events(ann.http, path, opened=opened.release):
                pass  # to the end of a whole answer: a broken connection would raise
            let_go.release()

        for path in (f"/builds/{build_id}/events", "/builds/events", f"/builds/{build_id}/events"):
            threading.Thread(target=listen, args=(path,), daemon=True).start()
            assert opened.acquire(timeout=20)
        own.api.stop(signal.SIGTERM)
        assert all(let_go.acquire(timeout=10) for _ in range(3))
        own.start_api()
        ann.cancel(build_id)
        ann.wait_for(build_id)


# ── all builds of a user ──────────────────────────────────────────────────────────────────────


def test_all_builds_of_a_user_are_followed_and_nobody_elses(shared: Stack) -> None:
    with User(shared, "lisa") as lisa, User(shared, "bob") as bob:
        seen: list[Event] = []
        done = threading.Event()
        ready = threading.Event()

        def listen() -> None:
            for event in events(lisa.http, "/builds/events", opened=ready.set):
                seen.append(event)
                if done.is_set():
                    return

        listener = threading.Thread(target=listen)
        listener.start()
        assert ready.wait(20)
        theirs = bob.run(steps("true"))["id"]
        first = lisa.run(steps("true"))["id"]
        second = lisa.run(steps("false"))["id"]
        wait_until(
            "the end of both is heard",
            lambda: {e.data["id"] for e in seen if e.data["status"] in FINAL} == {first, second},
        )
        done.set()
        lisa.run(steps("true"))
        listener.join(20)
        mine = [event for event in seen if event.data["id"] == second]
        assert statuses(mine) in (["queued", "running", "failed"], ["running", "failed"])
        assert theirs not in {event.data["id"] for event in seen}
        ids = [int(event.id) for event in seen]
        assert ids == sorted(set(ids))


def test_what_changed_while_nobody_listened_comes_first_and_once(shared: Stack) -> None:
    with User(shared, "away") as away:
        first = away.run(steps("true"))["id"]
        stream = events(away.http, "/builds/events", "0")
        last = next(event for event in stream if event.data["status"] in FINAL)
        stream.close()
        second = away.run(steps("true"))["id"]
        third = away.run(steps("false"))["id"]
        stream = events(away.http, "/builds/events", last.id)
        seen = [next(stream), next(stream)]
        stream.close()
        assert [(e.data["id"], e.data["status"]) for e in seen] == [
            (second, "succeeded"), (third, "failed")
        ]  # fmt: skip
        assert first not in {event.data["id"] for event in seen}


def test_a_stream_says_where_it_begins(shared: Stack) -> None:
    """A client that is cut off before the first event comes back to that place."""
    with User(shared, "early") as early:
        with early.http.stream("GET", "/builds/events") as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("retry: ")
            begin = next(lines).removeprefix("id: ")
        build_id = early.submit(steps("true"))
        assert next(events(early.http, "/builds/events", begin)).data["id"] == build_id
        early.wait_for(build_id)


# ── who may, and how long ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    settings = {**QUIET, "BATON_LEEWAY": "0", "BATON_CORS_ORIGINS": "https://spa.example.com"}
    with Authority() as authority:
        folder = tmp_path_factory.mktemp("stack")
        stack = Stack(folder, BATON_ISSUER=authority.issuer, **settings)
        with stack.without_issuer():
            scene = Scene(stack, authority)
            with scene.http:
                yield scene


def as_user(scene: Scene, **claims: Any) -> httpx.Client:
    return scene.stack.http(scene.user(**claims))


@pytest.mark.parametrize("path", ["/builds/{}/events", "/builds/events"])
def test_the_tokens_end_is_the_streams_end(scene: Scene, path: str) -> None:
    build_id = scene.submit()
    end = int(time.time()) + 3
    with as_user(scene, exp=end) as http:
        seen = list(events(http, path.format(build_id)))
    assert time.time() >= end
    assert seen[-1].event == "expired" and "new one" in seen[-1].data["detail"]
    with as_user(scene) as http:  # and goes on with another token
        last = ([event.id for event in seen if event.id] or ["0"])[-1]
        scene.call("POST", f"/builds/{build_id}/cancel", scene.user())
        for event in events(http, path.format(build_id), last):
            if event.event == "build" and event.data["status"] == "cancelled":
                break


def test_a_stream_is_for_the_builds_owner_who_may_read(scene: Scene) -> None:
    build_id = scene.submit()
    for user, scope, status in (
        ("auth0|ann", "create:builds update:builds", 403),
        ("auth0|bob", "read:builds", 404),
    ):
        token = scene.user(user, scope=scope)
        assert scene.call("GET", f"/builds/{build_id}/events", token).status_code == status
    nobody = scene.call("GET", "/builds/events", None)
    assert nobody.status_code == 401 and "WWW-Authenticate" in nobody.headers
    build_token = scene.message(build_id)
    for path in (f"/builds/{build_id}/events", "/builds/events"):
        assert scene.call("GET", path, build_token).status_code in {401, 403}


@pytest.mark.parametrize(
    ("last", "path"),
    [("x", "/builds/events"), ("1-2", "/builds/events"), ("1", "/builds/{}/events"),
     ("-1-0", "/builds/{}/events"), ("1-2-3", "/builds/{}/events"), ("9" * 40, "/builds/events")],
)  # fmt: skip
def test_an_id_of_another_stream_is_refused(scene: Scene, last: str, path: str) -> None:
    where = path.format(scene.submit())
    answer = scene.call("GET", where, scene.user(), headers={"Last-Event-ID": last})
    assert answer.status_code == 400
    assert "Last-Event-ID" in answer.json()["detail"]
    answer = scene.call("GET", f"/builds/{scene.submit()}/events?log=maybe", scene.user())
    assert answer.status_code == 400 and "log must be 1 or 0" in answer.json()["detail"]


def test_proxies_and_browsers_are_told_what_it_is(scene: Scene) -> None:
    path = f"/builds/{scene.submit()}/events"
    for method in ("HEAD", "GET"):
        request = scene.http.build_request(
            method,
            scene.stack.api_url + path,
            headers={
                "Authorization": f"Bearer {scene.user()}",
                "Origin": "https://spa.example.com",
            },
        )
        answer = scene.http.send(request, stream=True)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in answer.headers["cache-control"]
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["access-control-allow-origin"] == "https://spa.example.com"
        answer.close()
    preflight = scene.http.options(
        scene.stack.api_url + path,
        headers={
            "Origin": "https://spa.example.com",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,last-event-id",
        },
    )
    assert preflight.status_code == 200


def test_one_who_never_reads_costs_the_others_nothing(own: Stack) -> None:
    """A reader that stands still: the log passes it by, and the API holds none of it for it."""
    own.worker()
    with User(own) as ann:
        build_id = ann.submit(steps("echo begin; sleep 2; yes 0123456789abcdef | head -c 12000000"))
        ann.wait_for_log(build_id, "begin")
        asleep = [_reader(own, f"/builds/{build_id}/events") for _ in range(30)]
        before = _memory(own.api.pid)
        seen = list(events(ann.http, f"/builds/{build_id}/events"))
        assert len(log_of(seen)) > 12_000_000 and seen[-1].event == "end"
        assert _memory(own.api.pid) - before < 60_000_000  # 30 logs would be 360
        for each in asleep:
            each.close()


def _reader(stack: Stack, path: str) -> socket.socket:
    """A connection that asks for a stream and reads nothing of it."""
    url = urlsplit(stack.api_url)
    connection = socket.create_connection((url.hostname, url.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\n"
        f"Authorization: Bearer {stack.token()}\r\n\r\n".encode()
    )
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def _memory(pid: int) -> int:
    """Resident bytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
