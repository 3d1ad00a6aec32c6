"""The claims that the embedded issuer adds to build tokens, as the Auth0 Action does.

The Action is docs/auth0/credentials-exchange.js. Both have the same rules and messages; a test runs
both on the same table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.issuer.errors import OAuthError

#: `auth0|…`, `google-oauth2|…`, `samlp|connection|name@host`: a provider, then the user's id there.
#: No client's own subject (`…@clients`) has a `|`.
_USER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\|(.{1,190})", re.DOTALL)
_BUILD_ID: Final = re.compile(r"bld_[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionSecrets:
    """The secrets of the Action at Auth0, where they have the same names in capitals."""

    build_audience: str
    build_client_id: str
    claim_namespace: str


def added_claims(
    secrets: ActionSecrets, *, audience: str, client_id: str, body: Mapping[str, Any]
) -> dict[str, str]:
    """Return the claims to add to a client credentials token; none for another audience or client.

    Raises `OAuthError` (`invalid_request`) to deny the token.
    """
    if audience != secrets.build_audience:
        return {}
    if client_id != secrets.build_client_id:
        # No other client with a grant on this API may choose for whom it acts.
        if "user_id" in body or "build_id" in body:
            raise OAuthError(
                "invalid_request", "this client may not send user_id or build_id for this API"
            )
        return {}
    if not _is_user_id(body.get("user_id")):
        raise OAuthError("invalid_request", "user_id is missing or not like provider|id")
    if not _is_build_id(body.get("build_id")):
        raise OAuthError("invalid_request", "build_id is missing or malformed")
    return {
        secrets.claim_namespace + "user_id": body["user_id"],
        secrets.claim_namespace + "build_id": body["build_id"],
    }


def _is_user_id(value: object) -> bool:
    found = _USER_ID.fullmatch(value) if isinstance(value, str) else None
    return found is not None and found[1].isprintable()


def _is_build_id(value: object) -> bool:
    return isinstance(value, str) and _BUILD_ID.fullmatch(value) is not None
