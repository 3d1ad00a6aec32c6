"""Redaction takes secrets out of text that goes to a log or a tracing backend.

Our own code logs no secret. But libraries print what they fail over: Celery a message that it
cannot read, with all its headers; httpx a header that it cannot send; a Redis client the URL with
its password.
"""

import re
from collections.abc import Iterable
from typing import Final

#: A JSON Web Token, or the beginning of one: base64url of `{"`, then the rest (RFC 7515 §3.1).
_TOKEN: Final = r"(?-i:eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*)"  # noqa: S105

#: Names whose values are secrets: headers, members of token requests and responses (RFC 6749, 7521,
#: 8693, 7636), and the header of messages that holds the sealed token.
_NAMES: Final = (
    "authorization|proxy-authorization|cookie|set-cookie|dpop|client_secret|client_assertion|"
    "access_token|refresh_token|id_token|subject_token|actor_token|code_verifier|baton_token|"
    "password|api[-_]key|x-api-key"
)
_NAME: Final = re.compile(_NAMES, re.IGNORECASE)

#: A name with its value: `name=value&`, `name: value`, `"name": "value"`, `b'name', b'value'`. The
#: scheme of a header's value stays (RFC 9110 §11.4).
_NAMED: Final = (
    rf"(?P<name>\b(?:{_NAMES})\\?[\"']?\s*[:=,]\s*(?:b(?=[\"']))?\\?[\"']?(?:(?:Bearer|Basic|DPoP)\s+)?)"
    r"(?P<value>(?<=[\"'])[^\"'\\]+|[^\s\"'\\&,;)}\]]+)"
)
_CREDENTIALS: Final = (
    r"(?P<scheme>\b(?:Bearer|Basic|DPoP)\s+)(?P<credentials>[A-Za-z0-9._~+/-]{16,}=*)"
)
#: The password in a URL; Celery itself puts asterisks there.
_IN_URL: Final = r"(?P<user>://[^\s/:@\"']*:)(?!\*+@)[^\s/@\"']+(?=@)"

_SECRET: Final = re.compile(f"(?P<token>{_TOKEN})|{_NAMED}|{_CREDENTIALS}|{_IN_URL}", re.IGNORECASE)

#: The least characters of a secret that is looked for; a shorter one would be found in words.
_MIN_SECRET_LENGTH: Final = 8


class Redaction:
    """A `Redaction` writes `[token]` in place of each token, and `[secret]` in place of each value
    whose name says that it is secret and each of the `secrets` that this process was given."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({s for s in secrets if len(s) >= _MIN_SECRET_LENGTH}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        if self._known:
            text = self._known.sub("[secret]", text)
        return _SECRET.sub(_replacement, text)


def is_secret(name: str) -> bool:
    """Return whether a value of this name must not be shown."""
    return _NAME.fullmatch(name) is not None


def _replacement(found: re.Match[str]) -> str:
    if found["token"]:
        return "[token]"
    value = found["value"] or found["credentials"] or ""
    if value in {"[secret]", "[token]"}:
        return found[0]
    before: str = found["name"] or found["scheme"] or found["user"]
    return before + ("[token]" if value.startswith("eyJ") else "[secret]")


#: The redaction for text outside of a process' log, which knows no `secrets`.
without_secrets: Final = Redaction()
