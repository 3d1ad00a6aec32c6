"""Users in the storm: they submit, follow logs and cancel, and try again until they are heard."""

import asyncio
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx

from app.client import BatonClient, ClientError
from app.contract.problems import MEDIA_TYPE
from chaos.plan import Ending, Job

#: Answers that are worth another try, whoever gave them.
_PASSING: Final = frozenset(
    {
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
#: Seconds between tries, where the answer names none.
_PAUSE: Final = 0.3
_LONGEST_PAUSE: Final = 30.0
_TIMEOUT: Final = 8.0
_FOLLOWERS: Final = 48


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    build_id: str
    job: Job


@dataclass(kw_only=True, slots=True)
class Tally:
    """What the users know at the end."""

    accepted: list[Accepted] = field(default_factory=list)
    followed: dict[str, bytes] = field(default_factory=dict)  #: logs, by build
    #: Answers that there is no excuse for, in words.
    surprises: list[str] = field(default_factory=list)


class Users:
    def __init__(self, url: str, tokens: Mapping[str, str], run: int, watched: set[str]) -> None:
        """`url`: of the proxy; `tokens`: by user; `run`: the number of this storm; `watched`: gets
        the ids of the builds that were accepted."""
        self._url = url
        self._tokens = tokens
        self._run = run
        self._watched = watched
        self._clients: list[BatonClient] = []
        self._http = httpx.AsyncClient(
            base_url=url, timeout=_TIMEOUT, limits=httpx.Limits(max_connections=None)
        )
        self._threads = ThreadPoolExecutor(_FOLLOWERS, thread_name_prefix="follow")
        self.tally = Tally()

    async def close(self) -> None:
        await self._http.aclose()
        for client in self._clients:  # ends the followers of builds that never end
            client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def live(self, job: Job) -> None:
        """A job from its submission to whatever its user does with it."""
        build_id = await self.submit(job)
        following: list[asyncio.Future[None]] = []
        if job.followed:
            loop = asyncio.get_running_loop()
            following.append(loop.run_in_executor(self._threads, self._follow, job, build_id))
        if job.ending is Ending.CANCEL:
            await asyncio.sleep(job.cancel_after)
            await self._insist("POST", f"/builds/{build_id}/cancel", job, wanted={200, 202})
        await asyncio.gather(*following)

    async def submit(self, job: Job) -> str:
        """Submit a job's build, once, however often it takes."""
        answer = await self._insist(
            "POST",
            "/builds",
            job,
            json=job.spec(self._run),
            headers={"Idempotency-Key": f"storm-{self._run}-{job.number}"},
            wanted={202},
        )
        build_id: str = answer.json()["id"]
        self.tally.accepted.append(Accepted(build_id=build_id, job=job))
        self._watched.add(build_id)
        return build_id

    async def _insist(
        self,
        method: str,
        path: str,
        job: Job,
        *,
        wanted: set[int],
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Call until there is a wanted answer. Any other of the API's own is a surprise."""
        authorization = {"Authorization": f"Bearer {self._tokens[job.user]}"}
        while True:
            pause = _PAUSE * random.uniform(0.5, 1.5)
            try:
                answer = await self._http.request(
                    method, path, json=json, headers={**authorization, **(headers or {})}
                )
            except httpx.HTTPError:
                await asyncio.sleep(pause)
                continue
            if answer.status_code in wanted:
                return answer
            if answer.status_code in _PASSING or not _is_ours(answer):
                named = answer.headers.get("retry-after", "")
                if named.isdigit():
                    pause = max(pause, min(float(named), _LONGEST_PAUSE))
                await asyncio.sleep(pause)
                continue
            self.tally.surprises.append(f"{method} {path}: {answer.status_code} {answer.text}")
            await asyncio.sleep(pause)

    def _follow(self, job: Job, build_id: str) -> None:
        """In a thread: read the log as it grows, to its end."""
        with BatonClient(self._url, self._tokens[job.user]) as client:
            self._clients.append(client)
            try:
                self.tally.followed[build_id] = b"".join(client.log(build_id, follow=True))
            except (ClientError, RuntimeError) as error:  # RuntimeError: closed from outside
                self.tally.surprises.append(f"follow {build_id}: {type(error).__name__}: {error}")


def _is_ours(answer: httpx.Response) -> bool:
    media_type: str = answer.headers.get("content-type", "")
    return media_type.startswith((MEDIA_TYPE, "application/json"))
