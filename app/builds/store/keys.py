"""The keys of the store, in one place; the Lua scripts build the same names from the prefix.

| key | type | holds |
|---|---|---|
| `build:<id>` | hash | the record |
| `log:<id>` | string | the log's bytes |
| `index:<owner>:<status or all>` | zset | ids, all with score 0: sorted by id, which is by time |
| `changes:<owner>` | zset | ids by the version of their last change |
| `queue:<owner>` | zset | ids waiting for their turn, by id |
| `turns` / `turn` | zset / counter | the round robin of owners with queued builds; numbers takes |
| `active:<owner>` | set | ids dispatched or running |
| `delayed` | zset | ids that are queued again later, by the time when |
| `waiting` | zset | ids that no worker has claimed, by the time when they end |
| `dispatched` | zset | ids being minted for or in Celery, by the deadline of their claim |
| `leases` | zset | running ids, by the end of their lease |
| `deadlines` | zset | running ids, by the deadline of their result |
| `ended` | zset | ids with a final status, by the time of their end; deleted after the retention |
| `counts` | hash | totals since the store was new, for `/metrics` |
| `kept:<id>` | list | the sealed tokens of the build's next attempts, in their order; expires |
| `idempotency:<owner>:<key>` | hash | the id and body digest of a submission; expires |
| `pace` | hash | when a worker called last (`worker_seen`); `run_ms`, the mean of `runs` builds |
| `used:<name>` | string | that a DPoP proof was used; expires |
| `rates:<quota and whose>` | counter | requests within a window of time; expires |

Channels: `changed` carries the id and the owner of a build whose record changed, `grown` the id of
a build whose log grew; `work` says that there may be builds to dispatch.
"""

from typing import Final

#: The braces are a hash tag: a cluster keeps all keys in one slot, so that a script may use them.
PREFIX: Final = "{baton}:"

CHANGED: Final = PREFIX + "changed"
GROWN: Final = PREFIX + "grown"
WORK: Final = PREFIX + "work"


TURNS: Final = PREFIX + "turns"
WAITING: Final = PREFIX + "waiting"
DISPATCHED: Final = PREFIX + "dispatched"
DELAYED: Final = PREFIX + "delayed"
LEASES: Final = PREFIX + "leases"
PACE: Final = PREFIX + "pace"
COUNTS: Final = PREFIX + "counts"
RATES: Final = PREFIX + "rates"


def build(build_id: str) -> str:
    return f"{PREFIX}build:{build_id}"


def log(build_id: str) -> str:
    return f"{PREFIX}log:{build_id}"


def kept(build_id: str) -> str:
    return f"{PREFIX}kept:{build_id}"


def idempotency(owner: str, key: str) -> str:
    return f"{PREFIX}idempotency:{owner}:{key}"


def used(name: str) -> str:
    return f"{PREFIX}used:{name}"


def changes(owner: str) -> str:
    return f"{PREFIX}changes:{owner}"


def queue(owner: str) -> str:
    return f"{PREFIX}queue:{owner}"


def active(owner: str) -> str:
    return f"{PREFIX}active:{owner}"


def index(owner: str, status: str) -> str:
    return f"{PREFIX}index:{owner}:{status}"
