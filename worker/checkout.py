"""`Checkout` runs git in the sandbox, without the host's configuration."""

import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from app.contract.spec import Source
from worker.egress_proxy import AddressPolicy, EgressProxy
from worker.errors import CheckoutFailed
from worker.sandbox import Command, Workspace

#: Runs a command to its end; returns its exit status and the end of its output.
Execute = Callable[[Command], tuple[int, bytes]]

#: The script runs without hooks, helpers and prompts; the URL and the names come from the
#: environment, as data. A submodule's URL is chosen by the repository, not by the user: only the
#: user may name files of this host, whatever the sandbox would let through (git's own rule, which
#: GIT_ALLOW_PROTOCOL overrides, is the same since CVE-2022-39253).
_SCRIPT: Final = r"""
export GIT_CONFIG_GLOBAL="$HOME/.baton-gitconfig"
cat > "$GIT_CONFIG_GLOBAL" <<END
[safe]
	directory = *
[core]
	hooksPath = /dev/null
[protocol "ext"]
	allow = never
[credential]
	helper =
[http]
	proxy = "$PROXY"
[advice]
	detachedHead = false
[init]
	defaultBranch = main
END
# A password in the URL is for this checkout, not for the steps that find its configuration.
[ "$SOURCE_BASE" = "$SOURCE_LOGIN" ] ||
  git config --global "url.$SOURCE_LOGIN.insteadOf" "$SOURCE_BASE"
printf '%s\n' "$SSH_CONFIG" > "$HOME/.baton-ssh"
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
rm -f "$GIT_CONFIG_GLOBAL" "$HOME/.baton-ssh"
git rev-parse --verify HEAD
"""

_SHA256: Final = 64  #: hex digits
_HOST: Final = re.compile(r"[\w.:-]+")  #: without what means something in ssh's configuration
_SSH_PORT: Final = 22
_COMMIT: Final = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64})\n\Z")
_ERROR_LINE: Final = re.compile(
    r"^(?:fatal|error|ssh|remote|Host key|Permission denied)\b.*", re.MULTILINE
)

#: A full disk, which git names on an earlier line than its last error; the operator needs it.
_NO_SPACE: Final = re.compile(
    r"^.*\b(?:No space left on device|Disk quota exceeded|Out of diskspace)\b.*", re.MULTILINE
)

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Checkout:
    """`Checkout` fetches a build's source into its workspace, through an `EgressProxy`."""

    def __init__(
        self,
        *,
        protocols: Sequence[str],
        policy: AddressPolicy,
        ssh_key: Path | None = None,
        ssh_known_hosts: Path | None = None,
    ) -> None:
        self._protocols = protocols
        self._policy = policy
        self._ssh_key = ssh_key
        self._ssh_known_hosts = ssh_known_hosts

    def run(
        self, source: Source, workspace: Workspace, path: str, execute: Execute, *, isolates: bool
    ) -> str:
        """Check `source` out into the workspace; return the commit's id in hex.

        `path` is the `PATH` that git runs with; `isolates` says whether the sandbox gives the
        command a network of its own. Raises `CheckoutFailed`, and whatever `execute` raises.
        """
        self._check_protocol(source)
        proxy = EgressProxy(self._policy, ssh=_ssh_server(source))
        with closing(proxy):
            ports = proxy.ports if isolates else proxy.listen_here()
            env = self._environment(source, workspace, path)
            command = Command(
                argv=("/bin/sh", "-e"),
                script=_SCRIPT,
                env=env | self._proxy_environment(source, workspace, ports),
                cwd=workspace.source,
                network=not isolates,
                proxy=proxy if isolates else None,
                readable=self._readable(source),
            )
            status, tail = execute(command)
        if status != 0:
            raise CheckoutFailed(proxy.refused or _reason(tail, status))
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
        """List what git may read on this host: the worker's ssh files, a local repository.

        Raises `CheckoutFailed` when that repository does not exist.
        """
        paths = [path for path in (self._ssh_key, self._ssh_known_hosts) if path]
        if source.protocol == "file":
            repository = Path(unquote(urlsplit(source.git).path))
            if not repository.is_dir():
                raise CheckoutFailed(f"there is no repository at {repository}")
            paths.append(repository)
        return paths

    def _proxy_environment(
        self, source: Source, workspace: Workspace, ports: Sequence[int]
    ) -> dict[str, str]:
        """Return the variables that send git and ssh through the proxy."""
        ssh = ["ssh", "-F", str(workspace.home / ".baton-ssh"), "-o", "BatchMode=yes"]
        ssh += ["-o", "StrictHostKeyChecking=yes", "-o", "CheckHostIP=no"]
        if self._ssh_key:
            ssh += ["-o", "IdentitiesOnly=yes", "-i", str(self._ssh_key)]
        if self._ssh_known_hosts:
            ssh += ["-o", f"UserKnownHostsFile={self._ssh_known_hosts}"]
        config = ""
        if server := _ssh_server(source):
            host, port = server
            if not _HOST.fullmatch(host):
                raise CheckoutFailed(f"{host!r} is not the name of a host")
            alias = host if port == _SSH_PORT else f"[{host}]:{port}"
            # For this host alone. ssh takes the first value of an option: git's `-p` comes later.
            config = f'Host "{host}"\nHostName 127.0.0.1\nHostKeyAlias "{alias}"\n'
            ssh += ["-o", f"Port={ports[1]}"]
        return {
            "PROXY": f"socks5h://127.0.0.1:{ports[0]}",
            "SSH_CONFIG": config,
            "GIT_SSH_COMMAND": shlex.join(ssh),
        }

    def _environment(self, source: Source, workspace: Workspace, path: str) -> dict[str, str]:
        base, login = _base(without_credentials(source.git)), _base(source.git)
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
            "SUBMODULE_PROTOCOLS": ":".join(p for p in self._protocols if p != "file"),
            "SOURCE_BASE": base,
            "SOURCE_LOGIN": login,
            "SOURCE_URL": source.git if base == login else without_credentials(source.git),
            "SOURCE_REF": source.ref or "",
            "SOURCE_SHA": source.sha or "",
            # Empty is git's own default, so that a git without SHA-256 serves all other sources.
            "OBJECT_FORMAT": "sha256" if source.sha and len(source.sha) == _SHA256 else "",
        }


def _ssh_server(source: Source) -> tuple[str, int] | None:
    """Return host and port of an `ssh` source, None for other protocols."""
    if source.protocol != "ssh":
        return None
    if "://" not in source.git:  # git@host:path
        return source.git.partition(":")[0].rpartition("@")[2], _SSH_PORT
    parts = urlsplit(source.git)
    return parts.hostname or "", parts.port or _SSH_PORT


def _base(url: str) -> str:
    """Return what all http(s) URLs on the same server begin with, user and password included.

    Empty for the other protocols.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        return ""
    return f"{parts.scheme}://{parts.netloc}/"


def without_credentials(url: str) -> str:
    """Return `url` without the part before `@`, which may be a secret, so that it may be shown."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _reason(tail: bytes, status: int) -> str:
    """Pick the line that says why git failed: a full disk first, else git's last error.

    At most 500 characters, without control characters, which a terminal would obey.
    """
    output = tail.decode(errors="replace")
    lines = _NO_SPACE.findall(output) or _ERROR_LINE.findall(output)
    return _CONTROL.sub("", lines[-1])[:500] if lines else f"git ended with {status}"
