"""Every path of the issuer, once; those that Auth0 has are spelled as Auth0 spells them."""

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
