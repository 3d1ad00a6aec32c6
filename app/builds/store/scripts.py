"""The store's Lua scripts, each one atomic change; `_prelude.lua` stands before every one."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.builds import errors, lifecycle
from app.builds.store import keys
from app.builds.store.connection import answering
from app.builds.store.count_reader import WAITS
from app.builds.store.pipelined import PipelinedConnection, Word

NAMES: Final = (
    "submit", "take", "sent", "put_back", "give_up", "claim", "renew", "read_cancel", "append",
    "hand_back", "finish", "cancel", "expire",
)  # fmt: skip


def source(name: str) -> str:
    """The text of a script, ready for Redis."""
    folder = files("app.builds.store") / "scripts"
    prelude = (folder / "_prelude.lua").read_text(encoding="utf-8")
    body = (folder / f"{name}.lua").read_text(encoding="utf-8")
    for place, words in (
        ("@TRANSITIONS@", lifecycle.encoded()),
        ("@WAITS@", ", ".join(f"{seconds:g}" for seconds in WAITS)),
    ):
        prelude = prelude.replace(place, words)
    return prelude + body


class Scripts:
    """Runs the scripts over one pipelined connection, by their digest."""

    def __init__(self, redis: "Redis") -> None:
        pool: Any = redis.connection_pool  # documented, but its type says otherwise
        self.connection = PipelinedConnection(pool)
        self._scripts = {name: redis.register_script(source(name)) for name in NAMES}

    async def run(self, name: str, *args: Word) -> Any:  # noqa: ANN401  Lua's answer
        """Run a script. Raises `StoreUnavailable`."""
        script = self._scripts[name]
        words = ("EVALSHA", str(script.sha), 1, keys.PREFIX, *args)
        async with answering():
            try:
                return await self.connection.call(*words)
            except NoScriptError:
                await self.connection.call("SCRIPT", "LOAD", str(script.script))
                return await self.connection.call(*words)

    async def close(self) -> None:
        await self.connection.close()


def ms(seconds: float) -> int:
    """Seconds as milliseconds, which the scripts take."""
    return round(seconds * 1000)


def refusal(answer: Sequence[Any]) -> Exception:
    """The error for a script's word of refusal."""
    word = answer[0].decode()
    number = int(answer[1]) if word in {"gap", "conflict", "full", "incomplete"} else 0
    refusals: dict[str, Callable[[], Exception]] = {
        "missing": errors.NotFound,
        "wrong_build": errors.WrongBuild,
        "superseded": errors.Superseded,
        "held": errors.HeldByAnother,
        "lease_lost": errors.LeaseLost,
        "final": errors.BuildFinal,
        "gap": lambda: errors.LogGap(number),
        "conflict": lambda: errors.LogConflict(number),
        "full": lambda: errors.LogFull(number),
        "incomplete": lambda: errors.LogIncomplete(number),
    }
    return refusals[word]()
