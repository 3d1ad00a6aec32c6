"""`AppState` holds the parts that endpoints work with; `app.bootstrap.api` makes it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from app.api.auth import Authenticator
from app.api.limits import Limits
from app.api.metrics.metrics import Metrics
from app.api.problems import Problems
from app.api.stream_limit import StreamLimit
from app.builds.held_heartbeats import HeldHeartbeats
from app.builds.queue_position import QueuePositions
from app.builds.service import BuildService, PrefetchTokens
from app.builds.streams import BuildStreams

#: A readiness check returns when its subject is ready, and raises otherwise.
Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class AppState:
    """An `AppState` belongs to one API process, and never changes."""

    service: BuildService
    streams: BuildStreams
    held_heartbeats: HeldHeartbeats
    queue_positions: QueuePositions
    auth: Authenticator
    limits: Limits
    stream_limit: StreamLimit
    metrics: Metrics
    #: Takes a user's token, and returns the function that exchanges it; None: tokens are minted.
    exchange: Callable[[str], PrefetchTokens] | None
    problems: Problems
    max_body: int  #: bytes
    root: str  #: the path of the API's URL, which precedes all paths; may be empty
    checks: Mapping[str, Check]
    jwks: Mapping[str, Any]  #: the `local` minter's public keys
    resource_metadata: Mapping[str, Any]
    openid_configuration: str  #: the URL of the issuer's discovery document


def state(request: Request) -> AppState:
    """Return the state of the application that a request came to."""
    found: AppState = request.app.state.baton
    return found
