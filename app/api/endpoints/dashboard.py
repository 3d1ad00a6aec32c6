"""The API serves the dashboard: an SPA whose files are held in memory, and its sign-in settings.

Browsers revalidate the page each time. The files that it loads have the digest of all files in
their path, so that browsers may cache them for ever.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from app.api.middleware.security_headers import page_policy
from app.api.operation import Operation
from app.api.problems import ApiError
from app.api.static_file import File
from app.contract import paths
from app.contract.problems import Code

_YEAR: Final = 365 * 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """`SignIn` holds what the dashboard needs to get its tokens."""

    issuer: str
    client_id: str | None  #: None: nobody can sign in, and the page names the setting
    audience: str
    scope: str

    @property
    def origin(self) -> str:
        url = urlsplit(self.issuer)
        return f"{url.scheme}://{url.netloc}"


def operations(sign_in: SignIn) -> tuple[Operation, ...]:
    """Return the operations of the dashboard, which are not in the OpenAPI document."""
    sources = dict(_sources(files("app") / "dashboard", ""))
    version = hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()[:16]
    served = {name: File(name, content) for name, content in sources.items()}
    page = File("index.html", _page(sources, version))
    config = File("config.json", _config(sign_in))
    policy = {"Content-Security-Policy": page_policy(issuer_origin=sign_in.origin)}
    fresh = {**policy, "Cache-Control": "no-cache"}

    async def index(request: Request) -> Response:
        return page.answer(request, fresh)

    async def configuration(request: Request) -> Response:
        return config.answer(request, fresh)

    async def asset(request: Request) -> Response:
        found = served.get(request.path_params["name"])
        if found is None:
            raise ApiError(Code.NOT_FOUND, "the dashboard has no such file")
        if (
            request.path_params["version"] != version
        ):  # the page of another replica, during an upgrade
            return found.answer(request, fresh)
        lasting = f"public, max-age={_YEAR}, immutable"
        return found.answer(request, {**policy, "Cache-Control": lasting})

    return (
        Operation(method="GET", path=paths.DASHBOARD, summary="The dashboard", endpoint=index),
        Operation(
            method="GET",
            path=paths.DASHBOARD_CONFIG,
            summary="How it signs in",
            endpoint=configuration,
        ),
        Operation(method="GET", path=paths.DASHBOARD_FILE, summary="Its files", endpoint=asset),
    )


def _page(sources: Mapping[str, bytes], version: str) -> bytes:
    """Fill in the base path of the files, and a preload for each module: all load at once."""
    base = f"ui/{version}"
    modules = sorted(
        name for name in sources if name.endswith(".js") and not name.endswith("worker.js")
    )
    preloads = "\n".join(f'<link rel="modulepreload" href="{base}/{name}">' for name in modules)
    text = sources["index.html"].decode()
    return text.replace("<!-- modules -->", preloads).replace("{base}", base).encode()


def _config(sign_in: SignIn) -> bytes:
    values = {
        "issuer": sign_in.issuer,
        "client_id": sign_in.client_id,
        "audience": sign_in.audience,
        "scope": sign_in.scope,
    }
    return json.dumps(values).encode()


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif not entry.name.startswith("."):
            yield prefix + entry.name, entry.read_bytes()
