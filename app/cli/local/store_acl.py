"""These functions write the lines of Redis' ACL for the API and for workers.

The API may do everything, workers may not: an attacker who has taken over a worker reads the
messages that wait in Redis, and no build, log or token of the store.
"""

import hashlib
from typing import Final

from app.contract.queue import QUEUE

#: Redis' own name for a client that gives none. This user must keep all its rights: Redis reads its
#: append-only file with them when it starts, and skips every transaction that they do not cover.
API: Final = "default"
WORKER: Final = "worker"

#: A worker may use Celery's keys alone, and no channel. Needs Redis 6.2.
_WORKER_RULES: Final = f"~{QUEUE}* ~_kombu.* ~unacked* resetchannels +@all -@admin -@dangerous"

#: The user of health checks may only PING, with any password or none.
HEALTH_LINE: Final = "user health on nopass resetkeys resetchannels -@all +ping"


def api_line(password: str) -> str:
    """Return the line of the API's user, which holds a digest of its password."""
    return f"user {API} on #{_digest(password)} ~* &* +@all"


def worker_line(password: str) -> str:
    """Return the line of the workers' user, which holds a digest of its password."""
    return f"user {WORKER} on #{_digest(password)} {_WORKER_RULES}"


def _digest(password: str) -> str:
    """Return the SHA-256 that Redis keeps; unsalted, which is enough for random passwords."""
    return hashlib.sha256(password.encode()).hexdigest()
