"""`SavedSignIns` keeps the tokens of `baton login`: one file for each API, for its owner alone."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.cli.atomic_write import OWNER, write_atomically
from app.client import ClientError

_FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o077  #: the rights of group and others

#: Seconds to wait for the lock; its holder may be waiting for an issuer.
_LOCK_TIMEOUT: Final = 30.0
_LOCK_POLL_INTERVAL: Final = 0.02  #: seconds


class SavingFailed(ClientError):
    """Tokens cannot be saved or read; the message says what to do."""


class SavedSignIn(BaseModel):
    """A `SavedSignIn` is what a sign-in gave, and what renewing it needs."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    api: str  #: the API's URL; the tokens are for no other
    issuer: str
    token_endpoint: str
    client_id: str
    scope: str
    access_token: str = Field(repr=False)
    refresh_token: str | None = Field(default=None, repr=False)
    renew_at: float | None = None  #: seconds since 1970; None: when the API refuses the token
    expires_at: float | None = None  #: seconds since 1970; None: unknown


class SavedSignIns:
    """A `SavedSignIns` reads and writes the files below one directory.

    Safe to use from several threads and processes at once; hold `locked` from a `read` to the
    `write` that depends on it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> Self:
        """Use `BATON_CONFIG_DIR`, else `baton` in the user's own directory (XDG Base Directory)."""
        own = environ.get("BATON_CONFIG_DIR")
        if own:
            return cls(Path(own) / "tokens")
        # XDG Base Directory: a path that is not absolute is to be ignored.
        xdg = environ.get("XDG_CONFIG_HOME", "")
        config = Path(xdg) if xdg.startswith("/") else Path("~/.config").expanduser()
        return cls(config / "baton" / "tokens")

    def read(self, api_url: str) -> SavedSignIn | None:
        """Return what is saved for exactly this API, None for nothing.

        Raises `SavingFailed`, also when others may read or write the file or its directory.
        """
        path = self._path(api_url)
        try:
            if not self._folder.is_dir():
                return None
            self._check_folder()
            text = _read_private(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SavingFailed(f"cannot read {path}: {error.strerror}") from error
        try:
            saved = SavedSignIn.model_validate_json(text)
        except ValidationError:
            raise SavingFailed(f"{path} is damaged: remove it, and run `baton login`") from None
        return saved if saved.api == named(api_url) else None

    def all(self) -> list[SavedSignIn]:
        """Return all that is saved. Raises `SavingFailed`."""
        paths = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []
        found = [self.read(unquote(path.stem)) for path in paths]
        return [saved for saved in found if saved is not None]

    def write(self, saved: SavedSignIn) -> None:
        """Save a sign-in in place of its API's last one. Raises `SavingFailed`."""
        path = self._path(saved.api)
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            self._check_folder()
            write_atomically(path, saved.model_dump_json(indent=2), OWNER)
        except OSError as error:
            raise SavingFailed(f"cannot keep tokens in {path}: {error.strerror}") from error

    def forget(self, api_url: str) -> None:
        """Delete what is saved for this API; safe to call twice. Raises `SavingFailed`."""
        path = self._path(api_url)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise SavingFailed(f"cannot remove {path}: {error.strerror}") from error

    @contextmanager
    def locked(self, api_url: str) -> Iterator[None]:
        """Keep other threads and processes out of what is saved for this API.

        Raises `SavingFailed` when another command holds the lock for 30 s.
        """
        path = self._path(api_url).with_suffix(".lock")
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, OWNER)
        except OSError as error:
            raise SavingFailed(f"cannot lock {path}: {error.strerror}") from error
        try:
            _lock(descriptor, path)
            yield
        finally:
            os.close(descriptor)

    def _path(self, api_url: str) -> Path:
        return self._folder / f"{quote(named(api_url), safe='')}.json"

    def _check_folder(self) -> None:
        _check(self._folder, self._folder.stat(), "700")


def named(api_url: str) -> str:
    """Normalize an API's URL: `https://a` and `https://a/` are the same API."""
    return api_url.rstrip("/")


def _lock(descriptor: int, path: Path) -> None:
    """Lock the descriptor, not the process, so that threads keep each other out, too.

    Raises `SavingFailed` after `_LOCK_TIMEOUT`.
    """
    end = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise SavingFailed(
                    f"another command has held {path} for {_LOCK_TIMEOUT:g} s"
                ) from None
            time.sleep(_LOCK_POLL_INTERVAL)
        else:
            return


def _read_private(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        _check(path, os.fstat(file.fileno()), "600")
        return file.read()


def _check(path: Path, found: os.stat_result, mode: str) -> None:
    if found.st_uid != os.geteuid():
        raise SavingFailed(f"{path} is another user's: tokens in it are not used")
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        raise SavingFailed(
            f"others can get at {path}: run `chmod {mode} {path}`, and `baton login` again if "
            "somebody may have read the tokens"
        )
