"""Users follow builds and logs by server-sent events (HTML §9.2)."""

import re
from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from app.api import bodies, sse
from app.api.problems import ApiError
from app.api.state import state
from app.builds.streams import Position
from app.contract.problems import Code
from app.tokens.claims import UserPrincipal

T = TypeVar("T")

#: Seconds of silence after which a comment is sent, because proxies close a silent connection after
#: 30 or 60.
_KEEP_ALIVE_INTERVAL: Final = 15.0

_BUILDS_ID: Final = re.compile(r"(\d{1,16})\Z", re.ASCII)
_BUILD_ID: Final = re.compile(r"(\d{1,16})-(\d{1,15})\Z", re.ASCII)


async def builds(request: Request, user: UserPrincipal) -> Response:
    """Stream a `build` for each change of own builds, from now on or after `Last-Event-ID`."""
    streams = state(request).streams
    last = _last_event(request, _BUILDS_ID)
    version = int(last[1]) if last else await streams.latest(user.user_id)
    news = streams.owner(
        user.user_id, version, until=user.expires_at, quiet_interval=_KEEP_ALIVE_INTERVAL
    )
    return _stream(request, user, news, sse.builds, sse.opening(str(version)))


async def build(request: Request, user: UserPrincipal) -> Response:
    """Stream a `build` now and after each change, a `log` for each part of the log, then `end`."""
    build_id = request.path_params["build_id"]
    await state(request).service.log_length(user.user_id, build_id)
    last = _last_event(request, _BUILD_ID)
    at = Position(int(last[1]), int(last[2])) if last else Position()
    with_log = bodies.flag(request, "log", default=True)
    news = state(request).streams.build(
        build_id, at, until=user.expires_at, quiet_interval=_KEEP_ALIVE_INTERVAL, with_log=with_log
    )
    events = sse.BuildEvents(at)
    return _stream(request, user, news, events.of, sse.opening(events.last_id))


def _last_event(request: Request, form: re.Pattern[str]) -> re.Match[str] | None:
    given = request.headers.get("last-event-id", "")
    found = form.match(given)
    if given and not found:
        raise ApiError(
            Code.BAD_REQUEST,
            "Last-Event-ID must be the `id` of an event of this stream, or be left out",
        )
    return found


def _stream(
    request: Request,
    user: UserPrincipal,
    news: AsyncGenerator[T, None],
    write: Callable[[T], bytes],
    opening: bytes,
) -> Response:
    if request.method == "HEAD":
        return Response(None, 200, sse.UNBUFFERED, sse.MEDIA_TYPE)
    return state(request).stream_limit.response(
        user.user_id, news, write, 200, sse.UNBUFFERED, sse.MEDIA_TYPE, opening=opening
    )
