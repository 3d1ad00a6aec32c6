"""`python -m app.cli.local.fake_store PORT` is the store of last resort: a Redis written in Python.

It listens on loopback, asks for no password, and loses its data when it ends.
"""

import sys
from typing import Any

from fakeredis import TcpFakeServer


class _Replies:
    """A `_Replies` wraps a client's connection so that errors are replies, as in Redis.

    fakeredis closes the connection after an error; but NOSCRIPT is how clients learn to send a
    script. An error's text is made one line, as the protocol wants it.
    """

    def __init__(self, connection: Any) -> None:  # noqa: ANN401  private to fakeredis
        self._connection = connection

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the connection has
        return getattr(self._connection, name)

    def read_response(self) -> Any:  # noqa: ANN401  any reply
        try:
            return self._connection.read_response()
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  error boundary: the client gets it as a reply
            return type(error)(" ".join(str(error).split()))


def serve(port: int) -> None:
    """Serve on 127.0.0.1 until killed."""
    server = TcpFakeServer(("127.0.0.1", port))

    class Handler(server.RequestHandlerClass):  # type: ignore[name-defined,misc]
        current_client: Any

        def setup(self) -> None:
            super().setup()
            self.current_client = _Replies(self.current_client)

    server.RequestHandlerClass = Handler
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
