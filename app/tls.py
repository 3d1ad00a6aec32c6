"""Whom a client trusts."""

import ssl
from urllib.parse import urlsplit

import httpx


def context_for(*urls: str, trust_env: bool = True) -> ssl.SSLContext:
    """The TLS context of a client that calls these URLs alone; `trust_env` as httpx has it.

    Without https among them it trusts nobody: reading all authorities takes a tenth of a command.
    """
    if any(urlsplit(url).scheme == "https" for url in urls):
        return httpx.create_ssl_context(trust_env=trust_env)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
