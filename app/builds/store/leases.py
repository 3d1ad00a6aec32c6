"""What a worker does with a build: claim it, keep its lease, write its log, end it.

Every method raises a `Refused` when the worker is not, or no longer, the build's holder.
"""

from app.builds import errors
from app.builds.model import Credential
from app.builds.store.results import Claimed, Finish
from app.builds.store.scripts import Scripts, ms, refusal
from app.contract.status import Status


class Leases:
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
        """`after_timeout`: seconds beyond the build's own in which its end must be reported."""
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
        """Renew the lease; True when somebody wants the build cancelled."""
        answer = await self._scripts.run(
            "renew", build_id, credential.user_id, credential.token_id, lease_id, ms(lease),
            steps, commit,
        )  # fmt: skip
        if answer[0] != b"ok":
            raise refusal(answer)
        return bool(answer[1])

    async def read_cancel(self, build_id: str, credential: Credential, *, lease_id: str) -> bool:
        """What `renew` would answer by now; renews nothing."""
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
        """Returns the log's end and whether to cancel."""
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
        """Record the end, and the tail of the log with it.

        Returns None, or where the log of this attempt begins, when nothing was recorded because
        what `result` has verified is not the whole of it.
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
