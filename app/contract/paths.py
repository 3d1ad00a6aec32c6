"""Every path of the API is spelled here, and only here."""

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

#: The page that describes this API, and the files that it loads.
DOCS: Final = "/docs"
DOCS_FILE: Final = "/docs/{name}"

#: The dashboard: its page, its sign-in settings, and the files that it loads.
DASHBOARD: Final = "/"
DASHBOARD_CONFIG: Final = "/dashboard-config.json"
DASHBOARD_FILE: Final = "/ui/{version}/{name:path}"


def of(template: str, build_id: str) -> str:
    """Fill in the build's id: `of(CLAIM, "bld_…")` returns `/builds/bld_…/claim`."""
    return template.format(build_id=build_id)
