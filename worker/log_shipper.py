"""`OutputPump` spools an attempt's log on disk, and `LogShipper` sends it to the API as it grows.

The `LogSpool` keeps every byte until the build is reported, so that what the API has lost, or does
not have yet, can be sent again from any byte on.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import IO, Final

from app.contract.runs import MAX_LOG_CHUNK, MAX_LOG_TAIL, Directive
from app.observability.log_context import with_context
from app.observability.tracing import OFF, Tracing
from worker.api_client import LogIsFull, RunApi, SendFrom, TransientError
from worker.errors import LeaseLost, ReportImpossible

log = logging.getLogger(__name__)

#: Seconds between two chunks, unless the next one is full.
LINGER: Final = 0.1
#: Seconds that the first bytes after a pause wait for more: the build may end by then, and its
#: result takes the rest of the log along.
_FIRST_LINGER: Final = 0.05
#: Seconds between retries while the API gives no verdict: the first, and the longest.
_RETRY_INTERVALS: Final = (0.25, 5.0)

#: Bytes of a command's output that are kept in memory, for messages.
_TAIL_BYTES: Final = 8192

_TRUNCATION_NOTE: Final = "\n[log truncated after {} bytes; the build goes on]\n"
_NO_DISK_NOTE: Final = b"\n[log cut off: the worker cannot write it; the build goes on]\n"


class LogSpool:
    """A `LogSpool` keeps what was printed, up to a limit.

    Thread-safe; one thread at most may be in `wait_for_more`.
    """

    def __init__(self, file: IO[bytes], limit: int) -> None:
        """Use `file`, which is empty, seekable, and the caller's to close.

        `limit` is in bytes, and includes the note that ends a truncated log.
        """
        self._fd = file.fileno()
        self._condition = threading.Condition()
        self._stored = 0
        #: The note that ends the log where the file cannot be written.
        self._last = b""
        self._limit = limit
        self._note = _TRUNCATION_NOTE.format(limit).encode()[:limit]
        self._room = limit - len(self._note)
        self._cut = False
        self._woken = False

    @property
    def size(self) -> int:
        """Bytes of the log, its closing note included."""
        return self._stored + len(self._last)

    def append(self, data: bytes) -> None:
        """Keep `data`, or as much as there is room for; never raises for a full disk."""
        with self._condition:
            if self._cut or not data:
                return
            if len(data) > self._room:
                data = data[: self._room] + self._note
                self._cut = True
            self._room -= len(data)
            self._write(data)
            self._condition.notify_all()

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(self._fd, view, self._stored)
                self._stored += written
                view = view[written:]
        except OSError as error:
            # A full disk must not end the build; what is on record so far stands.
            log.warning("the log is cut off here: %s", error)
            self._last = _NO_DISK_NOTE[: self._limit - self._stored]
            self._cut = True

    def read(self, start: int, size: int) -> bytes:
        """Return up to `size` bytes from byte `start` on."""
        stored = os.pread(self._fd, max(0, min(size, self._stored - start)), start)
        rest = max(0, start - self._stored)
        return stored + self._last[rest : rest + size - len(stored)]

    def sha256(self, length: int) -> str:
        """Return the digest of the first `length` bytes, in hex."""
        digest = hashlib.sha256()
        for start in range(0, length, MAX_LOG_CHUNK):
            digest.update(self.read(start, min(MAX_LOG_CHUNK, length - start)))
        return digest.hexdigest()

    def wait_for_more(self, than: int, timeout: float) -> int:
        """Wait until the size exceeds `than`, until `wake`, or for `timeout` seconds; return the
        size."""
        with self._condition:
            self._condition.wait_for(lambda: self._woken or self.size > than, timeout)
            self._woken = False
            return self.size

    def wake(self) -> None:
        """End the wait in `wait_for_more`, or the next one."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def close(self) -> None:
        """Drop what is appended from now on: the file is about to be closed. Safe to call twice."""
        with self._condition:
            self._cut = True


class LogShipper:
    """A `LogShipper` sends the spool's bytes in order, from a thread of its own.

    It is used by the thread that runs the build: `start` once; at the end `hold` or `flush`, then
    `delivered`, or `rewind` and `end_at` as the API wants; `stop` last.
    """

    def __init__(
        self,
        *,
        spool: LogSpool,
        api: RunApi,
        offset: int,
        on_directive: Callable[[Directive], None],
        on_lease_lost: Callable[[LeaseLost], None],
        traces: Tracing = OFF,
    ) -> None:
        """Ship `spool` as the build's log from byte `offset` on, where this attempt begins.

        `on_directive` and `on_lease_lost` are called from the shipper's thread.
        """
        self._spool = spool
        self._api = api
        self._offset = offset
        self._on_directive = on_directive
        self._on_lease_lost = on_lease_lost
        self._traces = traces
        self._pieces = 0
        self._failures = 0
        self._condition = threading.Condition()
        self._sent = 0
        self._sent_at = 0.0
        self._full = False
        self._sending = False
        #: The last bytes of the log wait, to go with the result.
        self._holding = False
        self._stopped = False
        self._thread = threading.Thread(target=with_context(self._traced), name="log", daemon=True)

    def start(self) -> None:
        """Start the thread; call once."""
        self._thread.start()

    @property
    def position(self) -> int:
        """Bytes of this attempt that the API has."""
        return self._sent

    def flush(self, deadline: float) -> None:
        """Return when the API has all that the spool holds.

        Raises `ReportImpossible` at `deadline` (monotonic), or when the shipper has given up.
        """
        self._wait_until_sent(all_but=0, deadline=deadline)

    def hold(self, deadline: float) -> bytes:
        """Return the log's last bytes, for the result to carry, when the API has all before them.

        Sends nothing more unless `rewind` is called. Raises `ReportImpossible` as `flush` does.
        """
        self._holding = True
        self._wait_until_sent(all_but=MAX_LOG_TAIL, deadline=deadline)
        return b"" if self._full else self._spool.read(self._sent, MAX_LOG_TAIL)

    def _wait_until_sent(self, *, all_but: int, deadline: float) -> None:
        self._spool.wake()
        with self._condition:
            done = self._condition.wait_for(
                lambda: (
                    self._stopped
                    or self._full
                    or (not self._sending and self._spool.size - self._sent <= all_but)
                ),
                max(0.0, deadline - time.monotonic()),
            )
        if not done or self._stopped:
            raise ReportImpossible("the log could not be delivered in time")

    def rewind(self, end: int) -> None:
        """Send again from byte `end` of the build's log on. Raises `LeaseLost`."""
        position = self._position(end)
        with self._condition:
            self._sent = position
            self._full = self._holding = False
            # `end` may be further on, too, and all that a flush is waiting for.
            self._condition.notify_all()
        self._spool.wake()

    def end_at(self, end: int) -> None:
        """Send nothing more: the API's log is full at byte `end`. Raises `LeaseLost`."""
        log.warning("the API takes no more log")
        self._set_position(end, full=True)

    def delivered(self, end: int) -> None:
        """Note that the result has carried the held bytes: the API's log ends at byte `end`."""
        self._set_position(end)

    def stop(self) -> None:
        """End the thread, whether all is sent or not, and wait for it; safe to call twice."""
        self._give_up()
        self._spool.wake()
        self._thread.join()

    def _traced(self) -> None:
        """Run under one span for the whole log: one for each chunk would bury the build's."""
        with self._traces.span("ship_log") as span:
            try:
                self._run()
            finally:
                span.set_attributes(
                    {
                        "baton.log.bytes": self._sent,
                        "baton.log.pieces": self._pieces,
                        "baton.log.failures": self._failures,
                    }
                )

    def _run(self) -> None:
        least, most = _RETRY_INTERVALS
        pause = least
        while not self._stopped:
            try:
                self._send_more()
                pause = least
            except TransientError as transient:
                log.warning("the log waits: %s", transient)
                self._failures += 1
                self._pause(max(pause, transient.retry_after))
                pause = min(2 * pause, most)
            except LeaseLost as error:
                self._on_lease_lost(error)
                self._give_up()
            except Exception:
                # Error boundary: the build waits for this thread, so it must not end unnoticed.
                log.exception("the log cannot be sent")
                self._give_up()

    def _send_more(self) -> None:
        """Wait up to a second for bytes to send; send one chunk of them."""
        sent = self._sent
        held = self._holding and self._spool.size - sent <= MAX_LOG_TAIL
        size = self._spool.wait_for_more(self._spool.size if self._full or held else sent, 1.0)
        if held or size <= sent:
            return
        linger = max(_FIRST_LINGER, self._sent_at + LINGER - time.monotonic())
        if size - sent < MAX_LOG_CHUNK:
            self._spool.wait_for_more(sent + MAX_LOG_CHUNK - 1, linger)
        with self._condition:
            held = self._holding and self._spool.size - sent <= MAX_LOG_TAIL
            if held or self._stopped or self._full or sent != self._sent:
                return
            self._sending = True
        try:
            self._send(sent)
        finally:
            with self._condition:
                self._sending = False
                self._condition.notify_all()

    def _send(self, sent: int) -> None:
        self._sent_at = time.monotonic()
        try:
            answer = self._api.append_log(
                self._offset + sent, self._spool.read(sent, MAX_LOG_CHUNK)
            )
        except SendFrom as error:
            if error.end == self._offset + sent:
                raise TransientError("the API asked for what it refused") from None
            self.rewind(error.end)
        except LogIsFull as error:
            self.end_at(error.end)
        else:
            self._pieces += 1
            self._on_directive(answer)
            self._set_position(answer.end)
            if self._sent <= sent:
                raise TransientError("the API took nothing")

    def _position(self, end: int) -> int:
        """Return byte `end` of the build's log as a byte of the spool.

        Raises `LeaseLost` when it lies outside: the store has lost what an earlier attempt wrote,
        or has bytes that this attempt did not send.
        """
        position = end - self._offset
        if not 0 <= position <= self._spool.size:
            raise LeaseLost(f"the API's log ends at {end}, outside this attempt's")
        return position

    def _set_position(self, end: int, *, full: bool = False) -> None:
        position = self._position(end)
        with self._condition:
            self._sent = position
            self._full = full
            self._condition.notify_all()

    def _give_up(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._stopped, seconds)


class OutputPump:
    """An `OutputPump` copies a command's output into the spool, from a thread of its own.

    `tail` is the end of the output, complete after `finish`.
    """

    def __init__(self, fd: int, spool: LogSpool) -> None:
        self._fd = fd
        self._spool = spool
        self.tail = b""
        self._thread = threading.Thread(target=with_context(self._run), name="output", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while data := os.read(self._fd, 64 * 1024):
            self._spool.append(data)
            self.tail = (self.tail + data)[-_TAIL_BYTES:]

    def finish(self, seconds: float) -> None:
        """Wait up to `seconds` for the end of the output, then close it; call once, when every
        process of the command is gone."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("output is still open although every process is gone")
        else:
            os.close(self._fd)
