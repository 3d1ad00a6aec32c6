"""Clients and workers read these documents about the API."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.api.state import state


async def jwks(request: Request) -> Response:
    """Answer with the public keys of the `local` minter (RFC 7517); none with another minter."""
    return _document(state(request).jwks, "public, max-age=300")


async def protected_resource(request: Request) -> Response:
    """Answer where tokens for this API come from, and which scopes there are (RFC 9728)."""
    return _document(state(request).resource_metadata, "public, max-age=3600")


async def openapi(request: Request) -> Response:
    return _document(await request.app.state.openapi(), "public, max-age=300")


def _document(body: Any, caching: str) -> Response:  # noqa: ANN401  any JSON
    return Response(json.dumps(body), 200, {"Cache-Control": caching}, "application/json")
