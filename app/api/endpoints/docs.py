"""`/docs` shows the OpenAPI document as a page without scripts."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.api.docs.once import Once
from app.api.docs.page import render
from app.api.middleware.security_headers import READING_POLICY
from app.api.operation import Operation
from app.api.problems import ApiError
from app.api.static_file import File
from app.contract import paths
from app.contract.problems import Code


def operations(document: Callable[[], Mapping[str, Any]]) -> tuple[Operation, ...]:
    """Return the operations of the page, which are not in the OpenAPI document."""
    app = files("app")
    theme = (app / "dashboard" / "css" / "theme.css").read_bytes()
    served = {
        "docs.css": File("docs.css", theme + (app / "api" / "docs" / "docs.css").read_bytes()),
        "favicon.svg": File("favicon.svg", (app / "dashboard" / "favicon.svg").read_bytes()),
    }
    page = Once(lambda: File("docs.html", render(document()).encode()))
    headers = {"Content-Security-Policy": READING_POLICY, "Cache-Control": "no-cache"}

    async def index(request: Request) -> Response:
        return (await page()).answer(request, headers)

    async def asset(request: Request) -> Response:
        found = served.get(request.path_params["name"])
        if found is None:
            raise ApiError(Code.NOT_FOUND, "there is no such file")
        return found.answer(request, headers)

    return (
        Operation(method="GET", path=paths.DOCS, summary="This API, to read", endpoint=index),
        Operation(method="GET", path=paths.DOCS_FILE, summary="Its files", endpoint=asset),
    )
