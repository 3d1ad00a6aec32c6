"""What may be asked for, and what is refused before anything runs."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.contract.spec import BuildSpec, Source

STEP = {"name": "test", "run": "make test"}


@pytest.mark.parametrize(
    ("git", "protocol"),
    [
        ("https://git.example.com/team/site.git", "https"),
        ("ssh://git@git.example.com/team/site.git", "ssh"),
        ("git@git.example.com:team/site.git", "ssh"),
        ("file:///srv/site", "file"),
    ],
)
def test_a_repository_is_a_url(git: str, protocol: str) -> None:
    assert Source(git=git).protocol == protocol


@pytest.mark.parametrize(
    "git",
    [
        "--upload-pack=touch /tmp/x",
        "-u",
        "/srv/site",
        "../site",
        "ext::sh -c date",
        "host:path",
        "https://host/a b",
        "https://host/a\nb",
        "",
        "-oProxyCommand=x@host:path",
        "-x@host:path",
        "git@-x:path",
        "git@host:-x",
        "ssh://-oProxyCommand=x/path",
    ],
)
def test_a_repository_is_nothing_else(git: str) -> None:
    with pytest.raises(ValidationError):
        Source(git=git)


@pytest.mark.parametrize("ref", ["main", "v1.2.3", "feature/x_y", "refs/pull/17/head", "user@x"])
def test_a_ref_is_a_name(ref: str) -> None:
    assert Source(git="https://host/x", ref=ref).ref == ref


@pytest.mark.parametrize(
    "ref",
    ["", "-x", "--help", "a..b", "a b", "a:b", "a^", "a~1", "a*", "a?", "a[", "a\\b", "a@{1}",
     "x.lock", "x/", "x.", "a//b", "a\nb", "x" * 300],
)  # fmt: skip
def test_a_ref_is_nothing_else(ref: str) -> None:
    with pytest.raises(ValidationError):
        Source(git="https://host/x", ref=ref)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": []},
        {"steps": [STEP, STEP]},
        {"steps": [STEP | {"run": ""}]},
        {"steps": [STEP | {"run": "a\0b"}]},
        {"steps": [STEP | {"name": "a\nb"}]},
        {"steps": [STEP | {"timeout": 0}]},
        {"steps": [STEP | {"timeout": "10"}]},
        {"steps": [STEP | {"timeout": True}]},
        {"timeout": -1},
        {"timeout": 10**9},
        {"env": {"A-B": "x"}},
        {"env": {"A": "a\0b"}},
        {"env": {"CI": "false"}},
        {"env": {"BATON_BUILD_ID": "x"}},
        {"labels": {"": "x"}},
        {"labels": {f"l{n}": "x" for n in range(33)}},
        {"surprise": 1},
    ],
)
def test_a_wrong_spec_is_refused(change: dict[str, Any]) -> None:
    BuildSpec.model_validate({"steps": [STEP]})
    with pytest.raises(ValidationError):
        BuildSpec.model_validate({"steps": [STEP]} | change)
