"""The launcher process starts a worker's commands; it runs `python -I -S launcher.py S LIMITS`.

It is small, so that a fork of it costs a tenth of what a fork of the worker costs, and has one
thread, so that a child of it may run Python before an exec. One launcher serves a pool process for
as long as that lives: no Python starts while a build waits.

LIMITS are resource limits by their numbers (setrlimit(2)), as `LIMIT VALUE …`; this process sets
them for itself, and all that it starts inherits them. S is a Unix socket of whole messages
(SOCK_SEQPACKET). Each message asks for one child, in fields that NUL separates, with descriptors
beside it:

- `exec UID GID ARGUMENT …` starts a program; uid and gid are -1 to keep them. The descriptors
  become 0, 1 (and 2), 3, 4, …, except the last one, to which this process writes `exit <status>` at
  the program's end.
- `supervise` starts a supervisor with output, control and status, as `supervisor.py` explains.
- `listen PID PORT …` has `listen_inside.py` answer on a socket.

The reply is `started <pid>` with the child's pidfd, or `failed <why>`. When the socket ends, the
worker is done or dead: this process ends, and with it every child that has set PR_SET_PDEATHSIG.
"""

import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from app import prctl
    from worker.sandbox import listen_inside, supervisor
else:  # `-I` leaves these folders out; at the end of the path they shadow nothing
    sys.path += (__file__.rpartition("/")[0], __file__.rpartition("/worker/")[0])
    import listen_inside
    import supervisor

    from app import prctl

MAX_MESSAGE_BYTES = 262144
MAX_DESCRIPTORS = 16

#: The numbers of descriptors that are handed on; this process' own have higher ones.
HANDED_ON = range(3, 3 + MAX_DESCRIPTORS)

CANNOT_EXECUTE = 126


def main(number: int, limits: "list[int]") -> None:
    """Serve messages on the socket with this descriptor number, until it ends."""
    # Builds of the same user can signal this process, but not look into it.
    prctl.set_dumpable(dumpable=False)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda _number, _frame: None)  # an exec undoes it, unlike SIG_IGN
    for which, value in zip(limits[::2], limits[1::2], strict=True):
        resource.setrlimit(which, (value, value))
    worker = socket.socket(fileno=fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, HANDED_ON.stop))
    os.close(number)
    keep_free(HANDED_ON)
    children = supervisor.wake_on_child()
    running: dict[int, int] = {}
    poll = select.poll()
    poll.register(worker, select.POLLIN)
    poll.register(children, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if children in ready:
            os.read(children, 4096)
            reap(running)
        if worker.fileno() in ready and not serve(worker, running):
            return


def keep_free(numbers: range) -> None:
    """Occupy these descriptor numbers, so that none of this process' own ever gets one."""
    for number in numbers:
        os.dup2(0, number, inheritable=False)  # 0 is the null device


def serve(worker: socket.socket, running: "dict[int, int]") -> bool:
    """Start what the next message asks for; return False when the socket has ended."""
    message, fds, _, _ = socket.recv_fds(
        worker, MAX_MESSAGE_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
    )
    if not message:
        return False
    what, *fields = message.split(b"\0")
    try:
        if what == b"exec":
            status = fds.pop()
            pid = execute(fields, fds)
            running[pid] = status
        else:
            pid = fork(worker, what.decode(), fields, fds)
    except OSError as error:
        worker.send(f"failed {error}".encode())
        return True
    finally:
        for fd in fds:
            os.close(fd)
    pidfd = os.pidfd_open(pid)  # only this process reaps it, so it still exists
    try:
        socket.send_fds(worker, [f"started {pid}".encode()], [pidfd])
    finally:
        os.close(pidfd)
    return True


def execute(fields: "list[bytes]", fds: "list[int]") -> int:
    """Start a program with `fds`, whose status descriptor is off already; return its pid.

    Raises `OSError`.
    """
    uid, gid = int(fields[0]), int(fields[1])
    numbers = HANDED_ON[: len(fds) - 2]
    for number, fd in zip(numbers, fds[2:], strict=True):
        os.dup2(fd, number)
    try:
        popen = subprocess.Popen(
            fields[2:], stdin=fds[0], stdout=fds[1], stderr=fds[1], env={}, cwd="/", umask=0o022,
            pass_fds=numbers, start_new_session=True, user=uid if uid >= 0 else None,
            group=gid if uid >= 0 else None, extra_groups=[] if uid >= 0 else None,
        )  # fmt: skip
    finally:
        keep_free(numbers)
    popen.returncode = 0  # `reap` takes the status; this object is deleted and must not
    return popen.pid


def fork(worker: socket.socket, what: str, fields: "list[bytes]", fds: "list[int]") -> int:
    """Run a part of this program in a child; return its pid. Raises `OSError`."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        worker.close()
        if what == "supervise":
            output, control, status = fds
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            supervisor.main(control, status)
        elif what == "listen":
            listen_inside.answer(fds[0], int(fields[0]), [int(each) for each in fields[1:]])
    finally:
        os._exit(CANNOT_EXECUTE)  # after any error, too: the worker sees the descriptors end


def reap(running: "dict[int, int]") -> None:
    """Take the statuses of children that have ended, and write those of `exec` to their pipes.

    `running` has each status descriptor by its child's pid.
    """
    try:
        taken = supervisor.reap()
    except ChildProcessError:
        return
    for pid, status in taken.items():
        fd = running.pop(pid, None)
        if fd is not None:
            supervisor.report(fd, f"exit {status}")
            os.close(fd)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(each) for each in sys.argv[2].split()])
    os._exit(0)  # nothing is buffered
