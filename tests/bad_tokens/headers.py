"""Extensions and types: RFC 7515 §4.1.11, RFC 7797 §7, RFC 8725 §3.11, RFC 9068 §4."""

import json
from typing import Final

from tests.support.providers.authority import Authority
from tests.support.providers.forged import Claims, Forge, headed, resigned, signed

EVIL: Final = "https://evil.example.com"


def detached_unencoded(authority: Authority, claims: Claims) -> str:
    """RFC 7797: the payload is signed as it is, not in base64url."""
    head = json.dumps(
        {"alg": "RS256", "kid": authority.kid, "b64": False, "crit": ["b64"]}
    ).encode()
    return signed(authority, json.dumps(claims).encode(), head)


HEADERS: Final[dict[str, Forge]] = {
    "crit unknown": resigned(crit=["exp"], exp=1),
    "crit empty": resigned(crit=[]),
    "crit a string": resigned(crit="exp"),
    "crit null": headed('{"alg": "RS256", "kid": "KID", "crit": null}'),
    "crit of a URL": resigned(crit=[f"{EVIL}/x"], **{f"{EVIL}/x": True}),
    "crit names alg": resigned(crit=["alg"]),
    "crit b64, true": resigned(crit=["b64"], b64=True),
    "crit b64, false": detached_unencoded,
    "b64 false, not critical": resigned(b64=False),
    "b64 true, not critical": resigned(b64=True),
    "typ of a DPoP proof": resigned(typ="dpop+jwt"),
    "typ of a security event": resigned(typ="secevent+jwt"),
    "typ of a logout": resigned(typ="logout+jwt"),
    "typ of introspection": resigned(typ="token-introspection+jwt"),
    "typ of a request object": resigned(typ="oauth-authz-req+jwt"),
    "typ of a client assertion": resigned(typ="client-authentication+jwt"),
    "typ of a key binding": resigned(typ="kb+jwt"),
    "typ of a status list": resigned(typ="statuslist+jwt"),
    "typ of an encrypted token": resigned(typ="JWE"),
    "typ with a space": resigned(typ="at+jwt "),
    "typ application twice": resigned(typ="application/application/at+jwt"),
    "typ text": resigned(typ="text/at+jwt"),
    "typ empty": resigned(typ=""),
    "typ null": headed('{"alg": "RS256", "kid": "KID", "typ": null}'),
    "typ a list": resigned(typ=["JWT"]),
    "typ a number": resigned(typ=1),
    "at+jwt without jti and client_id": resigned(typ="at+jwt"),
    "at+jwt without jti": lambda a, c: resigned(typ="at+jwt")(a, c | {"client_id": c["azp"]}),
    "at+jwt without client_id": lambda a, c: resigned(typ="at+jwt")(a, c | {"jti": "1"}),
    "at+jwt with an empty jti": lambda a, c: resigned(typ="application/at+jwt")(
        a, c | {"jti": "", "client_id": c["azp"]}
    ),
    "at+jwt with jti a number": lambda a, c: resigned(typ="AT+JWT")(
        a, c | {"jti": 1, "client_id": c["azp"]}
    ),
}
