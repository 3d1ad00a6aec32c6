"""What API and worker agree on about Celery: names, and where the token travels."""

from typing import Final

QUEUE: Final = "baton.builds"
RUN_BUILD: Final = "baton.run_build"  #: task name; its one argument is the build's id

#: The message header that carries the build token. Never in args or kwargs: those are shown by
#: `inspect`, events, DEBUG logs and result backends; a header of our own is shown by none of them.
TOKEN_HEADER: Final = "baton_token"  # noqa: S105
