"""One sum says how long a build token has to last, and every other timer derives from it.

mint ─ dispatch_margin ─▶ sent ─ queue_ttl ─▶ claimed ─ timeout ─▶ SIGTERM ─ kill_grace ─▶
SIGKILL ─ report_window ─▶ the last moment at which the worker may report ─ leeway ─▶ exp
"""

import math
from dataclasses import dataclass, fields
from typing import Final

#: Seconds allowed between the token's `iat` and the sending of the message: minting, one script of
#: the store, publishing.
DISPATCH_MARGIN: Final = 60.0

#: Seconds by which the limits of Celery and the broker exceed our own timers.
FENCE: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """A `Timing` holds the settings that the sum is made of, in seconds."""

    queue_ttl: float
    kill_grace: float
    report_window: float
    leeway: float

    def __post_init__(self) -> None:
        """Raise `ValueError` for a negative, infinite or NaN value: no timer can derive from it."""
        for field in fields(self):
            seconds = getattr(self, field.name)
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{field.name} must be a number of seconds, not {seconds}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timers:
    """`Timers` holds every timer of one attempt, in seconds."""

    #: From dispatch: the message's `expires`, and the deadline by which it must be claimed.
    message_expires: float
    #: From the claim: the end of the report window. The reaper ends the build then.
    run_limit: float
    #: From `iat`: the least lifetime that a build token may have.
    token_lifetime: float
    #: From the start of the Celery task: its hard time limit. The claim itself may take as long as
    #: the message lives.
    hard_limit: float


def timers(timing: Timing, build_timeout: float) -> Timers:
    """Return the timers of an attempt at a build whose own timeout is `build_timeout` seconds.

    For every input, a token issued at t with `exp >= t + token_lifetime` is still valid, by a clock
    that is `leeway` ahead, at the last moment at which its worker may report: t + DISPATCH_MARGIN +
    message_expires + run_limit.
    """
    run_limit = build_timeout + timing.kill_grace + timing.report_window
    until_last_report = DISPATCH_MARGIN + timing.queue_ttl + run_limit
    return Timers(
        message_expires=timing.queue_ttl,
        run_limit=run_limit,
        token_lifetime=until_last_report + timing.leeway,
        hard_limit=timing.queue_ttl + run_limit + FENCE,
    )


def redelivery_after(timing: Timing, max_build_timeout: float) -> float:
    """Return the seconds after which a broker may redeliver an unacknowledged message.

    By then every attempt has ended.
    """
    return timers(timing, max_build_timeout).hard_limit + FENCE
