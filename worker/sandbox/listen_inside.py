"""`answer` makes sockets that listen on the loopback of another process' network, for the worker.

It runs in a child of `launcher.py`: only a process with one thread may enter another user namespace
(setns(2)), and a worker has several. It imports the standard library only.
"""

import ctypes
import fcntl
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NEW_USER = 0x10000000
_NEW_NET = 0x40000000
_GET_OWNER = 0xB701  #: ioctl NS_GET_USERNS, ioctl_ns(2)


def answer(channel: int, pid: int, ports: "Sequence[int]") -> None:
    """Listen on 127.0.0.1 in the network of `pid`; send the sockets, or why not, on `channel`."""
    with socket.socket(fileno=channel) as worker:
        try:
            _enter(pid)
            listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
        except OSError as error:
            worker.sendall(str(error).encode())
        else:
            socket.send_fds(worker, [b"\n"], [each.fileno() for each in listeners])


def _enter(pid: int) -> None:
    """Join the network of a process, and first the user namespace that owns it.

    Raises `OSError`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    owner = fcntl.ioctl(network, _GET_OWNER)
    for namespace, kind in (owner, _NEW_USER), (network, _NEW_NET):
        if libc.setns(namespace, kind) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")
