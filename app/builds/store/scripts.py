"""The store's Lua scripts: each is one atomic change, and begins with `_prelude.lua`."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.builds import errors, lifecycle
from app.builds.store import keys
from app.builds.store.connection import translate_errors
from app.builds.store.count_reader import WAITS
from app.builds.store.pipelined import PipelinedConnection, Word

NAMES: Final = (
    "submit", "take", "sent", "put_back", "give_up", "claim", "renew", "read_cancel", "append",
    "hand_back", "finish", "cancel", "expire",
)  # fmt: skip


def source(name: str) -> str:
    """Return the text of a script, ready for Redis."""
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
    """`Scripts` runs the scripts by their SHA-1, over one pipelined connection."""

    def __init__(self, redis: "Redis") -> None:
        pool: Any = redis.connection_pool  # documented, but its type says otherwise
        self.connection = PipelinedConnection(pool)
        self._scripts = {name: redis.register_script(source(name)) for name in NAMES}

    async def run(self, name: str, *args: Word) -> Any:  # noqa: ANN401  Lua's answer
        """Run a script on `args`, and load it first where Redis lacks it. Raises
        `StoreUnavailable`."""
        script = self._scripts[name]
        words = ("EVALSHA", str(script.sha), 1, keys.PREFIX, *args)
        async with translate_errors():
            try:
                return await self.connection.call(*words)
            except NoScriptError:
                await self.connection.call("SCRIPT", "LOAD", str(script.script))
                return await self.connection.call(*words)

    async def close(self) -> None:
        await self.connection.close()


def ms(seconds: float) -> int:
    """Return seconds as whole milliseconds, which the scripts take."""
    return round(seconds * 1000)


def refusal(answer: Sequence[Any]) -> Exception:
    """Return the error for a script's response of refusal."""
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
