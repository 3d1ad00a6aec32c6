"""nginx and Caddy, started with the files of docs/deploy.

Of those, only what is a place is another one: host, ports, certificate, the API's address.
"""

import os
import random
import socket
import ssl
import subprocess
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urlsplit

import httpx

from tests.support.needs import needs
from tests.support.servers.certificates import Certificate
from tests.support.servers.redis_process import free_port
from tests.support.waiting import wait_until

CONFIGURATIONS = Path(__file__).parents[3] / "docs" / "deploy"

#: Where the files have Baton, its certificate and its API.
_HOST = "ci.example.com"
_CERTIFICATE = "/etc/ssl/certs/ci.example.com.pem"
_KEY = "/etc/ssl/private/ci.example.com.key"
_API = "127.0.0.1:8080"


class Proxy(ABC):
    """A proxy before the API at `api_url`, published at `url`, until its context ends."""

    suffix: ClassVar[str]  #: of its files in docs/deploy

    def __init__(self, name: str, url: str, api_url: str, certificate: Certificate) -> None:
        """`name` is that of a file, without suffix."""
        parts = urlsplit(url)
        assert parts.hostname, url
        assert parts.port, url
        self._host, self._port, self._url = parts.hostname, parts.port, url
        self._authority = certificate.authority
        text = (CONFIGURATIONS / type(self).__name__.lower() / f"{name}.{self.suffix}").read_text()
        self._text = replaced(
            text,
            {
                _CERTIFICATE: str(certificate.certificate),
                _KEY: str(certificate.key),
                _API: urlsplit(api_url).netloc,
            },
        )

    @abstractmethod
    def _command(self, folder: Path) -> list[str]:
        """Write the configuration into `folder`; returns what starts the proxy with it."""

    def start(self, folder: Path) -> Self:
        self._log = folder / "log"
        command = self._command(folder)
        env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        wait_until("the proxy answers", self._answers)
        return self

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            httpx.get(f"{self._url}/healthz", verify=self.context(), trust_env=False)
        except httpx.TransportError:
            return False
        return True

    def context(self) -> ssl.SSLContext:
        """One that trusts the proxy's certificate."""
        return ssl.create_default_context(cafile=str(self._authority))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()


class Nginx(Proxy):
    suffix = "conf"

    #: As a distribution's own file, and as those that people add: compression for everything.
    _MAIN = """
        daemon off;
        {user}
        pid {folder}/pid;
        error_log stderr;
        events {{ worker_connections 256; }}
        http {{
            access_log off;
            gzip on;
            gzip_types *;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            include {folder}/baton.conf;
        }}
    """

    def _command(self, folder: Path) -> list[str]:
        places = {"listen 443": f"listen {self._port}", _HOST: self._host}
        text = replaced(self._text, places).replace("listen 80;", f"listen {free_port()};")
        (folder / "baton.conf").write_text(text)
        main = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        main.write_text(self._MAIN.format(folder=folder, user=user))
        return [needs("nginx"), "-c", str(main), "-p", str(folder), "-e", "stderr"]


class Caddy(Proxy):
    suffix = "Caddyfile"

    def _command(self, folder: Path) -> list[str]:
        places = {
            f"{_HOST} {{": f"https://{self._host}:{self._port} {{\n\tencode",
            "#tls": "tls",
            "\tgrace_period": f"\tadmin off\n\thttp_port {free_port()}\n\tgrace_period",
        }
        path = folder / "Caddyfile"
        path.write_text(replaced(self._text, places))
        return [needs("caddy"), "run", "--adapter", "caddyfile", "--config", str(path)]


def spare_port() -> int:
    """A port that is still free when a proxy starts, be that later: none of those that the kernel
    gives to connections, and to whoever asks for any."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311  no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port


def replaced(text: str, places: dict[str, str]) -> str:
    for old, new in places.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
