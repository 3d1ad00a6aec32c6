"""Files that are there whole or not at all."""

import os
import secrets
from pathlib import Path
from typing import Final

OWNER: Final = 0o600  #: mode of what nobody else may read


def write_atomically(path: Path, text: str, mode: int) -> None:
    """The file appears whole or stays as it was; nobody sees it with another mode.

    `text` gets a newline at its end. Raises `OSError`.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
