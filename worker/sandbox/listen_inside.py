"""Sockets that listen on the loopback of another process' network, for this side to accept on.

`listen` is what a sandbox calls. It runs this very file as a program, alone: only a process with
one thread may enter another user namespace (setns(2)), and a worker has several.
"""

import ctypes
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

_NEW_USER = 0x10000000
_NEW_NET = 0x40000000
_GET_OWNER = 0xB701  #: ioctl NS_GET_USERNS, ioctl_ns(2)
_PATIENCE = 30.0  #: seconds


def listen(pid: int, ports: Sequence[int]) -> list[socket.socket]:
    """Listen on 127.0.0.1 in the network of `pid`. Raises `OSError`."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(_PATIENCE)
        with theirs:
            program = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(pid), str(theirs.fileno()),
                 *map(str, ports)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),), env={}, cwd="/",
            )  # fmt: skip
        try:
            _, descriptors, _, _ = socket.recv_fds(ours, 1, len(ports))
        finally:
            _, said = program.communicate(timeout=_PATIENCE)
    found = [socket.socket(fileno=each) for each in descriptors]
    if len(found) != len(ports):
        for each in found:
            each.close()
        raise OSError(said.decode(errors="replace").strip().rpartition("\n")[2])
    return found


def _enter(pid: int) -> None:
    """Join the network of a process, by way of the user namespace that it belongs to."""
    libc = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    owner = fcntl.ioctl(network, _GET_OWNER)
    for namespace, kind in (owner, _NEW_USER), (network, _NEW_NET):
        if libc.setns(namespace, kind) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")


def _main(pid: int, channel: int, ports: Sequence[int]) -> None:
    _enter(pid)
    listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
    with socket.socket(fileno=channel) as theirs:
        socket.send_fds(theirs, [b"\n"], [each.fileno() for each in listeners])


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), [int(each) for each in sys.argv[3:]])
