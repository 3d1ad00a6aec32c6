"""Who may do what in Redis, as lines of its ACL.

The API may do everything, workers may not: whoever has taken over a worker reads the messages that
wait there, and no build, log or token of the store.
"""

import hashlib
from typing import Final

from app.contract.queue import QUEUE

#: Redis' own name for whoever gives none. This user must keep all its rights: with them Redis reads
#: its append-only file when it starts, and skips every transaction in it that they do not cover.
API: Final = "default"
WORKER: Final = "worker"

#: All that a worker may touch: Celery's keys, and no channel. Needs Redis 6.2.
_WORKER_RULES: Final = f"~{QUEUE}* ~_kombu.* ~unacked* resetchannels +@all -@admin -@dangerous"

#: May ask whether the server is up, with any password or none.
HEALTH_LINE: Final = "user health on nopass resetkeys resetchannels -@all +ping"


def api_line(password: str) -> str:
    return f"user {API} on #{_digest(password)} ~* &* +@all"


def worker_line(password: str) -> str:
    return f"user {WORKER} on #{_digest(password)} {_WORKER_RULES}"


def _digest(password: str) -> str:
    """As Redis keeps passwords; enough for random ones, which nobody can guess."""
    return hashlib.sha256(password.encode()).hexdigest()
