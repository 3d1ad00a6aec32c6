"""Users read a log: all of it, a range, or as it grows."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api import bodies
from app.api.problems import ApiError
from app.api.sse import UNBUFFERED
from app.api.state import state
from app.builds.streams import Change, LogPiece, Position, StreamSignal
from app.contract.problems import Code
from app.tokens.claims import UserPrincipal

#: The last byte of a range whose end is not known yet (RFC 8673 §2.2).
_VERY_LAST: Final = 2**63 - 1

#: Seconds between the stream's signals of silence, which a follower of bytes does not get.
_SILENCE_INTERVAL: Final = 3600.0

_HEADERS: Final = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-store",
}


async def read(request: Request, user: UserPrincipal) -> Response:
    build_id = request.path_params["build_id"]
    service = state(request).service
    follow = bodies.flag(request, "follow", default=False)
    status, length = await service.log_length(user.user_id, build_id)
    if follow and request.method != "HEAD":
        return _follow(request, user, length, final=status.final)

    wanted = bodies.byte_range(request, length)
    first, last = wanted or (0, None)
    stop = length if last is None else min(length, last + 1)
    if wanted and first >= length:
        raise _not_satisfiable(length)
    headers = {**_HEADERS, "Content-Length": str(stop - first)}
    if wanted:
        headers["Content-Range"] = f"bytes {first}-{stop - 1}/{length}"
    content = () if request.method == "HEAD" else service.read_log(build_id, first, stop)
    return StreamingResponse(content, 206 if wanted else 200, headers, "text/plain; charset=utf-8")


def _follow(request: Request, user: UserPrincipal, length: int, *, final: bool) -> Response:
    """Stream the log from the range's first byte until the build ends; `length` is that of now.

    Only an open range counts: one with a last byte does not ask for what is still to come, and is
    ignored.
    """
    wanted = bodies.byte_range(request, length)
    if wanted and wanted[1] is not None and wanted[1] < _VERY_LAST:
        wanted = None
    first = wanted[0] if wanted else 0
    if final and first > length:
        raise _not_satisfiable(length)
    headers = {**_HEADERS, **UNBUFFERED}
    if wanted:
        headers["Content-Range"] = f"bytes {first}-{_VERY_LAST}/*"
    build_id = request.path_params["build_id"]
    return state(request).stream_limit.response(
        user.user_id,
        state(request).streams.build(
            build_id,
            Position(offset=first),
            until=user.expires_at,
            quiet_interval=_SILENCE_INTERVAL,
            with_log=True,
        ),
        _bytes,
        206 if wanted else 200,
        headers,
        "text/plain; charset=utf-8",
    )


def _bytes(news: Change | LogPiece | StreamSignal) -> bytes:
    return news.data if isinstance(news, LogPiece) else b""


def _not_satisfiable(length: int) -> ApiError:
    return ApiError(
        Code.RANGE_NOT_SATISFIABLE,
        f"the log has {length} bytes",
        headers={"Content-Range": f"bytes */{length}"},
        end=length,
    )
