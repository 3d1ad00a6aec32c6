"""A strict parser for JSON from outside, which has one meaning and is bounded in depth."""

import json
import math
from typing import Any, Final, NoReturn

#: Levels of nesting; real tokens and key sets have at most four.
MAX_DEPTH: Final = 16


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object as `parse` does. Raises `ValueError` for any other value too."""
    value = parse(raw)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  the caller handed in bytes, rightly
    return value


def parse(raw: bytes) -> Any:  # noqa: ANN401  any JSON
    """Parse a JSON value. Raises `ValueError` for what two parsers could read differently.

    UTF-8 without a BOM only (RFC 8259 §8.1, RFC 8725 §3.7). Member names differ at every depth (RFC
    7515 §4, RFC 7519 §4), as parsers disagree on which duplicate wins. Numbers are finite. Strings
    are Unicode text, not halves of surrogate pairs.
    """
    text = raw.decode("utf-8")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    # The count of brackets bounds the depth, so that ordinary input need not be traversed.
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
    """Return the levels of nesting; the loop goes level by level, so that it cannot exhaust the
    stack."""
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


#: Made once, since every request needs it.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_constant=_refuse_constant, parse_float=_finite
)
