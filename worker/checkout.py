"""The checkout: git, in the sandbox, with nothing of the host's configuration."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from app.contract.spec import Source
from worker.errors import CheckoutFailed
from worker.sandbox import Command, Workspace

#: Runs a command to its end and returns its exit status and what it printed last.
Execute = Callable[[Command], tuple[int, bytes]]

#: No hooks, no helpers, no prompts; the URL and the names come from the environment, as data.
#: A submodule's URL is the repository's word, not the user's: files of this host are opened at the
#: word of the user alone, whatever the sandbox would let through (git's own rule, which
#: GIT_ALLOW_PROTOCOL overrides, is the same since CVE-2022-39253).
_SCRIPT: Final = r"""
export GIT_CONFIG_GLOBAL="$HOME/.baton-gitconfig"
cat > "$GIT_CONFIG_GLOBAL" <<'END'
[safe]
	directory = *
[core]
	hooksPath = /dev/null
[protocol "ext"]
	allow = never
[credential]
	helper =
[advice]
	detachedHead = false
[init]
	defaultBranch = main
END
git init --quiet ${OBJECT_FORMAT:+"--object-format=$OBJECT_FORMAT"} .
git remote add origin "$SOURCE_URL"
if [ -z "$SOURCE_SHA" ]; then
  git fetch --quiet --no-tags --depth 1 origin -- "${SOURCE_REF:-HEAD}"
  git checkout --quiet --detach FETCH_HEAD
else
  # Not every server gives out a commit by its id; then the history has to hold it.
  git fetch --quiet --no-tags --depth 1 origin -- "$SOURCE_SHA" 2>/dev/null ||
    git fetch --quiet --no-tags origin -- ${SOURCE_REF:+"$SOURCE_REF"} \
      '+refs/heads/*:refs/remotes/origin/*'
  git cat-file -e "$SOURCE_SHA^{commit}" 2>/dev/null ||
    { echo "fatal: commit $SOURCE_SHA is not in the repository" >&2; exit 128; }
  git checkout --quiet --detach "$SOURCE_SHA"
fi
if [ -e .gitmodules ]; then
  GIT_ALLOW_PROTOCOL="$SUBMODULE_PROTOCOLS" \
    git submodule --quiet update --init --recursive --depth 1
fi
rm -f "$GIT_CONFIG_GLOBAL"
git rev-parse --verify HEAD
"""

_SHA256: Final = 64  #: hex digits
_COMMIT: Final = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64})\n\Z")
_TELLING: Final = re.compile(
    r"^(?:fatal|error|ssh|remote|Host key|Permission denied)\b.*", re.MULTILINE
)

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Checkout:
    def __init__(
        self,
        *,
        protocols: Sequence[str],
        ssh_key: Path | None = None,
        ssh_known_hosts: Path | None = None,
    ) -> None:
        self._protocols = protocols
        self._ssh_key = ssh_key
        self._ssh_known_hosts = ssh_known_hosts

    def run(self, source: Source, workspace: Workspace, path: str, execute: Execute) -> str:
        """Check `source` out into the workspace; returns the commit's id.

        `path` is the `PATH` that git runs with. Raises `CheckoutFailed`.
        """
        self._check_protocol(source)
        command = Command(
            argv=("/bin/sh", "-e"),
            script=_SCRIPT,
            env=self._environment(source, workspace, path),
            cwd=workspace.source,
            network=True,
            readable=self._readable(source),
        )
        status, tail = execute(command)
        if status != 0:
            raise CheckoutFailed(_reason(tail, status))
        found = _COMMIT.search(tail)
        if not found:
            raise CheckoutFailed("git did not say which commit it checked out")
        return found[1].decode()

    def _check_protocol(self, source: Source) -> None:
        if source.protocol not in self._protocols:
            raise CheckoutFailed(
                f"sources over {source.protocol} are not allowed here, only "
                f"{', '.join(self._protocols)} (BATON_GIT_PROTOCOLS of the worker)"
            )

    def _readable(self, source: Source) -> list[Path]:
        """What git reads on this host: a key of ours, or a repository where that is allowed."""
        paths = [path for path in (self._ssh_key, self._ssh_known_hosts) if path]
        if source.protocol == "file":
            repository = Path(unquote(urlsplit(source.git).path))
            if not repository.is_dir():
                raise CheckoutFailed(f"there is no repository at {repository}")
            paths.append(repository)
        return paths

    def _environment(self, source: Source, workspace: Workspace, path: str) -> dict[str, str]:
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
        if self._ssh_key:
            ssh += ["-o", "IdentitiesOnly=yes", "-i", str(self._ssh_key)]
        if self._ssh_known_hosts:
            ssh += ["-o", f"UserKnownHostsFile={self._ssh_known_hosts}"]
        return {
            "PATH": path,
            "HOME": str(workspace.home),
            "TMPDIR": str(workspace.tmp),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "GIT_ALLOW_PROTOCOL": ":".join(self._protocols),
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_SSH_COMMAND": shlex.join(ssh),
            "SUBMODULE_PROTOCOLS": ":".join(p for p in self._protocols if p != "file"),
            "SOURCE_URL": source.git,
            "SOURCE_REF": source.ref or "",
            "SOURCE_SHA": source.sha or "",
            # git's own default for all others, so that a git without SHA-256 serves them.
            "OBJECT_FORMAT": "sha256" if source.sha and len(source.sha) == _SHA256 else "",
        }


def without_credentials(url: str) -> str:
    """A URL as it may be shown: the part before `@` may be a secret."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _reason(tail: bytes, status: int) -> str:
    """Git's own last word, where it has one; without what would steer a terminal."""
    lines = _TELLING.findall(tail.decode(errors="replace"))
    return _CONTROL.sub("", lines[-1])[:500] if lines else f"git ended with {status}"
