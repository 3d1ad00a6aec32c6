"""Flushing the log: over as soon as the API has it all, and no later."""

import tempfile
import time

from app.contract.runs import Appended, Directive
from worker.api_client import RunApi, SendFrom, connections
from worker.errors import LeaseLost
from worker.log_shipper import LogShipper, LogSpool


class Ahead(RunApi):
    """Takes all that it is sent, and says so with a 416 that names the end that it has."""

    def append_log(self, offset: int, data: bytes) -> Appended:
        raise SendFrom(offset + len(data))


def test_a_flush_ends_when_the_api_turns_out_to_have_it_all_already() -> None:
    """The window for the flush is the result's, too: it must not be used up by waiting."""
    heard: list[Directive] = []
    lost: list[LeaseLost] = []
    with connections("http://nowhere.invalid") as http, tempfile.TemporaryFile() as file:
        api = Ahead(http, build_id="bld_1", token="a.b.c")
        spool = LogSpool(file, 1000)
        shipper = LogShipper(
            spool=spool, api=api, offset=0, on_directive=heard.append, on_lease_lost=lost.append
        )
        shipper.start()
        try:
            spool.append(b"hello")
            deadline = time.monotonic() + 15
            shipper.flush(deadline)
            assert time.monotonic() < deadline
            assert shipper.position == 5
        finally:
            shipper.stop()
            api.close()
    assert lost == []
