"""The log context holds the fields that all log lines of a piece of work have, such as `build_id`.

Fields are bound where the work begins: at a request, at the dispatch of a build, at a task. Every
later line has them, the lines of libraries too. A new thread has them when it runs what
`with_context` returned.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import MappingProxyType
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_fields: Final[ContextVar[Mapping[str, object]]] = ContextVar("log_fields", default=_NOTHING)


def fields() -> Mapping[str, object]:
    """Return the fields that are bound now."""
    return _fields.get()


def bind(**more: object) -> None:
    """Add fields, until the end of the innermost `bound`, task or thread."""
    _fields.set({**_fields.get(), **more})


def begin(**only: object) -> None:
    """Replace all fields by these, at the start of a request or a task."""
    _fields.set(only)


@contextmanager
def bound(**more: object) -> Iterator[None]:
    """Add fields for the length of a `with`."""
    before = _fields.set({**_fields.get(), **more})
    try:
        yield
    finally:
        _fields.reset(before)


def with_context(call: Callable[P, T]) -> Callable[P, T]:
    """Return `call` for another thread, where it runs with the log fields and the trace of now."""
    context = copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.run(call, *args, **kwargs)

    return run
