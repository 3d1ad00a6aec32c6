"""Whose turn it is, what was sent to workers, and what is overdue."""

from typing import Final

from app.builds import errors
from app.builds.store.results import Expired, Taken
from app.builds.store.scripts import Scripts, ms

#: Users whose turns one look at the queue considers, to keep the script short.
_MAX_USERS_PER_TAKE: Final = 100
#: Overdue builds that one run of the reaper takes of each kind, to keep the script short.
_MAX_EXPIRED_PER_RUN: Final = 100


class Dispatching:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def take(self, *, window: int, limit: int, hold: float) -> Taken | None:
        """The next build of the next user, now being dispatched; None when there is none."""
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
        """Record the attempt that is about to be sent; False when it is not wanted any more.

        Raises `SameToken` when the attempt before had this very token.
        """
        answer = await self._scripts.run(
            "sent", taken.build_id, taken.take, token_id, facts_json, ms(queue_ttl)
        )
        if answer == b"same_token":
            raise errors.SameToken(errors.SameToken.__doc__)
        return bool(answer == b"sent")

    async def put_back(self, taken: Taken, *, delay: float, reason: str, message: str) -> None:
        """Let a build wait again, and say why on its record."""
        await self._scripts.run("put_back", taken.build_id, taken.take, ms(delay), reason, message)

    async def give_up(self, taken: Taken, *, reason: str, message: str) -> None:
        """End a build that can never be dispatched, and say why on its record."""
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
        """Take what is overdue.

        With `hold`, or when it is later than `not_after` (seconds, by the store's clock), nothing
        is ended or taken from a worker. Builds that ended `retention` seconds ago are deleted.
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
