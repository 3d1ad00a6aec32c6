"""These defaults are what `baton dev` sets up, and what client commands use without options."""

from typing import Final

DEFAULT_API: Final = "http://127.0.0.1:8080"
DEFAULT_AUDIENCE: Final = "https://api.baton.example/"

#: Clients at the embedded issuer: the dashboard's, and the terminal's.
SPA_CLIENT_ID: Final = "baton-spa"
CLI_CLIENT_ID: Final = "baton-cli"
