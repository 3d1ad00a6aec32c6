"""Checking out: what git servers give, and what a hostile repository tries, in both sandboxes."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.user import User, steps
from tests.support.needs import needs
from tests.support.repository import Repository
from tests.support.servers.git_server import GitServer
from tests.support.stack import Stack


@dataclass
class Scene:
    ann: User
    root: Path
    server: GitServer
    sandbox: str

    @property
    def call(self) -> str:
        """A command that leaves its trace on the server, from any sandbox with a network."""
        return f"git ls-remote {self.server.url('called')}"

    @property
    def called(self) -> bool:
        return any("called" in path for path in self.server.requests)

    def repository(self, name: str) -> Repository:
        return Repository(self.root / name)

    def build(self, url: str, *scripts: str, **source: str) -> dict[str, Any]:
        build = self.ann.run(steps(*(scripts or ("true",))) | {"source": {"git": url, **source}})
        return build | {"text": self.ann.log(build["id"])}


@pytest.fixture(scope="module", params=["process", "bubblewrap"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    if request.param == "bubblewrap":
        needs("bwrap")
    with Stack(tmp_path_factory.mktemp("stack"), sandbox=request.param) as stack:
        stack.worker()
        yield stack


@pytest.fixture
def scene(stack: Stack, tmp_path: Path) -> Iterator[Scene]:
    root = tmp_path / "git"
    root.mkdir(mode=0o755)
    with GitServer(root) as server, User(stack) as ann:
        yield Scene(ann, root, server, stack._sandbox)


def add_submodule(repository: Repository, url: str, name: str = "lib", path: str = "lib") -> None:
    """A submodule as a hand would write it; git itself would refuse to make some of these."""
    lib = repository.path.parent / "lib.git"
    commit = Repository(lib).commit(lib__txt="from the library") if not lib.exists() else (
        subprocess.run(["git", "-C", str(lib), "rev-parse", "HEAD"], check=True,
                       capture_output=True, text=True).stdout.strip()
    )  # fmt: skip
    (repository.path / ".gitmodules").write_text(
        f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n'
    )
    repository.git("add", ".gitmodules")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    repository.git("commit", "--quiet", "--message", "with a submodule")


def test_the_default_branch_comes_shallow(scene: Scene) -> None:
    repository = scene.repository("site")
    for n in range(3):
        repository.commit(version=str(n))
    build = scene.build(scene.server.url("site"), "cat version; git rev-list --count HEAD")
    assert build["status"] == "succeeded", build
    assert build["text"].endswith("21\n"), "version 2, and a history of one commit"


def test_a_commit_behind_the_tip_comes_shallow_where_the_server_allows_it(scene: Scene) -> None:
    repository = scene.repository("site")
    first = repository.commit(version="first")
    repository.commit(version="second")
    url = scene.server.url("site")
    build = scene.build(url, "cat version; git rev-list --count HEAD", sha=first)
    assert (build["status"], build["commit"]) == ("succeeded", first)
    assert build["text"].endswith("first1\n")


def test_a_commit_of_a_sha256_repository_is_found(scene: Scene) -> None:
    repository = scene.repository("site")
    shutil.rmtree(repository.path / ".git")
    repository.git("init", "--quiet", "--initial-branch=main", "--object-format=sha256")
    commit = repository.commit(version="first")
    assert len(commit) == 64
    build = scene.build(scene.server.url("site"), "cat version", sha=commit)
    assert (build["status"], build["commit"]) == ("succeeded", commit)


def test_a_commit_that_no_branch_has_is_named(scene: Scene) -> None:
    scene.repository("site").commit(version="first")
    build = scene.build(scene.server.url("site"), sha="0" * 39 + "1")
    assert (build["status"], build["reason"]) == ("errored", "checkout_failed")
    assert f"commit {'0' * 39}1 is not in the repository" in build["message"]


@pytest.mark.parametrize("ref", ["v1.0", "refs/tags/v1.0", "feature/a-b", "+main", "@"])
def test_refs_of_all_kinds_are_found(scene: Scene, ref: str) -> None:
    repository = scene.repository("site")
    repository.commit(version="here")
    repository.git("tag", "-a", "v1.0", "-m", "one")
    repository.git("branch", "feature/a-b")
    build = scene.build(scene.server.url("site"), "cat version", ref=ref)
    if build["status"] != "succeeded":
        assert ref == "@", build  # HEAD's short name is not every server's
    else:
        assert build["text"].endswith("here")


@pytest.mark.parametrize(
    "ref", ["-x", "--upload-pack=touch /tmp/pwned", "-c", "--", "a b", "a:b", "x\ny", "a..b"]
)
def test_a_ref_that_looks_like_an_option_is_no_ref(scene: Scene, ref: str) -> None:
    answer = scene.ann.http.post(
        "/builds", json=steps("true") | {"source": {"git": scene.server.url("x"), "ref": ref}}
    )
    assert answer.status_code == 422


def test_submodules_are_checked_out(scene: Scene) -> None:
    repository = scene.repository("site")
    repository.commit(version="1")
    add_submodule(repository, scene.server.url("lib.git"))
    build = scene.build(scene.server.url("site"), "cat lib/lib.txt")
    assert build["status"] == "succeeded", build
    assert "from the library" in build["text"]


def test_a_relative_submodule_comes_from_the_same_server(scene: Scene) -> None:
    repository = scene.repository("site")
    repository.commit(version="1")
    add_submodule(repository, "../lib.git")
    build = scene.build(scene.server.url("site"), "cat lib/lib.txt")
    assert build["status"] == "succeeded", build
    assert "from the library" in build["text"]


def test_a_submodule_opens_no_files_of_the_workers_machine(scene: Scene) -> None:
    """The user may name them (BATON_GIT_PROTOCOLS has `file` here); a repository may not."""
    repository = scene.repository("site")
    repository.commit(version="1")
    add_submodule(repository, f"file://{scene.root}/lib.git")
    build = scene.build(scene.server.url("site"), "cat lib/lib.txt")
    assert (build["status"], build["reason"]) == ("errored", "checkout_failed")
    assert "transport 'file' not allowed" in build["text"]
    assert "from the library" not in build["text"]


HOSTILE_SUBMODULES = {
    "ext": ("lib", "lib", "ext::{call}"),
    "option": ("lib", "lib", '"--upload-pack={call}"'),
    "ssh-option": ("lib", "lib", '"ssh://-oProxyCommand={call}/x"'),
    "scp-option": ("lib", "lib", '"-oProxyCommand={call}:x"'),
    "fd": ("lib", "lib", "fd::0"),
    "protocol": ("lib", "lib", "git://127.0.0.1/x"),
    "name-traversal": ("../../hooks", "lib", "../lib.git"),
    "path-traversal": ("lib", "../lib", "../lib.git"),
    "path-in-dot-git": ("lib", ".git/modules/x", "../lib.git"),
    "path-option": ("lib", "-clib", "../lib.git"),
    "newline": ("lib", "lib", '"https://host/x\\nhost=evil"'),
    "update": ("lib", "lib", "../lib.git\n\tupdate = !{call}"),
}


@pytest.mark.parametrize("name", HOSTILE_SUBMODULES)
def test_a_hostile_submodule_runs_nothing(scene: Scene, name: str) -> None:
    module, path, url = HOSTILE_SUBMODULES[name]
    repository = scene.repository("site")
    repository.commit(version="1")
    try:
        add_submodule(repository, url.format(call=scene.call), module, path)
    except subprocess.CalledProcessError:
        # git makes no such entry; then only .gitmodules speaks of it.
        repository.git("add", ".gitmodules")
        repository.git("commit", "--quiet", "--message", "hostile")
    build = scene.build(scene.server.url("site"), "ls -a .. .git/hooks")
    assert not scene.called
    if build["status"] == "succeeded":
        assert "post-checkout\n" not in build["text"]
        assert "lib\n" not in build["text"]
    else:
        assert build["reason"] == "checkout_failed"


def test_the_canary_of_these_tests_sings(scene: Scene) -> None:
    """A checkout could make the call that they look for: it has git and the network."""
    build = scene.build(scene.server.url("called"))
    assert build["reason"] == "checkout_failed"
    assert scene.called


def test_hooks_filters_and_attributes_run_nothing(scene: Scene) -> None:
    """A repository brings the words; no configuration that is read gives them a meaning."""
    repository = scene.repository("site")
    for folder in ("hooks", ".git-hooks", ".githooks"):
        (repository.path / folder).mkdir()
        for hook in ("post-checkout", "reference-transaction", "post-index-change"):
            write_hook(repository.path / folder / hook, scene.call)
    (repository.path / ".gitattributes").write_text("* filter=evil diff=evil merge=evil ident\n")
    configuration = (
        f'[filter "evil"]\n\tsmudge = {scene.call}\n\tclean = {scene.call}\n'
        f"[core]\n\tfsmonitor = {scene.call}\n\thooksPath = hooks\n\tsshCommand = {scene.call}\n"
    )
    for name in (".gitconfig", "config", ".baton-gitconfig"):
        (repository.path / name).write_text(configuration)
    repository.commit(version="1")
    build = scene.build(scene.server.url("site"), "cat version; ls .git/hooks/post-checkout")
    assert not scene.called
    assert build["reason"] == "step_failed", "the checkout went well, and made no hook"


def write_hook(path: Path, call: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{call}\n")
    path.chmod(0o755)


def test_the_configuration_of_a_repository_on_this_machine_runs_nothing(scene: Scene) -> None:
    """With `file`, git serves the repository itself, beside its owner's configuration."""
    repository = scene.repository("site")
    repository.commit(version="1")
    for key in (
        "uploadpack.packObjectsHook", "core.alternateRefsCommand", "core.fsmonitor",
        "core.sshCommand", "core.gitProxy", "diff.external", "core.pager",
    ):  # fmt: skip
        repository.git("config", key, scene.call)
    for hook in ("post-checkout", "pre-auto-gc", "reference-transaction"):
        write_hook(repository.path / ".git" / "hooks" / hook, scene.call)
    build = scene.build(repository.url, "cat version")
    assert build["status"] == "succeeded", build
    assert not scene.called


def test_a_checkout_does_not_write_through_a_link(scene: Scene, tmp_path: Path) -> None:
    """A tree that has one name twice: as a link out of the workspace, and as a directory."""
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    repository = scene.repository("site")
    repository.commit(version="1")

    def made(kind: str, content: str) -> str:
        return subprocess.run(
            ["git", "-C", str(repository.path), *kind.split()],
            input=content, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    link, file = made("hash-object -w --stdin", str(outside)), made("hash-object -w --stdin", "x")
    folder = made("mktree", f"100644 blob {file}\tescaped\n")
    tree = made("mktree", f"120000 blob {link}\tout\n040000 tree {folder}\tout\n")
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", tree, "-m", "x"))
    build = scene.build(scene.server.url("site"), "ls -l")
    assert build["status"] in {"succeeded", "errored"}
    assert list(outside.iterdir()) == []


def test_a_password_in_the_url_is_used_and_never_shown(scene: Scene) -> None:
    scene.repository("site").commit(version="secret stuff")
    with GitServer(scene.root, password="hunter2-the-password") as server:
        build = scene.build(
            server.url("site", credentials="ann:hunter2-the-password"), "cat version"
        )
        assert build["status"] == "succeeded", build
        assert "hunter2" not in build["text"]
        wrong = scene.build(server.url("site", credentials="ann:hunter2-the-wrong-one"))
        assert (wrong["status"], wrong["reason"]) == ("errored", "checkout_failed")
        assert "hunter2" not in wrong["text"] + wrong["message"]


def test_nothing_of_ours_is_left_for_the_steps(scene: Scene) -> None:
    scene.repository("site").commit(version="1")
    build = scene.build(scene.server.url("site"), 'ls -A "$HOME"; env | grep -i ^GIT_ || true')
    assert build["status"] == "succeeded", build
    assert build["text"].endswith("==> step 0\n")
