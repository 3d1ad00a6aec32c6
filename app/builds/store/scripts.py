"""The store's Lua scripts, each one atomic change; `_prelude.lua` stands before every one."""

from importlib.resources import files
from typing import Final

from app.builds import lifecycle
from app.builds.store.count_reader import WAITS

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
