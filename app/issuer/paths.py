"""The paths of the issuer; those that Auth0 has too are spelled as at Auth0."""

from typing import Final

AUTHORIZE: Final = "/authorize"
TOKEN: Final = "/oauth/token"  # noqa: S105
REVOKE: Final = "/oauth/revoke"
DEVICE_CODE: Final = "/oauth/device/code"
ACTIVATE: Final = "/activate"
USERINFO: Final = "/userinfo"
JWKS: Final = "/.well-known/jwks.json"
OPENID_CONFIGURATION: Final = "/.well-known/openid-configuration"
OAUTH_METADATA: Final = "/.well-known/oauth-authorization-server"
ROTATE: Final = "/keys/rotate"
HEALTHZ: Final = "/healthz"
