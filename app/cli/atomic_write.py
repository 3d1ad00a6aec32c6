"""`write_atomically` writes a file so that readers see it whole or not at all."""

import os
import secrets
from pathlib import Path
from typing import Final

OWNER: Final = 0o600  #: mode of a file that only its owner may read


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Write `text` and a newline to `path`; the file never has another mode than `mode`.

    Raises `OSError`, and leaves the file as it was then.
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
