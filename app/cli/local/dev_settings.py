"""These functions keep the API's settings of a running `baton dev` in its data directory.

`baton doctor --data` reads them there.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_NAME: Final = "api-settings.json"


class NoSettings(Exception):
    """No `baton dev` runs with that data directory."""


def write_settings(data: Path, environ: Mapping[str, str]) -> None:
    """Write the `BATON_*` variables of `environ` in place of older ones, for this user alone.

    Raises `OSError`.
    """
    settings = {name: value for name, value in environ.items() if name.startswith("BATON_")}
    remove_settings(data)
    descriptor = os.open(data / _NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(settings, file)


def remove_settings(data: Path) -> None:
    """Delete the settings, when the stack ends; safe to call twice."""
    with contextlib.suppress(FileNotFoundError):
        (data / _NAME).unlink()


def read_settings(data: Path) -> dict[str, str]:
    """Read the settings of the stack that uses `data`. Raises `NoSettings`."""
    try:
        found = json.loads((data / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise NoSettings(
            f"no `baton dev` is running with --data {data}: start it, or name its directory"
        ) from None
    return {str(name): str(value) for name, value in found.items()}
