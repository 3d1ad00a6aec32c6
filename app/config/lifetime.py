"""How long a build token has to last: the one sum from which every timer derives.

mint ─ dispatch_margin ─▶ sent ─ queue_ttl ─▶ claimed ─ timeout ─▶ SIGTERM ─ kill_grace ─▶
SIGKILL ─ report_window ─▶ the last moment at which the worker may report ─ leeway ─▶ exp
"""

import math
from dataclasses import dataclass, fields
from typing import Final

#: Seconds between the token's `iat` and the message's departure: minting, one script, publishing.
DISPATCH_MARGIN: Final = 60.0

#: Seconds by which the fences of Celery and the broker stand outside our own timers.
FENCE: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The settings that the sum is made of; all in seconds."""

    queue_ttl: float
    kill_grace: float
    report_window: float
    leeway: float

    def __post_init__(self) -> None:
        """Raises `ValueError`: a timer that is negative, endless or not a number orders nothing."""
        for field in fields(self):
            seconds = getattr(self, field.name)
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{field.name} must be a number of seconds, not {seconds}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timers:
    """Every timer of one attempt, in seconds."""

    #: From dispatch: the message's `expires`, and the deadline by which it must be claimed.
    message_expires: float
    #: From the claim: the end of the report window. The reaper ends the build then.
    run_limit: float
    #: From `iat`: the least lifetime that a build token may have.
    token_lifetime: float
    #: From the start of the Celery task: its hard limit, the last fence. The claim itself may take
    #: as long as the message lives.
    hard_limit: float


def timers(timing: Timing, build_timeout: float) -> Timers:
    """The timers of an attempt at a build whose own timeout is `build_timeout` seconds.

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
    """Seconds after which a broker may redeliver an unacknowledged message: after any attempt."""
    return timers(timing, max_build_timeout).hard_limit + FENCE
