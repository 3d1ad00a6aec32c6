"""The API's settings in a running `baton dev`, for whoever may read its data directory."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_NAME: Final = "api-settings.json"


class NoSettings(Exception):
    """No `baton dev` runs with that directory; the message says so."""


def write_settings(data: Path, environ: Mapping[str, str]) -> None:
    """For as long as the stack runs, and for our own user only, like the keys beside it."""
    settings = {name: value for name, value in environ.items() if name.startswith("BATON_")}
    remove_settings(data)
    kept = os.open(data / _NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(kept, "w", encoding="utf-8") as file:
        json.dump(settings, file)


def remove_settings(data: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        (data / _NAME).unlink()


def read_settings(data: Path) -> dict[str, str]:
    """Raises `NoSettings`."""
    try:
        found = json.loads((data / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise NoSettings(
            f"no `baton dev` is running with --data {data}: start it, or name its directory"
        ) from None
    return {str(name): str(value) for name, value in found.items()}
