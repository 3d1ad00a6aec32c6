"""`follow` shows a build to its end: raw bytes into a pipe, a live display on a terminal."""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import click
from rich.console import Console
from rich.spinner import Spinner
from rich.text import Text

from app.cli.display.log_printer import LogPrinter
from app.cli.display.progress import standing, steps_line, steps_list
from app.cli.display.raw_stdout import RawStdout
from app.cli.display.status_bar import StatusBar
from app.cli.display.views import aftermath, mark, outcome
from app.client import BatonClient, ClientError
from app.contract.builds import BuildView
from app.contract.status import Status

#: Exit code when the user leaves before the build's end.
DETACHED: Final = 130

#: Seconds between polls of the build while its log is printed.
_POLL_INTERVAL: Final = 1.0
#: Seconds before the first poll.
_FIRST_POLL_INTERVAL: Final = 0.2


class _Output(Protocol):
    """An `_Output` takes a log's bytes."""

    taken: int  #: bytes, so far

    def feed(self, data: bytes) -> None: ...


def follow(client: BatonClient, build: BuildView, *, start: int = 0) -> int:
    """Show the log from byte `start` until the build ends; return the command's exit code.

    The code is `DETACHED` when the user leaves. Raises `ClientError`.
    """
    if not sys.stdout.isatty():
        return _plainly(client, build, start, RawStdout())
    console = _console()
    if not console.is_dumb_terminal:
        return _Screen(client, build, console, start).follow()
    printer = LogPrinter(console, console.file.write)
    try:
        return _plainly(client, build, start, printer)
    finally:
        printer.close()


def show_log(client: BatonClient, build_id: str, *, start: int = 0) -> None:
    """Print the log as it is now: raw into a pipe, sanitized on a terminal.

    Raises `ClientError`.
    """
    if sys.stdout.isatty():
        console = _console()
        printer = LogPrinter(console, console.file.write)
        for piece in client.log(build_id, start=start):
            printer.feed(piece)
        printer.close()
    else:
        for piece in client.log(build_id, start=start):
            sys.stdout.buffer.write(piece)


def _console() -> Console:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a character still gets the others.
        sys.stdout.reconfigure(errors="replace")
    return Console(soft_wrap=True, highlight=False)


def notice(sentence: str) -> None:
    """Print a sentence about the build on stderr, so that stdout has the log alone."""
    click.echo(sentence, err=True)


def _conclude(build: BuildView) -> int:
    return 0 if build.status is Status.SUCCEEDED else 1


def _detached(build_id: str, reached: int) -> int:
    notice("detached; the build goes on")
    _how_to_go_on(build_id, reached)
    return DETACHED


def _how_to_go_on(build_id: str, reached: int) -> None:
    notice(f"continue with:  baton logs --follow --offset {reached} {build_id}")


def _plainly(client: BatonClient, build: BuildView, start: int, out: _Output) -> int:
    """Follow without a live display: the log goes to `out`, notices to stderr."""
    notice(outcome(build))
    try:
        for piece in client.log(build.id, start=start, follow=True, notice=notice):
            out.feed(piece)
    except KeyboardInterrupt:
        return _detached(build.id, start + out.taken)
    except ClientError:
        _how_to_go_on(build.id, start + out.taken)
        raise
    build = client.show(build.id)
    notice(outcome(build))
    return _conclude(build)


class _Screen:
    """A `_Screen` scrolls the log above the steps and a line with the build's state."""

    def __init__(self, client: BatonClient, build: BuildView, console: Console, start: int) -> None:
        self._client = client
        self._build = build
        self._console = console
        self._start = start
        self._footer = StatusBar(console, self._rows)
        self._printer = LogPrinter(console, self._footer.print)
        self._spinner = Spinner("dots")
        self._trouble = ""
        self._poll_now = threading.Event()

    def follow(self) -> int:
        asked = False
        while True:
            try:
                with self._polling(), self._footer:
                    self._read()
                break
            except KeyboardInterrupt:
                # The question comes once: a second Ctrl-C detaches.
                if asked or not self._offer_to_cancel():
                    self._printer.close()  # it counts as seen
                    return _detached(self._build.id, self._reached)
                asked = True
            except ClientError:
                self._printer.close()
                _how_to_go_on(self._build.id, self._reached)
                raise
        self._printer.close()
        build = self._client.show(self._build.id)
        for line in steps_list(build, self._console.width):
            self._console.print(line)
        self._console.print(mark(build.status), Text(build.id + aftermath(build), style="dim"))
        return _conclude(build)

    @property
    def _reached(self) -> int:
        """The next byte of the log to read."""
        return self._start + self._printer.taken

    def _read(self) -> None:
        log = self._client.log(
            self._build.id, start=self._reached, follow=True, notice=self._notice
        )
        for piece in log:
            self._trouble = ""
            if self._build.status is Status.QUEUED:
                self._poll_now.set()  # it has begun
            self._printer.feed(piece)

    def _offer_to_cancel(self) -> bool:
        """Ask whether to cancel the build; return True when the user wants it, False to detach."""
        if not sys.stdin.isatty():
            return False
        try:
            answer = click.prompt(
                "Cancel the build, or detach and let it run?",
                type=click.Choice(["cancel", "detach"]),
                default="detach",
                err=True,
            )
        except click.Abort:
            return False
        if answer == "cancel":
            try:
                self._client.cancel(self._build.id)
            except ClientError as error:
                notice(f"not cancelled: {error}")
        return bool(answer == "cancel")

    def _notice(self, sentence: str) -> None:
        self._trouble = sentence

    @contextmanager
    def _polling(self) -> Iterator[None]:
        """Keep `_build` up to date from a thread that polls the API."""
        left = threading.Event()
        poller = threading.Thread(target=self._poll, args=(left,), daemon=True)
        poller.start()
        try:
            yield
        finally:
            left.set()
            self._poll_now.set()
            poller.join(_POLL_INTERVAL)

    def _poll(self, left: threading.Event) -> None:
        pause = _FIRST_POLL_INTERVAL
        while True:
            self._poll_now.wait(pause)
            if left.is_set():
                return
            self._poll_now.clear()
            pause = _POLL_INTERVAL
            try:
                self._build = self._client.show(self._build.id)
            except ClientError as error:
                self._trouble = str(error)
            except RuntimeError:
                return  # httpx raises it when the client was closed meanwhile

    def _rows(self) -> list[Text]:
        build = self._build
        frame = self._spinner.render(self._console.get_time())
        spinner = frame if isinstance(frame, Text) else Text()
        steps = steps_line(build, self._console.width - 1)
        rows = [self._printer.rest, steps, spinner + " " + standing(build, self._trouble)]
        return [row for row in rows if row]
