"""`Leases` is what a worker does with a build: claim it, renew its lease, write its log, end it."""

from app.builds import errors
from app.builds.model import Credential
from app.builds.store.results import Claimed, Finish
from app.builds.store.scripts import Scripts, ms, refusal
from app.contract.status import Status


class Leases:
    """Every method raises a subclass of `Refused` unless the worker holds the build's current
    lease, and `NotFound` for a build that was deleted."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def claim(
        self,
        build_id: str,
        credential: Credential,
        *,
        nonce: str,
        worker: str,
        lease_id: str,
        lease: float,
        after_timeout: float,
    ) -> Claimed:
        """Give a dispatched build to a worker, under the lease `lease_id`, for `lease` seconds.

        A repeated claim with the same nonce returns the same lease. `after_timeout`: seconds beyond
        the build's timeout within which its result must be reported.
        """
        answer = await self._scripts.run(
            "claim", build_id, credential.user_id, credential.token_id, nonce, worker,
            lease_id, ms(lease), ms(after_timeout),
        )  # fmt: skip
        if answer[0] != b"claimed":
            raise refusal(answer)
        return Claimed(
            lease_id=answer[1].decode(),
            attempt=int(answer[2]),
            spec_json=answer[3].decode(),
            log_offset=int(answer[4]),
            timeout=float(answer[5]) / 1000,
            cancel=bool(answer[6]),
        )

    async def renew(
        self,
        build_id: str,
        credential: Credential,
        *,
        lease_id: str,
        lease: float,
        steps: str = "",
        commit: str = "",
    ) -> bool:
        """Renew the lease for `lease` seconds; return whether the build's user has cancelled it."""
        answer = await self._scripts.run(
            "renew", build_id, credential.user_id, credential.token_id, lease_id, ms(lease),
            steps, commit,
        )  # fmt: skip
        if answer[0] != b"ok":
            raise refusal(answer)
        return bool(answer[1])

    async def read_cancel(self, build_id: str, credential: Credential, *, lease_id: str) -> bool:
        """Return what `renew` would return now, without renewing the lease."""
        answer = await self._scripts.run(
            "read_cancel", build_id, credential.user_id, credential.token_id, lease_id
        )
        if answer[0] != b"ok":
            raise refusal(answer)
        return bool(answer[1])

    async def append(
        self,
        build_id: str,
        credential: Credential,
        *,
        lease_id: str,
        lease: float,
        offset: int,
        limit: int,
        data: bytes,
    ) -> tuple[int, bool]:
        """Append to the log at byte `offset`; return the log's new end, and whether to cancel.

        Bytes that are there already may be sent again. `limit`: bytes of the attempt's log. Raises
        `LogGap`, `LogConflict` or `LogFull` as well.
        """
        answer = await self._scripts.run(
            "append", build_id, credential.user_id, credential.token_id, lease_id, ms(lease),
            offset, limit, data,
        )  # fmt: skip
        if answer[0] != b"ok":
            raise refusal(answer)
        return int(answer[1]), bool(answer[2])

    async def hand_back(
        self, build_id: str, credential: Credential, *, lease_id: str, max_wait: float
    ) -> None:
        """Queue the build for its next attempt, `max_wait` seconds at most; end it if it was
        cancelled."""
        answer = await self._scripts.run(
            "hand_back",
            build_id,
            credential.user_id,
            credential.token_id,
            lease_id,
            ms(max_wait),
        )
        if answer[0] != b"ok":
            raise refusal(answer)

    async def finish(
        self, build_id: str, credential: Credential, *, lease_id: str, result: Finish
    ) -> int | None:
        """Record the result, and append the log's last bytes with it.

        Returns None, or the offset at which this attempt's log begins: then nothing was recorded,
        and the caller has to verify the digest of the whole log first. Raises `ResultConflict`,
        `LogIncomplete` or `LogFull` as well.
        """
        answer = await self._scripts.run(
            "finish", build_id, credential.user_id, credential.token_id, lease_id,
            result.status, result.reason, result.message, result.steps, result.commit,
            result.log_length, result.log_sha256, result.digest,
            result.verified, result.log_limit, result.tail,
        )  # fmt: skip
        if answer[0] == b"unverified":
            return int(answer[1])
        if answer[0] == b"conflict":
            raise errors.ResultConflict(Status(answer[1].decode()), answer[2].decode() or None)
        if answer[0] != b"ok":
            raise refusal(answer)
        return None
