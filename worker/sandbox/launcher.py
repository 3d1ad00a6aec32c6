"""The process that starts a worker's commands, run as `python -I -S launcher.py S LIMITS`.

It is small, so that a fork of it costs a tenth of what a fork of the worker costs, and has one
thread, so that a child of it may run Python before an exec. One serves a process of the worker's
pool for as long as that lives: no Python starts on a build's path.

LIMITS are resource limits by their numbers (setrlimit(2)), as `LIMIT VALUE …`: this process keeps
to them, and so does all that it starts. S is a Unix socket of whole messages (SOCK_SEQPACKET). Each
message asks for one child, in fields that NUL separates, with descriptors beside it:

- `exec UID GID ARGUMENT …`: a program; uid and gid are -1 to keep them. The descriptors become 0, 1
  (and 2), 3, 4, …; the last one is not handed on: `exit <status>` is written to it at the end.
- `supervise`: output, control and status, as `supervisor.py` explains.
- `listen PID PORT …`: a socket on which `listen_inside.py` answers.

The answer is `started <pid>` with the child's pidfd, or `failed <why>`. When the socket ends, the
worker is done or dead: this process ends, and with it what has PR_SET_PDEATHSIG.
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

#: The numbers of descriptors that are handed on; what is this process' own lies above.
HANDED_ON = range(3, 3 + MAX_DESCRIPTORS)

CANNOT_EXECUTE = 126


def main(number: int, limits: "list[int]") -> None:
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
    """Have nothing of this process' own at these numbers, neither now nor later."""
    for number in numbers:
        os.dup2(0, number, inheritable=False)  # 0 is the null device


def serve(worker: socket.socket, running: "dict[int, int]") -> bool:
    """Start what the next message asks for; False when there is none any more."""
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
    pidfd = os.pidfd_open(pid)  # nobody else reaps it: it is there
    try:
        socket.send_fds(worker, [f"started {pid}".encode()], [pidfd])
    finally:
        os.close(pidfd)
    return True


def execute(fields: "list[bytes]", fds: "list[int]") -> int:
    """Start a program; its pid. Raises `OSError`."""
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
    popen.returncode = 0  # its status is for `reap`, not for an object that goes away
    return popen.pid


def fork(worker: socket.socket, what: str, fields: "list[bytes]", fds: "list[int]") -> int:
    """Run a part of this program in a child; its pid. Raises `OSError`."""
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
        os._exit(CANNOT_EXECUTE)  # whatever went wrong: nothing comes on the descriptors any more


def reap(running: "dict[int, int]") -> None:
    """Take the statuses of children that have ended, and tell those that are waited for."""
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
