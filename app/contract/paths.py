"""Every path of the API, once."""

from typing import Final

BUILDS: Final = "/builds"
EVENTS: Final = "/builds/events"
BUILD: Final = "/builds/{build_id}"
CANCEL: Final = "/builds/{build_id}/cancel"
RETRY: Final = "/builds/{build_id}/retry"
LOG: Final = "/builds/{build_id}/log"
BUILD_EVENTS: Final = "/builds/{build_id}/events"
CLAIM: Final = "/builds/{build_id}/claim"
HEARTBEAT: Final = "/builds/{build_id}/heartbeat"

HEALTHZ: Final = "/healthz"
READYZ: Final = "/readyz"
METRICS: Final = "/metrics"
OPENAPI: Final = "/openapi.json"
JWKS: Final = "/.well-known/jwks.json"
PROTECTED_RESOURCE: Final = "/.well-known/oauth-protected-resource"

#: The page that describes this API, and its files.
DOCS: Final = "/docs"
DOCS_FILE: Final = "/docs/{name}"

#: The dashboard's: its page, how it signs in, and its files.
DASHBOARD: Final = "/"
DASHBOARD_CONFIG: Final = "/dashboard-config.json"
DASHBOARD_FILE: Final = "/ui/{version}/{name:path}"


def of(template: str, build_id: str) -> str:
    """The path of one build: `of(CLAIM, "bld_…")`."""
    return template.format(build_id=build_id)
