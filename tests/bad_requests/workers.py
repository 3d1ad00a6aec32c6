"""What a worker must not say, with the right token of a running build."""

import json
from typing import Any, Final

from tests.bad_requests import BUILD, JSON, LEASE, Bad
from tests.bad_requests.bodies import INVALID, NO_MEDIA, NOT_JSON

_NONCE: Final = "n" * 32
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def claim(**changes: Any) -> bytes:
    return json.dumps({"nonce": _NONCE, "worker": "w"} | changes).encode()


def result(**changes: Any) -> bytes:
    good = {"status": "succeeded", "log_length": 0, "log_sha256": _EMPTY}
    return json.dumps(good | changes).encode()


def running(**changes: Any) -> bytes:
    return json.dumps({"status": "running", "steps": []} | changes).encode()


_CLAIMS: Final[dict[str, tuple[bytes, tuple[int, str]]]] = {
    "nothing": (b"", NOT_JSON),
    "null": (b"null", INVALID),
    "a list": (b"[]", INVALID),
    "empty": (b"{}", INVALID),
    "no nonce": (b'{"worker": "w"}', INVALID),
    "nonce short": (claim(nonce="n"), INVALID),
    "nonce endless": (claim(nonce="n" * 65), INVALID),
    "nonce a number": (claim(nonce=10**20), INVALID),
    "nonce with a space": (claim(nonce="n n" * 10), INVALID),
    "nonce and a newline": (claim(nonce=_NONCE + "\n"), INVALID),
    "nonce null": (claim(nonce=None), INVALID),
    "worker endless": (claim(worker="w" * 201), INVALID),
    "worker with a newline": (claim(worker="w\nw"), INVALID),
    "worker a list": (claim(worker=["w"]), INVALID),
    "nonce twice": (b'{"nonce": "' + b"m" * 32 + b'", ' + claim()[1:], NOT_JSON),
    "something nested deep": (claim(more=1)[:-2] + b"[" * 100 + b"]" * 100 + b"}", NOT_JSON),
    "NaN where nobody looks": (claim(more=1)[:-2] + b"NaN}", NOT_JSON),
    "half a surrogate": (b'{"nonce": "\\ud800", "worker": "w"}', NOT_JSON),
}

_REPORTS: Final[dict[str, tuple[bytes, tuple[int, str]]]] = {
    "nothing": (b"", NOT_JSON),
    "null": (b"null", INVALID),
    "empty": (b"{}", INVALID),
    "steps alone": (b'{"steps": []}', INVALID),
    "a length alone": (b'{"log_length": 0}', INVALID),
    "status twice": (b'{"status": "running", ' + result()[1:], NOT_JSON),
    "status unknown": (result(status="done"), INVALID),
    "status a number": (result(status=1), INVALID),
    "status null": (result(status=None), INVALID),
    "status in upper case": (result(status="SUCCEEDED"), INVALID),
    "no length": (b'{"status": "failed", "log_sha256": "' + b"0" * 64 + b'"}', INVALID),
    "length negative": (result(log_length=-1), INVALID),
    "length text": (result(log_length="0"), INVALID),
    "length true": (result(log_length=True), INVALID),
    "length a fraction": (result(log_length=0.5), INVALID),
    "length 10^30": (result(log_length=10**30), INVALID),
    "digest short": (result(log_sha256="0"), INVALID),
    "digest in upper case": (result(log_sha256=_EMPTY.upper()), INVALID),
    "digest and a newline": (result(log_sha256=_EMPTY + "\n"), INVALID),
    "reason unknown": (result(reason="because"), INVALID),
    "message endless": (result(message="x" * 2001), INVALID),
    "message a list": (result(message=["x"]), INVALID),
    "steps an object": (result(steps={}), INVALID),
    "steps of strings": (result(steps=["a"]), INVALID),
    "steps too many": (result(steps=[{"name": f"{n}"} for n in range(101)]), INVALID),
    "a step's exit code too large": (
        result(steps=[{"name": "a", "exit_code": 2**31}]),
        INVALID,
    ),
    "a step's exit code text": (result(steps=[{"name": "a", "exit_code": "0"}]), INVALID),
    "a step's time without a zone": (
        result(steps=[{"name": "a", "started_at": "2026-01-01T00:00:00"}]),
        INVALID,
    ),
    "a step's time before time": (
        result(steps=[{"name": "a", "started_at": "0001-01-01T00:00:00+14:00"}]),
        INVALID,
    ),
    "a step's time infinite": (
        b'{"status": "running", "steps": [{"name": "a", "started_at": 1e300}]}',
        INVALID,
    ),
    "commit a word": (running(commit="main"), INVALID),
    "commit an option": (running(commit="--all"), INVALID),
    "a tail that is no base64": (result(log_tail="*"), INVALID),
    "a tail null": (result(log_tail=None), INVALID),
    "a tail endless": (result(log_tail="QUJD" * 21_846), INVALID),
    "a tail longer than the log": (result(log_tail="QUJD"), (412, "log-incomplete")),
    "a tail with a gap before it": (
        result(log_length=5, log_tail="QUJD"),
        (412, "log-incomplete"),
    ),
    "a tail of another digest": (result(log_length=3, log_tail="QUJD"), (412, "log-incomplete")),
    "a log that is not there": (result(log_length=5), (412, "log-incomplete")),
    "a log of other content": (result(log_sha256="0" * 64), (412, "log-incomplete")),
}

_RANGES: Final[dict[str, tuple[str | None, bytes]]] = {
    "none": (None, b"stuff"),
    "empty": ("", b"stuff"),
    "rubbish": ("rubbish", b"stuff"),
    "another unit": ("lines 0-4/*", b"stuff"),
    "in upper case": ("BYTES 0-4/*", b"stuff"),
    "with an equals sign": ("bytes=0-4/*", b"stuff"),
    "without its total": ("bytes 0-4", b"stuff"),
    "with a total": ("bytes 0-4/5", b"stuff"),
    "unsatisfied": ("bytes */5", b"stuff"),
    "backwards": ("bytes 4-0/*", b"stuff"),
    "negative": ("bytes -5-0/*", b"stuff"),
    "with a plus": ("bytes +0-4/*", b"stuff"),
    "too short": ("bytes 0-3/*", b"stuff"),
    "too long": ("bytes 0-5/*", b"stuff"),
    "for nothing": ("bytes 0-0/*", b""),
    "in other digits": ("bytes \u0660-\u0664/*", b"stuff"),
    "of 30 digits": ("bytes 0-" + "9" * 30 + "/*", b"stuff"),
    "two": ("bytes 0-1/*, 2-4/*", b"stuff"),
    "and a space": ("bytes  0-4/*", b"stuff"),
    "hexadecimal": ("bytes 0x0-0x4/*", b"stuff"),
}

_LEASES: Final[dict[str, str | bytes]] = {
    "another": "x" * 22,
    "an endless": "x" * 9000,
    "a longer": "{lease}x",
    "a quoted": '"{lease}"',
    "a Latin": b"\xe9",
}

WORKERS: Final = (
    {
        f"claim: {name}": Bad(
            method="POST", path=f"{BUILD}/claim", headers=JSON, body=body, token="build",
            expected=expected,
        )
        for name, (body, expected) in _CLAIMS.items()
    }
    | {
        f"report by {method}: {name}": Bad(
            method=method, path=BUILD, headers=(*JSON, *LEASE), body=body, token="build",
            expected=expected,
        )
        for method in ("PUT", "POST")
        for name, (body, expected) in _REPORTS.items()
    }
    | {
        f"Content-Range {name}": Bad(
            method="PATCH",
            path=f"{BUILD}/log",
            headers=(*LEASE, *(() if text is None else (("Content-Range", text.encode()),))),
            body=body,
            token="build",
            says="Content-Range",
        )
        for name, (text, body) in _RANGES.items()
    }
    | {
        f"{method} {call or 'report'} without a lease": Bad(
            method=method, path=BUILD + call, headers=JSON, body=running(), token="build",
            says="Baton-Lease",
        )
        for method, call in (("POST", "/heartbeat"), ("PUT", ""), ("POST", ""), ("PATCH", "/log"))
    }
    | {
        f"{method} {call or 'report'} with {name} lease": Bad(
            method=method, path=BUILD + call, headers=(*JSON, ("Baton-Lease", lease)),
            body=running(), token="build", expected=(409, "lease-lost"),
        )
        for method, call in (("POST", "/heartbeat"), ("PUT", ""))
        for name, lease in _LEASES.items()
    }
    | {
        "a gap in the log": Bad(
            method="PATCH", path=f"{BUILD}/log",
            headers=(*LEASE, ("Content-Range", "bytes 100-104/*")), body=b"stuff", token="build",
            expected=(416, "log-gap"),
        ),
        "a gap of petabytes": Bad(
            method="PATCH", path=f"{BUILD}/log",
            headers=(*LEASE, ("Content-Range", "bytes 999999999999990-999999999999994/*")),
            body=b"stuff", token="build", expected=(416, "log-gap"),
        ),
        "a report as a form": Bad(
            method="PUT", path=BUILD, headers=LEASE, body=b"status=succeeded", token="build",
            expected=NO_MEDIA,
        ),
        "a claim as a form": Bad(
            method="POST", path=f"{BUILD}/claim", body=b"nonce=x", token="build",
            expected=NO_MEDIA,
        ),
    }
)  # fmt: skip
