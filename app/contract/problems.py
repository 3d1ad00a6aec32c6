"""Problem details (RFC 9457) have a closed set of types: all that the API may say went wrong.

A worker gives up only when the `type` of a response is one of these. The same status without such a
type came from something between worker and API, and the request is retried.
"""

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:baton:problem:"


class Code(StrEnum):
    """A code is the last part of a problem's `type`."""

    BAD_REQUEST = "bad-request"  # 400 the request itself is malformed
    INVALID_REQUEST = "invalid-request"  # 400 RFC 6750 §3.1
    MISSING_TOKEN = "missing-token"  # noqa: S105  401
    INVALID_TOKEN = "invalid-token"  # noqa: S105  401 RFC 6750 §3.1
    INVALID_PROOF = "invalid-dpop-proof"  # 401 RFC 9449 §7.1
    SUPERSEDED_TOKEN = "superseded-token"  # noqa: S105  401 another attempt's token is in force
    INSUFFICIENT_SCOPE = "insufficient-scope"  # 403 RFC 6750 §3.1
    WRONG_TOKEN_KIND = "wrong-token-kind"  # noqa: S105  403 user token where a build token belongs
    WRONG_BUILD = "wrong-build"  # 403 the token is another build's
    NOT_FOUND = "not-found"  # 404
    METHOD_NOT_ALLOWED = "method-not-allowed"  # 405
    HELD_BY_ANOTHER = "held-by-another"  # 409 another worker has the claim
    LEASE_LOST = "lease-lost"  # 409 the lease ran out or another attempt holds it
    RESULT_CONFLICT = "result-conflict"  # 409 another result is on record
    LOG_CONFLICT = "log-conflict"  # 409 other bytes stand at that offset
    NOT_CANCELLABLE = "not-cancellable"  # 409 the build has ended already
    BUILD_FINAL = "build-final"  # 410
    LOG_INCOMPLETE = "log-incomplete"  # 412 send the log from `end`
    TOO_SLOW = "too-slow"  # 408 the body did not arrive in time
    TOO_LARGE = "too-large"  # 413
    LOG_FULL = "log-full"  # 413 the build's log limit is reached
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"  # 415
    LOG_GAP = "log-gap"  # 416 bytes are missing before these; send from `end`
    RANGE_NOT_SATISFIABLE = "range-not-satisfiable"  # 416
    INVALID_BODY = "invalid-body"  # 422 with `errors`
    KEY_REUSED = "idempotency-key-reused"  # 422 same Idempotency-Key, other body
    TOO_MANY = "too-many"  # 429 requests of this user, or from this address
    QUEUE_FULL = "queue-full"  # 429 the user has as many builds queued as one may
    TOO_MANY_STREAMS = "too-many-streams"  # 429 the user follows as much at once as one may
    INTERNAL = "internal-error"  # 500
    TOKEN_REFUSED = "token-refused"  # noqa: S105  502 the provider's answer to an exchange is no use
    UNAVAILABLE = "unavailable"  # 503 with Retry-After
    NO_TOKEN = "no-token"  # noqa: S105  503 the provider is away, and nothing was submitted


class FieldError(BaseModel):
    """A `FieldError` says where a body is wrong (a JSON Pointer, RFC 6901), and what to do."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """A `Problem` is the body of every error response."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[FieldError] | None = None
    end: int | None = None

    @property
    def code(self) -> Code | None:
        """Return the code in `type`; None when the problem is not one of Baton's."""
        prefix, word = self.type[: len(TYPE_PREFIX)], self.type[len(TYPE_PREFIX) :]
        try:
            return Code(word) if prefix == TYPE_PREFIX else None
        except ValueError:
            return None
