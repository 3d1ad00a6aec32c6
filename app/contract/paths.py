"""Every path of the API, once."""

from typing import Final

BUILDS: Final = "/builds"
BUILD: Final = "/builds/{build_id}"
CANCEL: Final = "/builds/{build_id}/cancel"
RETRY: Final = "/builds/{build_id}/retry"
LOG: Final = "/builds/{build_id}/log"
CLAIM: Final = "/builds/{build_id}/claim"
HEARTBEAT: Final = "/builds/{build_id}/heartbeat"

HEALTHZ: Final = "/healthz"
READYZ: Final = "/readyz"
OPENAPI: Final = "/openapi.json"
JWKS: Final = "/.well-known/jwks.json"
PROTECTED_RESOURCE: Final = "/.well-known/oauth-protected-resource"


def of(template: str, build_id: str) -> str:
    """The path of one build: `of(CLAIM, "bld_…")`."""
    return template.format(build_id=build_id)
