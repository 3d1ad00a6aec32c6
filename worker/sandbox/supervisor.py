"""The supervisor is the parent of one command in the `process` sandbox: it runs `main(C, S)`.

C is the read end of the control pipe. First comes a request: its length (4 bytes, big-endian), then
fields that NUL separates: the working directory; uid, gid (-1: keep), and the limits for private
memory, processes, file size, open files, all in one field; the number of arguments; the arguments;
the environment as NAME=value.
After the request, each byte T asks for SIGTERM to every process of the command. The end of the pipe
means that the worker is done with the command or dead; the supervisor then kills all of them.

S is the write end of the status pipe. The supervisor writes `began`, or `failed <why>` when the
command is not at fault; then `exit <status>`, before it kills what the command has left. It ends
when none of its descendants is left: it is their subreaper, so none can hide by losing its parent.

A child of the launcher runs it, without the rest of the worker: it imports the standard library
only, and little of that.
"""

import errno
import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from app import prctl
    from worker.sandbox import tree
else:  # siblings in the launcher, which has set the path
    import tree

    from app import prctl

CANNOT_EXECUTE = 126  #: a shell's status for a program that is there and cannot be run
NOT_FOUND = 127
SIGNALLED = 128

MISSING = (errno.ENOENT, errno.ENOTDIR)

#: Seconds between checks whether killed processes are gone: at first, and at most.
KILL_POLL_INTERVAL, MAX_KILL_POLL_INTERVAL = 0.002, 0.1


class Refused(Exception):
    """The command could not be started; `status` is a shell's, None when Baton is at fault."""

    def __init__(self, why: str, status: "int | None") -> None:
        self.status = status
        super().__init__(why)


class Request:
    """A `Request` parses what comes first on the control pipe."""

    def __init__(self, message: bytes) -> None:
        self.cwd, numbers, count, *rest = message.split(b"\0")
        uid, gid, memory, self.processes, file_size, open_files = map(int, numbers.split())
        self.user = None if uid < 0 else (uid, gid)
        self.argv = rest[: int(count)]
        self.env = dict(item.split(b"=", 1) for item in rest[int(count) :])
        self.limits = [
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, file_size),
            (resource.RLIMIT_NOFILE, open_files),
            (resource.RLIMIT_DATA, memory),
        ]


def main(control: int, status: int) -> None:
    """Start the command that `control` describes, report on `status`, end with its last process."""
    os.set_inheritable(control, False)
    os.set_inheritable(status, False)
    # Same-user builds can signal this process, but not read another build's environment in it.
    prctl.set_dumpable(dumpable=False)
    prctl.set_child_subreaper()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    length = int.from_bytes(read_exactly(control, 4), "big")
    request = Request(read_exactly(control, length))
    children = wake_on_child()
    try:
        pid = start(request)
    except Refused as refused:
        if refused.status is None:
            report(status, f"failed {refused}")
        else:
            os.write(1, f"{refused}\n".encode())
            report(status, "began")
            report(status, f"exit {refused.status}")
        return
    close_output()
    report(status, "began")
    exit_status = watch(pid, control, children)
    if exit_status is not None:
        report(status, f"exit {exit_status}")
    end_all()


def read_exactly(fd: int, count: int) -> bytes:
    """Read `count` bytes; exit when the pipe ends before."""
    found = b""
    while len(found) < count:
        more = os.read(fd, count - len(found))
        if not more:
            sys.exit(0)  # the worker is gone, and nothing has begun
        found += more
    return found


def report(fd: int, line: str) -> None:
    """Write a line to a status pipe, whether or not it has a reader."""
    try:
        os.write(fd, line.encode() + b"\n")
    except BrokenPipeError:
        return  # the worker is gone, and the control pipe has ended


def wake_on_child() -> int:
    """Return a descriptor that becomes readable whenever a child has ended."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def start(request: Request) -> int:
    """Fork and execute the command; return its pid. Raises `Refused`."""
    uid = request.user[0] if request.user else os.geteuid()
    # RLIMIT_NPROC counts all that the user runs on this host: what runs already is added.
    processes = request.processes + tree.tasks_of(uid)
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if hard != resource.RLIM_INFINITY:
        processes = min(processes, hard)
    request.limits.append((resource.RLIMIT_NPROC, processes))
    parent = os.getpid()
    readable, writable = os.pipe()  # both closed by a successful exec
    pid = os.fork()
    if pid == 0:
        answer = ":an error of the supervisor's own"
        try:
            execute(request, parent)
        except Refused as refused:
            answer = f"{refused.status or ''}:{refused}"
        except OSError as error:
            answer = f":{error}"
        finally:
            os.write(writable, answer.encode())
            os._exit(CANNOT_EXECUTE)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        failure = pipe.read().decode(errors="replace")
    if failure:
        os.waitpid(pid, 0)
        found, _, why = failure.partition(":")
        raise Refused(why, int(found) if found else None)
    return pid


def execute(request: Request, parent: int) -> None:
    """Become the command, in the child. Raises `Refused`, or `OSError` when Baton is at fault."""
    os.setsid()
    reset_signals()
    if request.user is not None:
        uid, gid = request.user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    prctl.set_no_new_privileges()
    prctl.set_parent_death_signal(signal.SIGKILL)  # after setuid, which clears it
    if os.getppid() != parent:
        os._exit(CANNOT_EXECUTE)
    os.umask(0o022)
    try:
        os.chdir(request.cwd)
    except OSError as error:
        raise Refused(f"{text(request.cwd)}: {error.strerror}", CANNOT_EXECUTE) from error
    for which, value in request.limits:
        resource.setrlimit(which, (value, value))
    number = search_and_execute(request.argv, request.env)
    status = NOT_FOUND if number in MISSING else CANNOT_EXECUTE
    raise Refused(f"{text(request.argv[0])}: {os.strerror(number)}", status)


def reset_signals() -> None:
    """Restore the default action of every signal, and unblock all."""
    signal.set_wakeup_fd(-1)
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # SIGKILL, SIGSTOP and the C library's own
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def search_and_execute(argv: "list[bytes]", env: "dict[bytes, bytes]") -> int:
    """Execute a program, searched for in the command's own PATH; return the errno on failure only.

    `os.execvpe` would import a module here, which the build's user may not be able to read.
    """
    program = argv[0]
    folders = [b""] if b"/" in program else env.get(b"PATH", os.defpath.encode()).split(b":")
    failure = errno.ENOENT
    for folder in folders:
        try:
            os.execve(os.path.join(folder, program), argv, env)  # noqa: PTH118, S606
        except OSError as error:
            if error.errno not in MISSING:
                failure = error.errno or failure
    return failure


def text(name: bytes) -> str:
    return name.decode(errors="replace")


def close_output() -> None:
    """Close the output pipe here, so that it ends with the last process of the command."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def watch(pid: int, control: int, children: int) -> "int | None":
    """Serve the control pipe until `pid` ends; return its status, None when the pipe ends first."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(children, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if children in ready:
            os.read(children, 4096)
            found = reap().get(pid)
            if found is not None:
                return found
        if control in ready:
            if not os.read(control, 4096):
                return None
            tree.send(tree.descendants(os.getpid()), signal.SIGTERM)


def reap() -> "dict[int, int]":
    """Take the exit statuses, by pid, of all children that have ended.

    Raises `ChildProcessError` when there was no child to begin with.
    """
    taken: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            if taken:
                return taken
            raise
        if pid == 0:
            return taken
        code = os.waitstatus_to_exitcode(status)
        taken[pid] = code if code >= 0 else SIGNALLED - code


def end_all() -> None:
    """Kill and reap until no descendant is left."""
    pause = KILL_POLL_INTERVAL
    while True:
        try:
            reap()
        except ChildProcessError:
            return
        tree.kill(os.getpid())
        time.sleep(pause)
        pause = min(2 * pause, MAX_KILL_POLL_INTERVAL)
