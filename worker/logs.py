"""The log of one attempt: spooled on disk as it is printed, shipped as it grows.

The spool keeps every byte until the build is reported, so that whatever the API has lost, or has
not got yet, can be sent again from any place.
"""

import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Final

from app.contract.runs import MAX_LOG_CHUNK, Directive
from worker.api_client import LogIsFull, Noise, RunApi, SendFrom
from worker.errors import LeaseLost, ReportImpossible

log = logging.getLogger(__name__)

#: Seconds that output may wait for more of it before it is sent.
_LINGER: Final = 0.15
#: Seconds between tries while the API gives no verdict.
_PAUSES: Final = (0.25, 5.0)

_CUT: Final = "\n[log truncated after {} bytes; the build goes on]\n"


class LogSpool:
    """What was printed, up to a limit; thread-safe."""

    def __init__(self, limit: int) -> None:
        """`limit` in bytes; the mark that stands where the log was cut fits within it."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`; has no name
        self._condition = threading.Condition()
        self._size = 0
        self._mark = _CUT.format(limit).encode()
        self._room = max(0, limit - len(self._mark))
        self._cut = False

    @property
    def size(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Keep `data`, or as much of it as there is room for."""
        with self._condition:
            if self._cut or not data:
                return
            if len(data) > self._room:
                data = data[: self._room] + self._mark
                self._cut = True
            self._room -= len(data)
            self._write(data)
            self._condition.notify_all()

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(self._file.fileno(), view, self._size)
                self._size += written
                view = view[written:]
        except OSError as error:
            # A full disk must not end the build; what is on record so far stands.
            log.warning("the log is cut off here: %s", error)
            self._cut = True

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), min(size, self._size - start), start)

    def sha256(self, length: int) -> str:
        """The digest of the first `length` bytes, in hex."""
        digest = hashlib.sha256()
        for start in range(0, length, MAX_LOG_CHUNK):
            digest.update(self.read(start, min(MAX_LOG_CHUNK, length - start)))
        return digest.hexdigest()

    def wait_for_more(self, than: int, timeout: float) -> int:
        """The size, as soon as it is more than `than` or after `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._size > than, timeout)
            return self._size

    def wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def close(self) -> None:
        self._file.close()


class LogShipper:
    """Sends the spool's bytes from a thread of its own, in order, from where the API's log ends."""

    def __init__(
        self,
        *,
        spool: LogSpool,
        api: RunApi,
        offset: int,
        heard: Callable[[Directive], None],
        lost: Callable[[LeaseLost], None],
    ) -> None:
        """`offset`: where in the build's log this attempt begins; `heard` and `lost` are told."""
        self._spool = spool
        self._api = api
        self._offset = offset
        self._heard = heard
        self._lost = lost
        self._condition = threading.Condition()
        self._sent = 0
        self._full = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def position(self) -> int:
        """Bytes of this attempt that the API has."""
        return self._sent

    def flush(self, deadline: float) -> None:
        """Return when the API has all that the spool holds. Raises `ReportImpossible`."""
        with self._condition:
            done = self._condition.wait_for(
                lambda: self._stopped or self._full or self._sent == self._spool.size,
                max(0.0, deadline - time.monotonic()),
            )
        if not done or self._stopped:
            raise ReportImpossible("the log could not be delivered in time")

    def rewind(self, end: int) -> None:
        """Send again from the byte `end` of the build's log. Raises `LeaseLost`."""
        position = end - self._offset
        if not 0 <= position <= self._spool.size:
            # The store lost what an earlier attempt wrote, or has what nobody sent.
            raise LeaseLost(f"the API's log ends at {end}, outside this attempt's")
        with self._condition:
            self._sent = position
        self._spool.wake()

    def stop(self) -> None:
        """End the thread, sent or not."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        self._spool.wake()
        self._thread.join()

    def _run(self) -> None:
        pause, most = _PAUSES
        while not self._stopped:
            sent = self._sent
            size = self._spool.wait_for_more(sent, 1.0)
            if self._full or size <= sent:
                continue
            if size - sent < MAX_LOG_CHUNK:
                self._spool.wait_for_more(sent + MAX_LOG_CHUNK - 1, _LINGER)
            try:
                self._send(sent)
                pause = _PAUSES[0]
            except Noise as noise:
                log.warning("the log waits: %s", noise)
                self._pause(max(pause, noise.retry_after))
                pause = min(2 * pause, most)
            except LeaseLost as error:
                with self._condition:
                    self._stopped = True
                    self._condition.notify_all()
                self._lost(error)

    def _send(self, sent: int) -> None:
        data = self._spool.read(sent, MAX_LOG_CHUNK)
        try:
            answer = self._api.append_log(self._offset + sent, data)
        except SendFrom as error:
            self.rewind(error.end)
            return
        except LogIsFull as error:
            log.warning("the API takes no more log")
            self._full = True
            self._moved(error.end)
            return
        self._heard(answer)
        self._moved(answer.end)

    def _moved(self, end: int) -> None:
        with self._condition:
            self._sent = end - self._offset
            self._condition.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._stopped, seconds)
