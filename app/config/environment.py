"""Settings are read once, from the `BATON_*` variables of an environment, into a frozen object.

A variable `X` may instead be given as `X_FILE`, the path of a file that holds the value, e.g. of a
secret. A wrong or missing value stops the start with a sentence that names the variable.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from app.contract.queue import BROKERS
from app.contract.sealing import Seal
from app.errors import SettingsError

PREFIX: Final = "BATON_"

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _http_url(value: object) -> object:
    if isinstance(value, str):
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http(s) URL")
    return value


def _redis_url(value: object) -> object:
    if isinstance(value, str) and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must be a URL like redis://host:6379/0, rediss://… or unix:///path")
    return value


def _keys(value: object) -> object:
    if isinstance(value, str):
        Seal(value.replace(",", " ").split())
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
#: Keys of a `Seal`, separated by spaces or commas.
SealKeys = Annotated[SecretStr, BeforeValidator(_keys)]
HttpUrl = Annotated[str, BeforeValidator(_http_url)]
RedisUrl = Annotated[SecretStr, BeforeValidator(_redis_url)]
#: A hundred years; a larger value is a typing error, and does not fit where times are stored.
MAX_SECONDS: Final = 100 * 366 * 24 * 3600.0
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
Port = Annotated[int, Field(ge=0, le=65535)]


class FromEnvironment(BaseModel):
    """A class of settings has one field for each variable, which a sentence describes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises `SettingsError`, which names each wrong variable."""
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            variable = PREFIX + name.upper()
            if environ.get(variable):
                values[name] = environ[variable]
            elif environ.get(f"{variable}_FILE"):
                values[name] = _content(f"{variable}_FILE", environ[f"{variable}_FILE"])
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise SettingsError(*_sentences(error)) from None
        settings.check()
        return settings

    def secrets(self) -> set[str]:
        """Return the words that no log line may contain: secrets, and the passwords of URLs."""
        found: set[str] = set()
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                found |= _secret_words(value.get_secret_value())
        return found

    def check(self) -> None:
        """Raise `SettingsError` for values that are valid one by one but disagree."""


def _secret_words(secret: str) -> set[str]:
    if "://" not in secret:
        return {secret, *secret.replace(",", " ").split()}
    try:
        password = urlsplit(secret).password or ""
    except ValueError:
        return {secret}
    return {password, unquote(password)}


def seal_with(keys: SecretStr | None, *, development: bool) -> Seal | None:
    """Return the seal for tokens in messages; None in development when there are no keys.

    Raises `SettingsError` when there are no keys otherwise.
    """
    if keys is not None:
        return Seal(keys.get_secret_value().replace(",", " ").split())
    if development:
        return None
    raise SettingsError(
        "BATON_MESSAGE_KEYS is not set: whoever can read the broker would read the tokens that "
        "wait there. Give API and workers the same key: openssl rand -base64 32 | tr '+/' '-_'"
    )


def _content(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}: cannot read {path}: {error}") from None


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for item in error.errors(include_input=False, include_url=False):
        variable = PREFIX + str(item["loc"][0]).upper()
        if item["type"] == "missing":
            sentences.append(f"{variable} is not set")
        else:
            sentences.append(f"{variable}: {item['msg'].removeprefix('Value error, ')}")
    return sentences


def check_broker(url: str, name: str) -> None:
    """Raise `SettingsError` unless Celery supports a broker with this URL; `name` is the variable.

    The message does not show the URL, which may hold a password.
    """
    scheme = urlsplit(url).scheme
    if scheme == "unix":
        raise SettingsError(
            f"{name}: Celery's URL of a Redis behind a socket is redis+socket:///path/to/the.sock"
        )
    if scheme not in BROKERS:
        raise SettingsError(f"{name}: must be a URL that begins with {', '.join(BROKERS)}")


def require_https(name: str, url: str, *, development: bool) -> None:
    """Raise `SettingsError` for plain http to another machine; `name` is the variable."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not development:
        raise SettingsError(
            f"{name} must be an https URL: over plain http anyone on the way can forge or read "
            "tokens (BATON_DEVELOPMENT=1 allows it where that does not matter)"
        )
