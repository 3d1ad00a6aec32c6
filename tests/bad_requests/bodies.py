"""Bodies that are none, and headers that say what is not so."""

import json
from typing import Any, Final

from tests.bad_requests import BUILD, JSON, LEASE, Bad

INVALID: Final = (422, "invalid-body")
NOT_JSON: Final = (400, "bad-request")
NO_MEDIA: Final = (415, "unsupported-media-type")
TOO_LARGE: Final = (413, "too-large")

STEP: Final = {"name": "a", "run": "true"}


def spec(**changes: Any) -> bytes:
    return json.dumps({"steps": [STEP]} | changes).encode()


def step(**changes: Any) -> bytes:
    return spec(steps=[STEP | changes])


_NO_JSON: Final[dict[str, bytes]] = {
    "nothing": b"",
    "a space": b" ",
    "a brace": b"{",
    "half a spec": spec()[:-1],
    "a spec and more": spec() + b"x",
    "two specs": spec() * 2,
    "single quotes": spec().replace(b'"', b"'"),
    "a comma too many": spec()[:-1] + b",}",
    "a comment": b"/* mine */" + spec(),
    "a form": b"steps=true",
    "XML": b"<spec/>",
    "YAML": b"steps:\n- run: 'true'\n",
    "a BOM": b"\xef\xbb\xbf" + spec(),
    "UTF-16": spec().decode().encode("utf-16"),
    "UTF-32": spec().decode().encode("utf-32"),
    "invalid UTF-8": b'{"steps": "\xff"}',
    "overlong UTF-8": b'{"steps": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"steps": "\xed\xa0\x80"}',
    "half a surrogate": b'{"steps": [{"name": "\\ud800", "run": "true"}]}',
    "a raw newline": b'{"steps": "\n"}',
    "a raw NUL": b'{"steps": "\0"}',
    "a zero in front": b'{"timeout": 01}',
    "a plus": b'{"timeout": +1}',
    "hexadecimal": b'{"timeout": 0x10}',
    "a bad escape": b'{"steps": "\\x41"}',
    "nested without end": b"[" * 5000,
    "nested deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "steps twice": b'{"steps": [], "steps": [{"name": "a", "run": "true"}]}',
    "a name twice in a step": b'{"steps": [{"name": "a", "name": "b", "run": "true"}]}',
    "a variable twice": b'{"steps": [{"name": "a", "run": "b"}], "env": {"A": "1", "A": "2"}}',
    "steps twice, spelled otherwise": b'{"steps":[],"st\\u0065ps":[{"name":"a","run":"true"}]}',
    "timeout 1e400": b'{"steps": [{"name": "a", "run": "b"}], "timeout": 1e400}',
    "timeout NaN": b'{"steps": [{"name": "a", "run": "b"}], "timeout": NaN}',
    "timeout Infinity": b'{"steps": [{"name": "a", "run": "b"}], "timeout": Infinity}',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}
NO_JSON: Final = {
    f"body: {name}": Bad(method="POST", headers=JSON, body=body, expected=NOT_JSON, says="JSON")
    for name, body in _NO_JSON.items()
}

#: A spec, and the JSON Pointer of what is wrong with it.
_WRONG_SPECS: Final[dict[str, tuple[bytes, str]]] = {
    "null": (b"null", ""),
    "a list": (b"[]", ""),
    "a string": (b'"steps"', ""),
    "a number": (b"1", ""),
    "empty": (b"{}", "/steps"),
    "steps null": (spec(steps=None), "/steps"),
    "steps empty": (spec(steps=[]), "/steps"),
    "steps an object": (spec(steps={"0": STEP}), "/steps"),
    "steps a string": (spec(steps="true"), "/steps"),
    "steps of strings": (spec(steps=["true"]), "/steps/0"),
    "steps of null": (spec(steps=[None]), "/steps/0"),
    "101 steps": (spec(steps=[STEP | {"name": f"{n}"} for n in range(101)]), "/steps"),
    "a step twice": (spec(steps=[STEP, STEP]), ""),
    "an unknown field": (spec(owner="auth0|bob"), "/owner"),
    "an unknown field, escaped": (spec(**{"a/b~c": 1}), "/a~1b~0c"),
    "an id of one's own": (spec(id="bld_01ARZ3NDEKTSV4RRFFQ69G5FAV"), "/id"),
    "a status of one's own": (spec(status="succeeded"), "/status"),
    "__proto__": (spec(__proto__={"admin": True}), "/__proto__"),
    "a step without name": (b'{"steps": [{"run": "true"}]}', "/steps/0/name"),
    "a step without run": (b'{"steps": [{"name": "a"}]}', "/steps/0/run"),
    "a step with more": (step(image="alpine"), "/steps/0/image"),
    "name empty": (step(name=""), "/steps/0/name"),
    "name a number": (step(name=1), "/steps/0/name"),
    "name with a newline": (step(name="a\nb"), "/steps/0/name"),
    "name with a NUL": (step(name="a\0"), "/steps/0/name"),
    "name endless": (step(name="a" * 101), "/steps/0/name"),
    "run empty": (step(run=""), "/steps/0/run"),
    "run a list": (step(run=["true"]), "/steps/0/run"),
    "run with a NUL": (step(run="true\0"), "/steps/0/run"),
    "run endless": (step(run="x" * (64 * 1024 + 1)), "/steps/0/run"),
    "timeout zero": (spec(timeout=0), "/timeout"),
    "timeout negative": (spec(timeout=-1), "/timeout"),
    "timeout text": (spec(timeout="60"), "/timeout"),
    "timeout true": (spec(timeout=True), "/timeout"),
    "timeout half a second": (spec(timeout=0.5), "/timeout"),
    "timeout a fraction": (spec(timeout=60.5), "/timeout"),
    "timeout 10^30": (spec(timeout=10**30), "/timeout"),
    "timeout of 400 digits": (b'{"steps": [], "timeout": ' + b"1" * 400 + b"}", "/timeout"),
    "timeout over the limit": (spec(timeout=86400), "/timeout"),
    "timeout of a step over the build's": (
        spec(steps=[STEP | {"timeout": 61}], timeout=60),
        "/steps/0/timeout",
    ),
    "env a list": (spec(env=["A=1"]), "/env"),
    "env of numbers": (spec(env={"A": 1}), "/env/A"),
    "env of null": (spec(env={"A": None}), "/env/A"),
    "env without name": (spec(env={"": "1"}), "/env"),
    "env name with =": (spec(env={"A=B": "1"}), "/env"),
    "env name with a space": (spec(env={"A B": "1"}), "/env"),
    "env name with a NUL": (spec(env={"A\0": "1"}), "/env"),
    "env value with a NUL": (spec(env={"A": "\0"}), "/env"),
    "env of Baton's": (spec(env={"BATON_BUILD_ID": "x"}), "/env"),
    "env CI": (spec(env={"CI": "false"}), "/env"),
    "env of a step, of Baton's": (step(env={"BATON": "x"}), "/steps/0/env"),
    "env endless": (spec(env={f"A{n}": "" for n in range(201)}), "/env"),
    "env large": (spec(env={"A": "x" * 40000}), "/env"),
    "labels a list": (spec(labels=["a"]), "/labels"),
    "labels of numbers": (spec(labels={"a": 1}), "/labels/a"),
    "labels too many": (spec(labels={f"{n}": "" for n in range(33)}), "/labels"),
    "label endless": (spec(labels={"a": "x" * 257}), "/labels/a"),
    "label without name": (spec(labels={"": "x"}), "/labels"),
    "source a string": (spec(source="https://example.com/x.git"), "/source"),
    "source empty": (spec(source={}), "/source/git"),
    "source a number": (spec(source={"git": 1}), "/source/git"),
    "source nothing": (spec(source={"git": ""}), "/source/git"),
    "source a path": (spec(source={"git": "/etc"}), "/source/git"),
    "source a relative path": (spec(source={"git": "../x"}), "/source/git"),
    "source an option": (spec(source={"git": "--upload-pack=touch x"}), "/source/git"),
    "source an option as host": (
        spec(source={"git": "ssh://-oProxyCommand=x/y"}),
        "/source/git",
    ),
    "source a remote helper": (spec(source={"git": "ext::sh -c x"}), "/source/git"),
    "source with a newline": (spec(source={"git": "https://example.com/a\nb"}), "/source/git"),
    "source endless": (spec(source={"git": "https://" + "a" * 2048}), "/source/git"),
    "ref an option": (spec(source={"git": "https://a/b", "ref": "--all"}), "/source/ref"),
    "ref with two dots": (spec(source={"git": "https://a/b", "ref": "a..b"}), "/source/ref"),
    "ref with a newline": (spec(source={"git": "https://a/b", "ref": "a\nb"}), "/source/ref"),
    "ref empty": (spec(source={"git": "https://a/b", "ref": ""}), "/source/ref"),
    "ref a wildcard": (spec(source={"git": "https://a/b", "ref": "*"}), "/source/ref"),
    "sha short": (spec(source={"git": "https://a/b", "sha": "abc"}), "/source/sha"),
    "sha in upper case": (spec(source={"git": "https://a/b", "sha": "A" * 40}), "/source/sha"),
    "sha and a newline": (
        spec(source={"git": "https://a/b", "sha": "a" * 40 + "\n"}),
        "/source/sha",
    ),
}
WRONG_SPECS: Final = {
    f"spec: {name}": Bad(
        method="POST", headers=JSON, body=body, expected=INVALID, says=f'"pointer":"{pointer}'
    )
    for name, (body, pointer) in _WRONG_SPECS.items()
}

_MEDIA_TYPES: Final = (
    "", "text/plain", "text/json", "application/xml", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x", "application/jsonx", "application/ json", "json", "*/*",
    "application/problem+json", "text/html; application/json", "application/octet-stream",
)  # fmt: skip
MEDIA_TYPES: Final = {
    f"Content-Type: {kind}": Bad(
        method="POST",
        headers=(("Content-Type", kind),),
        body=spec(),
        expected=NO_MEDIA,
        says="application/json",
    )
    for kind in _MEDIA_TYPES
} | {
    "no Content-Type": Bad(method="POST", body=spec(), expected=NO_MEDIA, says="application/json"),
}

_KEYS: Final[dict[str, bytes]] = {
    "empty": b"",
    "256 letters": b"x" * 256,
    "a space": b"a b",
    "a tab": b"a\tb",
    "half a quote": b'"a',
    "quotes without content": b'""',
    "a quote within": b'a"b',
    "a backslash": b"a\\b",
    "a letter with an accent": "schlüssel".encode(),
    "Latin-1": b"schl\xfcssel",
    "a list": b'"a", "b"',
}
KEYS: Final = {
    f"Idempotency-Key: {name}": Bad(
        method=method,
        path=path,
        headers=(*JSON, ("Idempotency-Key", key)),
        body=body,
        says="Idempotency-Key",
    )
    for name, key in _KEYS.items()
    for method, path, body in (("POST", "/builds", spec()),)
} | {
    "Idempotency-Key of a retry": Bad(
        method="POST", path=f"{BUILD}/retry", headers=(("Idempotency-Key", "a b"),)
    ),
}

SIZES: Final = {
    "larger than allowed": Bad(
        method="POST", headers=JSON, body=b" " * (1024 * 1024 + 1), expected=TOO_LARGE, says="bytes"
    ),
    "a claim larger than allowed": Bad(
        method="POST",
        path=f"{BUILD}/claim",
        headers=JSON,
        body=b" " * (1024 * 1024 + 1),
        token="build",
        expected=TOO_LARGE,
        says="bytes",
    ),
    "a piece of log larger than allowed": Bad(
        method="PATCH",
        path=f"{BUILD}/log",
        headers=(*LEASE, ("Content-Range", "bytes 0-262144/*")),
        body=b"x" * (256 * 1024 + 1),
        token="build",
        expected=TOO_LARGE,
        says="bytes",
    ),
}
