"""What the log lines of a piece of work have in common, said once, where the work comes in.

Bound at the doors: a request, a build that is dispatched, a task. Every line has it from there on,
those of libraries too; a thread has it when it runs what `here` gave.
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
    """What is bound here and now."""
    return _fields.get()


def bind(**more: object) -> None:
    """Add to what is bound, up to the end of the innermost `bound`, task or thread."""
    _fields.set({**_fields.get(), **more})


def begin(**only: object) -> None:
    """Bind this alone, whatever was bound before: at the start of a request or a task."""
    _fields.set(only)


@contextmanager
def bound(**more: object) -> Iterator[None]:
    """Bind for the length of a `with`."""
    before = _fields.set({**_fields.get(), **more})
    try:
        yield
    finally:
        _fields.reset(before)


def here(call: Callable[P, T]) -> Callable[P, T]:
    """`call`, to be run in another thread, with all that is bound here: the log's, the trace's."""
    context = copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.run(call, *args, **kwargs)

    return run
