"""The spool: every byte up to the limit, cut once, and a digest of exactly what it holds."""

import hashlib
import resource
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, strategies as st

from worker.log_shipper import LogSpool

CUT = b"\n[log truncated after %d bytes; the build goes on]\n"


@contextmanager
def spool_of(limit: int) -> Iterator[LogSpool]:
    with tempfile.TemporaryFile() as file:
        yield LogSpool(file, limit)


def content(spool: LogSpool) -> bytes:
    return spool.read(0, spool.size)


@given(pieces=st.lists(st.binary(max_size=60), max_size=12), limit=st.integers(0, 300))
def test_a_log_is_kept_whole_or_cut_once_within_its_limit(pieces: list[bytes], limit: int) -> None:
    whole = b"".join(pieces)
    with spool_of(limit) as spool:
        for piece in pieces:
            spool.append(piece)
        kept = content(spool)
        mark = (CUT % limit)[:limit]
        assert len(kept) == spool.size <= limit
        if len(whole) <= limit - len(mark):
            assert kept == whole
        else:
            assert kept == whole[: limit - len(mark)] + mark


def test_nothing_follows_the_mark() -> None:
    with spool_of(100) as spool:
        spool.append(b"x" * 1000)
        cut = content(spool)
        spool.append(b"more")
        assert content(spool) == cut
        assert len(cut) == 100
        assert cut.endswith(CUT % 100)


@given(data=st.binary(max_size=2000), length=st.integers(0, 2000))
def test_the_digest_is_of_the_first_bytes_exactly(data: bytes, length: int) -> None:
    length = min(length, len(data))
    with spool_of(10_000) as spool:
        spool.append(data)
        assert spool.sha256(length) == hashlib.sha256(data[:length]).hexdigest()


def test_the_digest_of_more_than_a_chunk() -> None:
    data = bytes(range(256)) * 4096  # a MiB
    with spool_of(2 << 20) as spool:
        spool.append(data)
        for length in (256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, len(data)):
            assert spool.sha256(length) == hashlib.sha256(data[:length]).hexdigest()


@given(data=st.binary(min_size=1, max_size=500), start=st.integers(0, 600), size=st.integers(0, 99))
def test_any_piece_can_be_read_again(data: bytes, start: int, size: int) -> None:
    with spool_of(1000) as spool:
        spool.append(data)
        assert spool.read(start, size) == data[start : start + size]


def test_appends_from_many_threads_neither_tear_nor_vanish() -> None:
    lines = [[b"thread %d line %d\n" % (t, n) for n in range(200)] for t in range(8)]
    with spool_of(1 << 20) as spool:
        start = threading.Barrier(len(lines))

        def write(own: list[bytes]) -> None:
            start.wait(10)
            for line in own:
                spool.append(line)

        threads = [threading.Thread(target=write, args=(own,)) for own in lines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        found = content(spool).splitlines(keepends=True)
    assert len(found) == 8 * 200
    for t, own in enumerate(lines):
        assert [line for line in found if line.startswith(b"thread %d " % t)] == own


def test_a_reader_wakes_up_for_more_and_when_it_is_told_to() -> None:
    with spool_of(1000) as spool:
        sizes: list[int] = []
        reader = threading.Thread(target=lambda: sizes.append(spool.wait_for_more(0, 60)))
        reader.start()
        spool.append(b"hello")
        reader.join(30)
        assert sizes == [5]
        told = threading.Thread(target=lambda: sizes.append(spool.wait_for_more(5, 60)))
        told.start()
        spool.wake()
        told.join(30)
        assert sizes == [5, 5]
        assert spool.wait_for_more(4, 60) == 5
        assert spool.wait_for_more(5, 0.01) == 5


@pytest.fixture
def full_disk() -> Iterator[IO[bytes]]:
    with Path("/dev/full").open("r+b", buffering=0) as file:
        yield file


def test_a_full_disk_is_on_record_and_raises_nothing(full_disk: IO[bytes]) -> None:
    spool = LogSpool(full_disk, 1000)
    spool.append(b"printed")
    spool.append(b"and more")
    kept = content(spool)
    assert kept == b"\n[log cut off: the worker cannot write it; the build goes on]\n"
    assert spool.sha256(spool.size) == hashlib.sha256(kept).hexdigest()


def test_what_was_written_before_the_disk_was_full_is_kept() -> None:
    with spool_of(100_000) as spool, files_at_most(1000):
        spool.append(b"a" * 700)
        spool.append(b"b" * 700)
        spool.append(b"c")
        kept = content(spool)
        last = spool.read(990, 20)
    assert kept.startswith(b"a" * 700 + b"b" * 300 + b"\n[log cut off: the worker")
    assert last == kept[990:1010]


@pytest.mark.parametrize("limit", [1001, 1030, 1050, 1100])
def test_a_full_disk_near_the_limit_stays_within_it(limit: int) -> None:
    with spool_of(limit) as spool, files_at_most(1000):
        spool.append(b"a" * 2000)
        assert len(content(spool)) == spool.size <= limit
        assert content(spool).startswith(b"a" * 900)


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Writing beyond `size` fails with EFBIG: Python ignores SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_output_that_comes_after_the_end_goes_nowhere() -> None:
    with spool_of(100) as spool:
        spool.append(b"before")
        spool.close()
    spool.append(b"after")
    assert spool.size == 6
