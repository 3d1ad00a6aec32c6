"""The issuer's check: its name is `BATON_ISSUER`, and its keys can be used."""

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx

from app.config.settings import Settings
from app.contract.doctor import Finding, ahead_by, clock
from app.doctor.redact_url import failure
from app.tokens.keys import KeySet

_CHECK: Final = "issuer"
_KEYS: Final = "issuer's keys"
_DISCOVERY: Final = "/.well-known/openid-configuration"
_JWKS: Final = "/.well-known/jwks.json"

#: Bytes of the largest response that is accepted.
_MAX_ANSWER_BYTES: Final = 256 * 1024


async def check_issuer(settings: Settings, http: httpx.AsyncClient) -> list[Finding]:
    """Return the findings about the issuer's name, keys and clock."""
    keys, answer = await _keys(settings, http)
    found = [await _discovery(settings, http), keys]
    ahead = ahead_by(answer.headers.get("date")) if answer else None
    if ahead is not None:
        found.append(clock("the issuer's", ahead, leeway=settings.leeway))
    return found


async def _discovery(settings: Settings, http: httpx.AsyncClient) -> Finding:
    """Check the discovery document at the issuer, or beside its keys.

    In a container, the issuer may have another name than outside.
    """
    places = [settings.issuer.rstrip("/") + _DISCOVERY]
    if settings.jwks_url and settings.jwks_url.endswith(_JWKS):
        places.append(settings.jwks_url.removesuffix(_JWKS) + _DISCOVERY)
    failures = []
    for url in dict.fromkeys(places):
        try:
            document = _object(await http.get(url))
        except (httpx.HTTPError, ValueError) as error:
            failures.append(f"{url}: {failure(error)}")
        else:
            return _compare_issuer(document, settings)
    return Finding.wrong(
        _CHECK,
        f"its discovery document cannot be had: {'; '.join(failures)}",
        "see that BATON_ISSUER is the issuer's own name and can be reached from here: `baton "
        "login` and the dashboard sign in by what that document says",
    )


def _compare_issuer(document: Mapping[str, Any], settings: Settings) -> Finding:
    """OpenID Connect Discovery §4.3: the two are the same to the letter."""
    named, ours = document.get("issuer"), settings.issuer
    if named == ours:
        return Finding.ok(_CHECK, f"calls itself {ours}, as BATON_ISSUER does")
    if isinstance(named, str) and named.rstrip("/") == ours.rstrip("/"):
        return Finding.wrong(
            _CHECK,
            f"calls itself {named}, BATON_ISSUER is {ours}: the slash at the end counts, and every "
            "token is refused",
            f"set BATON_ISSUER={named}",
        )
    return Finding.wrong(
        _CHECK,
        f"calls itself {named}, BATON_ISSUER is {ours}: its tokens are refused",
        f"set BATON_ISSUER={named}, or name another issuer",
    )


async def _keys(
    settings: Settings, http: httpx.AsyncClient
) -> tuple[Finding, httpx.Response | None]:
    url = settings.keys_url
    try:
        answer = await http.get(url, follow_redirects=False)
        keys = _object(answer)
        usable = KeySet.from_jwks(keys, frozenset(settings.algorithms))
    except (httpx.HTTPError, ValueError) as error:
        advice = (
            "set BATON_JWKS_URL to the `jwks_uri` of the issuer's discovery document, and see that "
            "it can be reached from here"
        )
        return Finding.wrong(_KEYS, f"cannot be had from {url}: {failure(error)}", advice), None
    if not len(usable):
        algorithms = ", ".join(settings.algorithms)
        return Finding.wrong(
            _KEYS,
            f"none of the {len(keys['keys'])} at {url} can be used for {algorithms}",
            "set BATON_ALGORITHMS to what the issuer signs with (RSA keys of 2048 bits or more)",
        ), answer
    return Finding.ok(_KEYS, f"{len(usable)} can be used, from {url}"), answer


def _object(answer: httpx.Response) -> dict[str, Any]:
    """Return the response's JSON object. Raises `ValueError` for anything else."""
    if answer.status_code != httpx.codes.OK:
        raise ValueError(f"status {answer.status_code}")
    if len(answer.content) > _MAX_ANSWER_BYTES:
        raise ValueError(f"more than {_MAX_ANSWER_BYTES} bytes")
    found = json.loads(answer.content)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  bad content, not a bad call
    return found
