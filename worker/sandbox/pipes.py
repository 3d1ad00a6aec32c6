"""These functions open descriptors for a child; the `ExitStack` that each is given closes them."""

import os
from contextlib import ExitStack


def pipe(read_end: ExitStack, write_end: ExitStack) -> tuple[int, int]:
    """Open a pipe; return the read end and the write end."""
    readable, writable = os.pipe()
    read_end.callback(os.close, readable)
    write_end.callback(os.close, writable)
    return readable, writable


def null_device(stack: ExitStack) -> int:
    """Open the null device for reading."""
    fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def memory_file(stack: ExitStack, content: bytes) -> int:
    """Open a nameless file with `content`, at its start; unlike a pipe it holds any length."""
    fd = os.memfd_create("baton")
    stack.callback(os.close, fd)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
