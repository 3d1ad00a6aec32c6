"""Following a build to its end: raw bytes into a pipe, a live display on a terminal."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.ansi import AnsiDecoder
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from app.cli.lines import Lines
from app.cli.progress import standing, steps_line, steps_list
from app.cli.views import aftermath, mark, outcome
from app.client import BatonClient, ClientError
from app.contract.builds import BuildView
from app.contract.status import Status

#: Exit code of a follower who left before the end.
DETACHED: Final = 130

#: Seconds between looks at the build while its log scrolls by.
_LOOK: Final = 1.0
_FIRST_LOOK: Final = 0.2


def follow(client: BatonClient, build: BuildView, *, start: int = 0) -> int:
    """Show the log from byte `start` until the build ends; returns the exit code."""
    console = Console(soft_wrap=True, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal and sys.stdin.isatty():
        return _Screen(client, build, console, start).follow()
    return _pipe(client, build, start)


def show_log(client: BatonClient, build_id: str, *, start: int = 0) -> None:
    """Print the log as it is now: raw into a pipe, made harmless on a terminal."""
    if sys.stdout.isatty():
        printer = _Printer(Console(soft_wrap=True, highlight=False))
        for piece in client.log(build_id, start=start):
            printer.feed(piece)
        printer.close()
    else:
        for piece in client.log(build_id, start=start):
            sys.stdout.buffer.write(piece)


def notice(sentence: str) -> None:
    """Something about the build, beside its log."""
    click.echo(sentence, err=True)


def _conclude(build: BuildView) -> int:
    return 0 if build.status is Status.SUCCEEDED else 1


def _detached(build_id: str, reached: int) -> int:
    notice("detached; the build goes on")
    _how_to_go_on(build_id, reached)
    return DETACHED


def _how_to_go_on(build_id: str, reached: int) -> None:
    notice(f"continue with:  baton logs --follow --offset {reached} {build_id}")


def _pipe(client: BatonClient, build: BuildView, start: int) -> int:
    notice(outcome(build))
    out = sys.stdout.buffer
    try:
        for piece in client.log(build.id, start=start, follow=True, notice=notice):
            start += len(piece)
            out.write(piece)
            out.flush()
    except KeyboardInterrupt:
        return _detached(build.id, start)
    except ClientError:
        _how_to_go_on(build.id, start)
        raise
    build = client.show(build.id)
    notice(outcome(build))
    return _conclude(build)


class _Printer:
    """Prints log bytes as lines; colours go on over the end of a line, as in a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines = Lines()
        self._colours = AnsiDecoder()

    def feed(self, data: bytes) -> None:
        self._print(self._lines.feed(data))

    def close(self) -> None:
        self._print(self._lines.close())

    @property
    def rest(self) -> Text:
        return Text(Text.from_ansi(self._lines.rest).plain)

    def _print(self, lines: list[str]) -> None:
        if lines:
            text = Text("\n").join(self._colours.decode_line(line) for line in lines)
            self._console.print(text)


class _Screen:
    """The log scrolls above one line that says where the build stands."""

    def __init__(self, client: BatonClient, build: BuildView, console: Console, start: int) -> None:
        self._client = client
        self._build = build
        self._console = console
        self._reached = start
        self._printer = _Printer(console)
        self._spinner = Spinner("dots")
        self._trouble = ""

    def follow(self) -> int:
        asked = False
        while True:
            try:
                with self._live():
                    self._read()
                break
            except KeyboardInterrupt:
                # Asked once: whoever presses it again wants to leave.
                if asked or not self._ask():
                    return _detached(self._build.id, self._reached)
                asked = True
            except ClientError:
                _how_to_go_on(self._build.id, self._reached)
                raise
        self._printer.close()
        build = self._client.show(self._build.id)
        for line in steps_list(build):
            self._console.print(line)
        self._console.print(mark(build.status), Text(build.id + aftermath(build), style="dim"))
        return _conclude(build)

    def _read(self) -> None:
        log = self._client.log(
            self._build.id, start=self._reached, follow=True, notice=self._notice
        )
        for piece in log:
            self._reached += len(piece)
            self._trouble = ""
            self._printer.feed(piece)

    def _ask(self) -> bool:
        """What to do with the build: True when it was cancelled, False to leave it alone."""
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
    def _live(self) -> Iterator[None]:
        """Keep the line up to date, from a thread that looks at the build now and then."""
        left = threading.Event()
        looker = threading.Thread(target=self._look, args=(left.wait,), daemon=True)
        live = Live(
            get_renderable=self._status, console=self._console, transient=True,
            refresh_per_second=8, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        with live:
            looker.start()
            try:
                yield
            finally:
                left.set()
                looker.join(_LOOK)

    def _look(self, wait: Callable[[float], bool]) -> None:
        pause = _FIRST_LOOK
        while not wait(pause):
            pause = _LOOK
            try:
                self._build = self._client.show(self._build.id)
            except ClientError as error:
                self._trouble = str(error)
            except RuntimeError:
                return  # httpx's word for: closed meanwhile

    def _status(self) -> Group:
        build = self._build
        frame = self._spinner.render(self._console.get_time())
        spinner = frame if isinstance(frame, Text) else Text()
        steps = steps_line(build, self._console.width - 1)
        lines = [self._printer.rest, steps, spinner + " " + standing(build, self._trouble)]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*(line for line in lines if line))
