"""A real HTTP server around an application, for the length of a `with`."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from tests.support.waiting import wait_until


@contextmanager
def serve(app: Starlette | Callable[[str], Starlette]) -> Iterator[str]:
    """Serve on a free loopback port; gives the URL, without a slash at its end.

    An application that has to know its own URL is given as a function from the URL to it. Lifespan
    runs; an application that does not start fails the test.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(
                app if isinstance(app, Starlette) else app(url),
                lifespan="on",
                ws="none",
                log_config=None,  # logging stays the test's own
                access_log=False,
                timeout_graceful_shutdown=5,
            )
        )
        thread = threading.Thread(target=server.run, args=([listener],), name=f"server {url}")
        thread.start()
        try:
            wait_until("the server answers", lambda: server.started or not thread.is_alive())
            assert server.started, "the application did not start; see the log"
            yield url
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server did not stop"
