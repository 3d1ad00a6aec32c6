"""What JSON Schema cannot say of a request, for schemathesis, which loads this file by its path."""

import uuid
from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(_: Any, case: Any) -> bool:
    """Leave out specs that are wrong in a way that no schema expresses."""
    body = case.body
    if case.operation.path != "/builds" or not isinstance(body, dict):
        return True
    steps = body.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return True
    names = [repr(step.get("name")) for step in steps]
    timeouts = [step["timeout"] for step in steps if isinstance(step.get("timeout"), int | float)]
    most = body.get("timeout")
    fits = max(timeouts, default=0) <= (most if isinstance(most, int | float) else 3600)
    return len(set(names)) == len(names) and fits


@schemathesis.hook
def before_call(_: Any, case: Any, **__: Any) -> None:
    """Every good Idempotency-Key is a new one: an old one with another body is refused."""
    key = (case.headers or {}).get("Idempotency-Key")
    if key and len(key) < 200:
        case.headers["Idempotency-Key"] = key + uuid.uuid4().hex
