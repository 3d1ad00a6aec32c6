"""Wrong methods, paths and queries."""

from typing import Final

from tests.bad_requests import BUILD, Bad

_TAKES: Final = {
    "/builds": "GET, HEAD, POST",
    BUILD: "GET, HEAD, POST, PUT",
    f"{BUILD}/log": "GET, HEAD, PATCH",
    f"{BUILD}/cancel": "POST",
    f"{BUILD}/retry": "POST",
    f"{BUILD}/claim": "POST",
    f"{BUILD}/heartbeat": "POST",
    "/healthz": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    "/.well-known/jwks.json": "GET, HEAD",
    "/.well-known/oauth-protected-resource": "GET, HEAD",
}
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK")

METHODS: Final = {
    f"{method} {path}": Bad(
        method=method,
        path=path,
        expected=(405, "method-not-allowed"),
        says=takes,
        more={"Allow": takes},
    )
    for path, takes in _TAKES.items()
    for method in _METHODS
    if method not in takes.split(", ")
}

NOT_FOUND: Final = (404, "not-found")

_NOWHERE: Final = {
    "the root's file": "/index.php",
    "a slash behind": "/builds/",
    "two slashes": "//builds",
    "two slashes within": "/builds//x",
    "in upper case": "/BUILDS",
    "a version in front": "/v1/builds",
    "a dot segment, escaped": "/builds/%2e%2e/healthz",
    "dot segments to a file": "/%2e%2e/%2e%2e/etc/passwd",
    "an encoded slash": "/builds%2f",
    "an encoded slash, twice": "/builds%252f",
    "an encoded backslash": "/builds%5c",
    "a NUL": "/builds%00",
    "a line break": "/builds%0d%0aX-Injected:%201",
    "a path parameter": "/builds;jsessionid=1",
    "an extension": "/builds.json",
    "a template": "/builds/{{7*7}}/x/y",
    "invalid UTF-8": "/%ff%fe",
    "overlong UTF-8": "/%c0%ae%c0%ae/builds",
    "a stray percent": "/%",
    "half an escape": "/%2",
    "very long": "/" + "a" * 20000,
    "very deep": "/a" * 3000,
    "another's metadata": "/.well-known/oauth-protected-resource/other",
    "a secret file": "/.env",
    "a repository": "/.git/config",
    "something below a document": "/openapi.json/x",
    "a child of a call": f"{BUILD}/claim/x",
    "a call that is none": f"{BUILD}/delete",
}
PATHS: Final = {
    f"path: {name}": Bad(path=path, expected=NOT_FOUND, says="nothing at this path")
    for name, path in _NOWHERE.items()
}

_NO_BUILDS: Final = {
    "short": "x",
    "that is not there": "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "in lower case": "bld_01arz3ndektsv4rrffq69g5fav",
    "with letters that ULIDs lack": "bld_01ARZ3NDEKTSV4RRFFQ69G5ILO",
    "beyond time": "bld_81ARZ3NDEKTSV4RRFFQ69G5FAV",
    "and a space": "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV%20",
    "and a line break": "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV%0a",
    "and a NUL": "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV%00",
    "a wildcard": "*",
    "a key of the store": "%7Bbaton%7D:leases",
    "in other digits": "bld_%D9%A01ARZ3NDEKTSV4RRFFQ69G5FA",
    "endless": "b" * 5000,
    "an object's method": "__proto__",
}
BUILDS: Final = {
    f"{method} a build {name}{call}": Bad(
        method=method, path=f"/builds/{build_id}{call}", expected=NOT_FOUND
    )
    for name, build_id in _NO_BUILDS.items()
    for method, call in (
        ("GET", ""),
        ("GET", "/log"),
        ("GET", "/log?follow=1"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
    )
}

_QUERIES: Final = {
    "limit=": "limit",
    "limit=0": "limit",
    "limit=00": "limit",
    "limit=101": "limit",
    "limit=-1": "limit",
    "limit=%2B1": "limit",
    "limit=1.0": "limit",
    "limit=1e1": "limit",
    "limit=0x10": "limit",
    "limit=ten": "limit",
    "limit=1%20": "limit",
    "limit=1,2": "limit",
    "limit=%D9%A3": "limit",
    "limit=%EF%BC%91": "limit",
    "limit=%00": "limit",
    "limit=null": "limit",
    "limit=99999999999999999999999999": "limit",
    "limit=0000001009": "limit",
    "limit=000000100" + "9" * 400: "limit",
    "limit=1&limit=2": "limit",
    "status=": "status",
    "status=done": "status",
    "status=QUEUED": "status",
    "status=queued,running": "status",
    "status=queued&status=running": "status",
    "status=%00": "status",
    "status=queued%20": "status",
    "cursor=": "cursor",
    "cursor=x": "cursor",
    "cursor=-inf": "cursor",
    "cursor=%28": "cursor",
    "cursor=%2B": "cursor",
    "cursor=%5Bbld": "cursor",
    "cursor=bld_01ARZ3NDEKTSV4RRFFQ69G5FAV%0a": "cursor",
    "cursor=bld_01ARZ3NDEKTSV4RRFFQ69G5FAV&cursor=x": "cursor",
    "cursor=" + "b" * 5000: "cursor",
}
QUERIES: Final = {
    f"?{query[:60]}": Bad(path=f"/builds?{query}", says=name) for query, name in _QUERIES.items()
}
