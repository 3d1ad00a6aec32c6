"""The issuer's metadata document (RFC 8414 §2, RFC 8628 §4, RFC 9207 §3)."""

from typing import Any

from app.issuer import paths
from app.issuer.clients import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from app.issuer.config import KNOWN_SCOPES, IssuerConfig


def metadata(config: IssuerConfig) -> dict[str, Any]:
    """Return the document, which is the same at both of its paths."""
    methods = ["client_secret_basic", "client_secret_post", "none"]
    return {
        "issuer": config.issuer,
        "authorization_endpoint": config.url(paths.AUTHORIZE),
        "token_endpoint": config.url(paths.TOKEN),
        "device_authorization_endpoint": config.url(paths.DEVICE_CODE),
        "revocation_endpoint": config.url(paths.REVOKE),
        "userinfo_endpoint": config.url(paths.USERINFO),
        "jwks_uri": config.url(paths.JWKS),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [
            AUTHORIZATION_CODE,
            REFRESH_TOKEN,
            DEVICE_CODE,
            CLIENT_CREDENTIALS,
        ],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "authorization_response_iss_parameter_supported": True,
        "scopes_supported": list(KNOWN_SCOPES),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "nonce", "name", "nickname",
                             "email", "email_verified"],
    }  # fmt: skip
