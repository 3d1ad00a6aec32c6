"""A build that goes well, and what its user sees of it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from app.client import BatonClient
from tests.e2e.user import User, steps
from tests.support.repository import Repository
from tests.support.stack import ExecutedStack, Stack


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Its parts executed as users execute them: nothing has been imported before they begin."""
    with ExecutedStack(tmp_path_factory.mktemp("stack")) as stack:
        stack.worker()
        yield stack


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "site")


def test_a_repository_is_built_with_a_token_for_this_build_alone(
    ann: User, repository: Repository
) -> None:
    commit = repository.commit(hello__txt="hello from the repository\n")
    spec = steps("cat hello.txt", 'echo "commit $BATON_COMMIT of $BATON_REF, $GREETING"')
    spec |= {"source": {"git": repository.url, "ref": "main"}, "env": {"GREETING": "good day"}}
    build = ann.run(spec)

    assert build["status"] == "succeeded", (build, ann.log(build["id"]))
    assert build["commit"] == commit
    assert [(step["status"], step["exit_code"]) for step in build["steps"]] == [
        ("succeeded", 0)
    ] * 2
    assert build["owner"] == ann.id
    token = build["token"]
    assert token["scope"] == "update:builds"
    assert (token["user_id"], token["build_id"]) == (ann.id, build["id"])
    log = ann.log(build["id"])
    assert "hello from the repository" in log
    assert f"commit {commit} of main, good day" in log
    assert build["log"]["length"] == len(log.encode())
    assert build["log"]["sha256"] == hashlib.sha256(log.encode()).hexdigest()


def test_a_commit_is_built_although_the_branch_has_moved_on(
    ann: User, repository: Repository
) -> None:
    first = repository.commit(version="one\n")
    repository.commit(version="two\n")
    spec = steps("cat version") | {"source": {"git": repository.url, "sha": first}}
    build = ann.run(spec)
    assert (build["status"], build["commit"]) == ("succeeded", first)
    assert "one" in ann.log(build["id"])


def test_without_a_source_the_workspace_is_empty(ann: User) -> None:
    build = ann.run(steps('test -z "$(ls -A)" && echo nothing here'))
    assert build["status"] == "succeeded"
    assert "nothing here" in ann.log(build["id"])


def test_the_log_can_be_followed_while_it_is_written(ann: User) -> None:
    build_id = ann.submit(steps("echo first; while [ ! -e go ]; do sleep 0.1; [ $((i=i+1)) -lt 30 ]"
                                " || touch go; done; echo last"))  # fmt: skip
    seen = b""
    running_at_first = False
    with ann.http.stream("GET", f"/builds/{build_id}/log", params={"follow": 1}) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_bytes():
            seen += piece
            if b"first" in seen and b"last" not in seen:
                running_at_first = ann.show(build_id)["status"] == "running"
    assert running_at_first
    assert b"last" in seen
    assert seen.decode() == ann.log(build_id)


def test_ranges_of_the_log_are_served(ann: User) -> None:
    build = ann.run(steps("echo 0123456789"))
    path = f"/builds/{build['id']}/log"
    whole = ann.http.get(path).content

    part = ann.http.get(path, headers={"Range": "bytes=3-6"})
    assert (part.status_code, part.content) == (206, whole[3:7])
    assert part.headers["content-range"] == f"bytes 3-6/{len(whole)}"
    tail = ann.http.get(path, headers={"Range": "bytes=-4"})
    assert (tail.status_code, tail.content) == (206, whole[-4:])
    follow = ann.http.get(path, headers={"Range": "bytes=5-"}, params={"follow": 1})
    assert (follow.status_code, follow.content) == (206, whole[5:])
    beyond = ann.http.get(path, headers={"Range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"
    head = ann.http.head(path)
    assert (head.headers["content-length"], head.content) == (str(len(whole)), b"")


def test_a_build_can_be_retried(ann: User) -> None:
    first = ann.run(steps("echo again"))
    answer = ann.http.post(f"/builds/{first['id']}/retry")
    assert answer.status_code == 202
    second = ann.wait_for(answer.json()["id"])
    assert (second["status"], second["retry_of"]) == ("succeeded", first["id"])
    assert second["spec"] == first["spec"]


def test_builds_of_others_are_not_there(ann: User) -> None:
    build = ann.run(steps("true"))
    with User(ann.stack, "bob") as bob:
        path = f"/builds/{build['id']}"
        for answer in (
            bob.http.get(path),
            bob.http.get(f"{path}/log"),
            bob.http.post(f"{path}/cancel"),
            bob.http.post(f"{path}/retry"),
        ):
            assert answer.status_code == 404
            assert answer.json()["type"] == "urn:baton:problem:not-found"
        assert build["id"] not in [one["id"] for one in bob.http.get("/builds").json()["builds"]]


def test_pages_of_builds_are_linked(ann: User) -> None:
    ids = [ann.submit(steps("true")) for _ in range(3)]
    first = ann.http.get("/builds", params={"limit": 2})
    assert [build["id"] for build in first.json()["builds"]] == [ids[2], ids[1]]
    assert first.links["next"]["url"].endswith(f"cursor={ids[1]}")
    second = ann.http.get(first.links["next"]["url"]).json()
    assert second["builds"][0]["id"] == ids[0]
    for build_id in ids:
        ann.wait_for(build_id)
    done = ann.http.get("/builds", params={"status": "succeeded", "limit": 100}).json()["builds"]
    assert set(ids) <= {build["id"] for build in done}


def test_builds_are_found_by_their_labels(ann: User) -> None:
    labels = {"pr": "17", "team": "a & b: c"}
    ids = [ann.submit({**steps("true"), "labels": {**labels, "n": str(n)}}) for n in range(3)]
    ann.submit({**steps("true"), "labels": {"pr": "18"}})
    both = {"label": ["pr:17", "team:a & b: c"], "limit": "2"}
    first = ann.http.get(f"/builds?{urlencode(both, doseq=True)}")
    assert [build["id"] for build in first.json()["builds"]] == [ids[2], ids[1]]
    second = ann.http.get(first.links["next"]["url"]).json()
    assert ([build["id"] for build in second["builds"]], second["next"]) == ([ids[0]], None)
    with BatonClient(ann.stack.api_url, ann.token) as client:
        found = client.list(labels=["pr:17", "n:1"])
    assert [build.id for build in found.builds] == [ids[1]]


def test_the_same_key_and_body_make_one_build(ann: User) -> None:
    headers = {"Idempotency-Key": "a-key-of-the-test"}
    first = ann.http.post("/builds", json=steps("true"), headers=headers)
    again = ann.http.post("/builds", json=steps("true"), headers=headers)
    other = ann.http.post("/builds", json=steps("false"), headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert (other.status_code, other.json()["type"]) == (
        422,
        "urn:baton:problem:idempotency-key-reused",
    )
