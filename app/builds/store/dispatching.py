"""`Dispatching` decides whose turn it is, records what was sent to workers, and takes what is
overdue."""

from typing import Final

from app.builds import errors
from app.builds.store.results import Expired, Taken
from app.builds.store.scripts import Scripts, ms

#: Users whose turns one run of the script `take` considers, to keep it short.
_MAX_USERS_PER_TAKE: Final = 100
#: Overdue builds of each kind that one run of the script `expire` takes, to keep it short.
_MAX_EXPIRED_PER_RUN: Final = 100


class Dispatching:
    """`Dispatching` serves the dispatcher and the reaper.

    Every method raises `StoreUnavailable`. `sent`, `put_back` and `give_up` do nothing when the
    build was taken again or cancelled since `taken`.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def take(self, *, window: int, limit: int, hold: float) -> Taken | None:
        """Take the next build of the next user for dispatch; return None when there is none.

        `window`: messages that may wait in the broker; `limit`: builds that one user may have
        dispatched or running; `hold`: seconds after which the reaper takes the build back.
        """
        answer = [b"more"]
        while answer[0] == b"more":
            answer = await self._scripts.run("take", window, limit, ms(hold), _MAX_USERS_PER_TAKE)
        if answer[0] != b"taken":
            return None
        return Taken(
            build_id=answer[1].decode(),
            owner=answer[2].decode(),
            timeout=float(answer[3]),
            attempt=int(answer[4]),
            take=int(answer[5]),
            failures=int(answer[6]),
            trace=answer[7].decode(),
            more=bool(answer[8]),
        )

    async def sent(self, taken: Taken, *, token_id: str, facts_json: str, queue_ttl: float) -> bool:
        """Record the attempt whose message is about to be sent; False when it must not be sent any
        more.

        `queue_ttl`: seconds within which a worker must claim the build. Raises `SameToken` when the
        attempt before had this very token.
        """
        answer = await self._scripts.run(
            "sent", taken.build_id, taken.take, token_id, facts_json, ms(queue_ttl)
        )
        if answer == b"same_token":
            raise errors.SameToken(errors.SameToken.__doc__)
        return bool(answer == b"sent")

    async def put_back(self, taken: Taken, *, delay: float, reason: str, message: str) -> None:
        """Queue a build again after `delay` seconds, and put the reason on its record."""
        await self._scripts.run("put_back", taken.build_id, taken.take, ms(delay), reason, message)

    async def give_up(self, taken: Taken, *, reason: str, message: str) -> None:
        """End a build that can never be dispatched, and put the reason on its record."""
        await self._scripts.run("give_up", taken.build_id, taken.take, reason, message)

    async def expire(
        self,
        *,
        hold: bool,
        max_attempts: int,
        max_wait: float,
        retention: float,
        not_after: float | None = None,
    ) -> Expired:
        """Requeue or end what is overdue, and return what was done.

        With `hold`, or when it is later than `not_after` (seconds since 1970, by the store's
        clock), no build is ended or taken from its worker. Builds that ended `retention` seconds
        ago are deleted in either case.
        """
        at, held, *words = [
            item.decode()
            for item in await self._scripts.run(
                "expire", int(hold), max_attempts, ms(max_wait), ms(retention),
                _MAX_EXPIRED_PER_RUN, "" if not_after is None else ms(not_after),
            )
        ]  # fmt: skip
        done = list(zip(words[::2], words[1::2], strict=True))
        return Expired(at=int(at) / 1000, held=held == "1", done=done)
