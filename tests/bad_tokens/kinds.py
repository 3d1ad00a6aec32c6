"""Tokens that are good, but not of the kind that a call takes: RFC 8725 §3.12, RFC 9700 §4.15.

`None` takes a claim away. A refusal is its status, the challenge's `error`, and the problem's code.
"""

from collections.abc import Callable
from typing import Any, Final

from tests.support.providers.authority import AUDIENCE, CLIENT, NAMESPACE

Refusal = tuple[int, str | None, str]
PubSub = dict[str, Any]

WRONG_KIND: Final[Refusal] = (403, "insufficient_scope", "wrong-token-kind")
WRONG_BUILD: Final[Refusal] = (403, "insufficient_scope", "wrong-build")
SHORT_OF_SCOPE: Final[Refusal] = (403, "insufficient_scope", "insufficient-scope")
INVALID: Final[Refusal] = (401, "invalid_token", "invalid-token")
NOT_ORDERED: Final[Refusal] = (401, "invalid_token", "superseded-token")

USER_ID: Final = f"{NAMESPACE}user_id"
BUILD_ID: Final = f"{NAMESPACE}build_id"

#: A user's token changed so that it is a machine's, for the calls of users.
MACHINES: Final[dict[str, PubSub]] = {
    "of the minting client": {"azp": CLIENT},
    "of the minting client, by client_id": {"azp": None, "client_id": CLIENT},
    "of the minting client, by both": {"client_id": CLIENT, "azp": CLIENT},
    "gty client-credentials": {"gty": "client-credentials"},
    "sub of a client": {"sub": "somebody@clients"},
    "sub of the minting client": {"sub": f"{CLIENT}@clients"},
    "sub is its client": {"sub": "spa"},
    "sub is its client_id": {"sub": "spa", "azp": None, "client_id": "spa"},
    "another client's machine": {
        "azp": "other", "sub": "other@clients", "gty": "client-credentials",
    },
    "a machine that names a user": {
        "azp": "other", "sub": "other@clients", "gty": "client-credentials", USER_ID: "auth0|ann",
    },
    "a build token with a user's scope": {
        "azp": CLIENT, "sub": f"{CLIENT}@clients", "gty": "client-credentials",
        "aud": AUDIENCE, USER_ID: "auth0|ann", BUILD_ID: "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    },
}  # fmt: skip

#: A build's own claims changed, for the calls of its worker. The build's id is given.
NEARLY_BUILDS: Final[dict[str, tuple[Callable[[str], PubSub], Refusal]]] = {
    "a user's sub": (lambda _: {"sub": "auth0|ann"}, WRONG_KIND),
    "sub of another client": (lambda _: {"sub": "other@clients"}, WRONG_KIND),
    "sub without @clients": (lambda _: {"sub": CLIENT}, WRONG_KIND),
    "sub in upper case": (lambda _: {"sub": f"{CLIENT}@clients".upper()}, WRONG_KIND),
    "azp of the SPA": (lambda _: {"azp": "spa"}, WRONG_KIND),
    "azp in upper case": (lambda _: {"azp": CLIENT.upper()}, WRONG_KIND),
    "azp that begins alike": (lambda _: {"azp": f"{CLIENT}2"}, WRONG_KIND),
    "azp with a space": (lambda _: {"azp": f"{CLIENT} "}, WRONG_KIND),
    "another client, wholly": (
        lambda _: {"azp": "other", "sub": "other@clients"},
        WRONG_KIND,
    ),
    "another client, by client_id": (
        lambda _: {"azp": None, "client_id": "other", "sub": "other@clients"},
        WRONG_KIND,
    ),
    "client_id of another beside azp": (lambda _: {"client_id": "other"}, INVALID),
    "gty password": (lambda _: {"gty": "password"}, WRONG_KIND),
    "gty refresh_token": (lambda _: {"gty": "refresh_token"}, WRONG_KIND),
    "gty empty": (lambda _: {"gty": ""}, WRONG_KIND),
    "gty spelled otherwise": (lambda _: {"gty": "client_credentials"}, WRONG_KIND),
    "aud and another": (lambda _: {"aud": [AUDIENCE, "https://other.example.com/"]}, INVALID),
    "aud and userinfo": (lambda _: {"aud": [AUDIENCE, "https://login/userinfo"]}, INVALID),
    "aud twice": (lambda _: {"aud": [AUDIENCE, AUDIENCE]}, INVALID),
    "scope none": (lambda _: {"scope": None}, SHORT_OF_SCOPE),
    "scope empty": (lambda _: {"scope": ""}, SHORT_OF_SCOPE),
    "scope of spaces": (lambda _: {"scope": "   "}, SHORT_OF_SCOPE),
    "scope another": (lambda _: {"scope": "read:builds"}, SHORT_OF_SCOPE),
    "scope and another": (lambda _: {"scope": "update:builds read:builds"}, SHORT_OF_SCOPE),
    "scope and openid": (lambda _: {"scope": "openid update:builds"}, SHORT_OF_SCOPE),
    "scope in upper case": (lambda _: {"scope": "UPDATE:BUILDS"}, SHORT_OF_SCOPE),
    "scope that begins alike": (lambda _: {"scope": "update:builds2"}, SHORT_OF_SCOPE),
    "scope that ends alike": (lambda _: {"scope": "xupdate:builds"}, SHORT_OF_SCOPE),
    "scope with commas": (lambda _: {"scope": "update:builds,update:builds"}, SHORT_OF_SCOPE),
    "scope a wildcard": (lambda _: {"scope": "*"}, SHORT_OF_SCOPE),
    "permissions for scope": (
        lambda _: {"scope": None, "permissions": ["update:builds"]},
        SHORT_OF_SCOPE,
    ),
    "scp for scope": (lambda _: {"scope": None, "scp": ["update:builds"]}, SHORT_OF_SCOPE),
    "no user": (lambda _: {USER_ID: None}, INVALID),
    "user empty": (lambda _: {USER_ID: ""}, INVALID),
    "user a list": (lambda _: {USER_ID: ["auth0|ann"]}, INVALID),
    "user an object": (lambda _: {USER_ID: {"id": "auth0|ann"}}, INVALID),
    "user endless": (lambda _: {USER_ID: "a" * 600}, INVALID),
    "user with a newline": (lambda _: {USER_ID: "auth0|ann\n"}, INVALID),
    "user without its namespace": (lambda _: {USER_ID: None, "user_id": "auth0|ann"}, INVALID),
    "user in another namespace": (
        lambda _: {USER_ID: None, "https://evil.example.com/user_id": "auth0|ann"},
        INVALID,
    ),
    "another user": (lambda _: {USER_ID: "auth0|bob"}, WRONG_BUILD),
    "user in upper case": (lambda _: {USER_ID: "AUTH0|ANN"}, WRONG_BUILD),
    "user with a space": (lambda _: {USER_ID: "auth0|ann "}, WRONG_BUILD),
    "user a wildcard": (lambda _: {USER_ID: "*"}, WRONG_BUILD),
    "no build": (lambda _: {BUILD_ID: None}, INVALID),
    "build empty": (lambda _: {BUILD_ID: ""}, INVALID),
    "build a number": (lambda _: {BUILD_ID: 7}, INVALID),
    "build a list": (lambda build: {BUILD_ID: [build]}, INVALID),
    "build true": (lambda _: {BUILD_ID: True}, INVALID),
    "build and a newline": (lambda build: {BUILD_ID: build + "\n"}, INVALID),
    "build and a NUL": (lambda build: {BUILD_ID: build + "\0"}, INVALID),
    "build without its namespace": (
        lambda build: {BUILD_ID: None, "build_id": build},
        INVALID,
    ),
    "another build": (lambda _: {BUILD_ID: "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV"}, WRONG_BUILD),
    "build in lower case": (lambda build: {BUILD_ID: build.lower()}, WRONG_BUILD),
    "build cut short": (lambda build: {BUILD_ID: build[:-1]}, WRONG_BUILD),
    "build and more": (lambda build: {BUILD_ID: build + "0"}, WRONG_BUILD),
    "build and a space": (lambda build: {BUILD_ID: f" {build}"}, WRONG_BUILD),
    "build a path": (lambda build: {BUILD_ID: f"../{build}"}, WRONG_BUILD),
    "build a wildcard": (lambda _: {BUILD_ID: "*"}, WRONG_BUILD),
    # Right in everything: but not the one that the API ordered for this attempt.
    "another of the same": (lambda _: {"jti": "another"}, NOT_ORDERED),
    "one that lasts longer": (lambda _: {"exp": 4102444800}, NOT_ORDERED),
    "one that was made before": (lambda _: {"iat": 1}, NOT_ORDERED),
}
