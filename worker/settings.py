"""`WorkerSettings` reads a worker's settings from `BATON_*` variables."""

import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from app.config.environment import (
    FromEnvironment,
    HttpUrl,
    SealKeys,
    Words,
    check_broker,
    seal_with,
)
from app.contract.dpop import ProofKey
from app.contract.queue import broker_of
from app.contract.sealing import Seal
from app.errors import SettingsError
from worker.egress_proxy import AddressPolicy

_PROTOCOLS: Final = {"https", "ssh", "http", "file"}
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def _size(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+)([KMG]?)i?B?", value.strip(), re.IGNORECASE)
        if not found:
            raise ValueError("must be a size like 512M or 4G")
        return int(found[1]) * _UNITS[found[2].upper()]
    return value


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a directory that may not be entered, or an impossible name
        return False


def _check_api_url(url: str) -> None:
    """Refuse a URL with a user, which would replace the token in `Authorization`, or with a query
    or fragment, to which paths cannot be added. Raises `SettingsError`."""
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError("BATON_API_URL: must be a URL without user, query or fragment")


Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]


class WorkerSettings(FromEnvironment):
    """`WorkerSettings` holds the broker, the API's address, and what builds may use.

    `from_env` raises `SettingsError` with the name of each variable that is wrong.
    """

    broker_url: SecretStr | None = Field(
        default=None, description="Celery's broker; default: `BATON_REDIS_URL`."
    )
    redis_url: SecretStr | None = Field(default=None, description="The broker, if not set apart.")
    message_keys: SealKeys | None = Field(
        default=None,
        description="Keys that open the tokens in messages: the API's.",
    )
    api_url: HttpUrl = Field(description="Where the worker reaches the API; never in a message.")
    dpop_key_file: Path | None = Field(
        default=None,
        description="Private key that the build tokens of this pool are bound to (RFC 9449); "
        "`baton dpop-key` makes one.",
    )
    worker_name: str = Field(
        default_factory=lambda: os.uname().nodename,
        max_length=64,
        pattern=r"^[\w.-]+$",  # without {1,64}, which takes 20 ms to be compiled
        description="The worker's name on builds; default: the host's.",
    )
    worker_concurrency: Annotated[int, Field(ge=1)] = Field(
        default=2, description="Builds that this worker runs at once."
    )
    shutdown_grace: Annotated[float, Field(ge=0)] = Field(
        default=60,
        description="Seconds that running builds may go on after SIGTERM; then they are handed "
        "back, and start again on another worker.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much is logged; the API and the issuer read it, too."
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="How log lines look: `text`, or `json` for machines; the API and the issuer "
        "read it, too.",
    )

    sandbox: Literal["bubblewrap", "process", "auto"] = Field(
        default="auto", description="What builds run in; see docs/sandboxes.md."
    )
    sandbox_network: bool = Field(
        default=False, description="Whether builds may use the network in the bubblewrap sandbox."
    )
    sandbox_memory: Size = Field(
        default=4 * 1024**3, description="Memory of each process of a build (`512M`, `4G`)."
    )
    sandbox_processes: Annotated[int, Field(ge=1)] = Field(
        default=512, description="Processes and threads of a build at once."
    )
    sandbox_file_size: Size = Field(
        default=4 * 1024**3, description="Size of the largest file that a build may write."
    )
    sandbox_disk: Size = Field(
        default=20 * 1024**3, description="What a build may have on the worker's disk at once."
    )
    sandbox_files: Annotated[int, Field(ge=1)] = Field(
        default=1_000_000, description="Files and directories that it may have there."
    )
    sandbox_user: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Numeric user id that builds run as when the worker is root; default: nobody.",
    )
    workspaces: Path | None = Field(
        default=None,
        description="Directory for checkouts; default: `baton-<uid>` below the temporary files.",
    )

    git_protocols: Words = Field(
        default=("https", "ssh"),
        description="Protocols that sources may use: `https`, `ssh`, `http`, `file`.",
    )
    git_networks: Words = Field(
        default=(),
        description="Networks besides the public Internet that sources may be in, like "
        "`10.1.0.0/16`: a git server of your own.",
    )
    git_ssh_key: Path | None = Field(
        default=None, description="Private key for `ssh` sources; read by git alone."
    )
    git_ssh_known_hosts: Path | None = Field(
        default=None, description="Host keys for `ssh` sources; an unknown host is refused."
    )
    development: bool = Field(
        default=False, description="Set by `baton dev`: `auto` may fall back to `process`."
    )

    def check(self) -> None:
        """Check what spans several fields; called by `from_env`. Raises `SettingsError`."""
        if self.broker_url is None and self.redis_url is None:
            raise SettingsError("BATON_BROKER_URL is not set: the worker waits for builds there")
        wrong = sorted(set(self.git_protocols) - _PROTOCOLS)
        if wrong or not self.git_protocols:
            raise SettingsError(
                f"BATON_GIT_PROTOCOLS: {', '.join(wrong) or 'nothing'} cannot be allowed; choose "
                f"from {', '.join(sorted(_PROTOCOLS))}"
            )
        try:
            AddressPolicy(self.git_networks)
        except ValueError as error:
            raise SettingsError(f"BATON_GIT_NETWORKS: {error}") from None
        for name in ("git_ssh_key", "git_ssh_known_hosts"):
            path: Path | None = getattr(self, name)
            if path is not None and not _is_file(path):
                raise SettingsError(f"BATON_{name.upper()}: there is no file {path} to be read")
        seal_with(self.message_keys, development=self.development)
        self.proof_key  # noqa: B018  so that a wrong file stops the start
        _check_api_url(self.api_url)
        check_broker(self.broker, "BATON_BROKER_URL" if self.broker_url else "BATON_REDIS_URL")

    @property
    def seal(self) -> Seal | None:
        """What opens the tokens in messages; None in development without keys."""
        return seal_with(self.message_keys, development=self.development)

    @property
    def proof_key(self) -> ProofKey | None:
        """The key in `dpop_key_file`, read anew each time. Raises `SettingsError`."""
        try:
            return ProofKey.load(self.dpop_key_file) if self.dpop_key_file else None
        except ValueError as error:
            raise SettingsError(f"BATON_DPOP_KEY_FILE: {error}") from None

    @property
    def broker(self) -> str:
        """The URL that Celery connects to, password included."""
        if self.broker_url:
            return self.broker_url.get_secret_value()
        return broker_of(self.redis_url.get_secret_value()) if self.redis_url else ""
