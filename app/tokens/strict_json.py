"""JSON from strangers: one spelling, one meaning, bounded."""

import json
import math
from typing import Any, Final, NoReturn

#: Levels of nesting; real tokens and key sets have at most four.
MAX_DEPTH: Final = 16


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that `raw` is; raises `ValueError` for anything else: see `parse`."""
    value = parse(raw)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  the caller handed in bytes, rightly
    return value


def parse(raw: bytes) -> Any:  # noqa: ANN401  any JSON
    """Return the JSON value that `raw` is; raises `ValueError` for what readers disagree on.

    UTF-8 without a BOM only (RFC 8259 §8.1, RFC 8725 §3.7); member names differ at every depth
    (RFC 7515 §4, RFC 7519 §4: the last one winning is how two readers come to disagree); numbers
    are finite; strings are Unicode text, not halves of surrogate pairs.
    """
    text = raw.decode("utf-8")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    # The count of brackets bounds the depth, so that ordinary input is not walked.
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate cannot be encoded
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name occurs twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number out of range")
    return number


def _depth(value: object) -> int:
    """Levels of nesting; level by level, so that it cannot exhaust the stack."""
    depth, level = 0, [value]
    while level:
        containers = [item for item in level if isinstance(item, dict | list)]
        depth += bool(containers)
        level = [
            child
            for item in containers
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


#: Made once: it is on the path of every call.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_constant=_refuse_constant, parse_float=_finite
)
