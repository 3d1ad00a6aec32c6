"""Keys of store and broker that nothing refers to, or that refer to nothing."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set as AbstractSet
from typing import Any, Final

from redis import Redis

from app.builds.store import keys
from app.contract import queue as wire

#: What stays for ever, once: the counter of turns, totals, and what Celery knows of its queue.
_STAYING: Final = frozenset(
    {
        f"{keys.PREFIX}turn",
        keys.COUNTS,
        keys.PACE,
        f"_kombu.binding.{wire.QUEUE}",
        f"_kombu.binding_permanent.{wire.QUEUE}",
    }
)
#: Messages that a worker had received and not acknowledged when it was killed; Celery's transport
#: for Redis keeps them for as long as its visibility timeout is.
UNACKNOWLEDGED: Final = frozenset({"unacked", "unacked_index"})


def kinds(redis: "Redis") -> Counter[str]:
    """How many keys there are of each kind."""
    return Counter(_kind(key) for key in _all(redis))


def leftovers(redis: "Redis", *, besides: AbstractSet[str] = frozenset()) -> list[str]:
    """What is wrong with the keys when every build has ended and no message waits, in words;
    `besides` are keys that may be there."""
    ended = _members(redis, f"{keys.PREFIX}ended")
    wrong: Mapping[str, Callable[[str], str | None]] = {
        "build": lambda key: _stray(key, ended),
        "log": lambda key: _stray(key, ended),
        # Meanwhile builds go whose time is over, record and reference at once: looked at in order.
        "ended": lambda key: _refers_to(
            {
                each
                for each in ended
                if not redis.exists(keys.build(each)) and redis.zscore(key, each) is not None
            }
        ),
        "index": lambda key: _refers_to(_members(redis, key) - ended),
        "changes": lambda key: _refers_to(_members(redis, key) - ended),
        "idempotency": lambda key: None if _lives(redis, key) > 0 else "does not expire",
        "rates": lambda key: None if _lives(redis, key) > 0 else "does not expire",
    }
    found = {
        key: wrong[_kind(key)](key) if _kind(key) in wrong else "is still there"
        for key in _all(redis)
        if key not in _STAYING | besides
    }
    return sorted(f"{key}: {what}" for key, what in found.items() if what)


def _stray(key: str, ended: set[str]) -> str | None:
    return None if key.rpartition(":")[2] in ended else "of a build that is not in `ended`"


def _refers_to(strangers: set[str]) -> str | None:
    return f"refers to {strangers}, which are gone or have not ended" if strangers else None


def _members(redis: "Redis", key: str) -> set[str]:
    found: Any = redis.zrange(key, 0, -1)
    return {each.decode() for each in found}


def _lives(redis: "Redis", key: str) -> int:
    """Seconds until the key expires; negative when it does not."""
    seconds: Any = redis.ttl(key)
    return int(seconds)


def _all(redis: "Redis") -> Iterator[str]:
    for key in redis.scan_iter(count=1000):
        yield key.decode()


def _kind(key: str) -> str:
    if key.startswith(keys.PREFIX):
        return key[len(keys.PREFIX) :].partition(":")[0]
    return key
