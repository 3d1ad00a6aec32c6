"""These functions describe a JSON Schema in few words, as HTML."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

#: Keywords that bound a value, and their words; `{}` is the bound.
_BOUNDS: Final[Mapping[str, str]] = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} members",
}

#: Characters of the longest pattern that is shown; openapi.json has all of them.
_MAX_PATTERN: Final = 60


def anchor(name: str) -> str:
    return f"schema-{name}"


def kind(schema: Mapping[str, Any], *, links: bool = False) -> str:
    """Return the type of a value: `string`, `array of Step`, `integer or null`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{anchor(name)}">{escape(name)}</a>' if links else escape(name)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            found = [kind(each, links=links) for each in schema[word]]
            return " or ".join(dict.fromkeys(found))
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    of = schema.get("type", "any")
    if of == "array" and "items" in schema:
        return f"array of {kind(schema['items'], links=links)}"
    if of == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {kind(schema['additionalProperties'], links=links)}"
    return escape(f"{of} ({schema['format']})" if "format" in schema else str(of))


def notes(schema: Mapping[str, Any]) -> str:
    """Return the bounds of a value and its default; empty when there are none."""
    found = []
    if "enum" in schema:
        found.append(
            "one of " + ", ".join(f"<code>{escape(str(e))}</code>" for e in schema["enum"])
        )
    for each in (schema, *schema.get("anyOf", ())):
        found += [
            escape(words.format(each[keyword]))
            for keyword, words in _BOUNDS.items()
            if keyword in each
        ]
        pattern = each.get("pattern")
        if pattern and len(pattern) <= _MAX_PATTERN:
            found.append(f"matches <code>{escape(pattern)}</code>")
    if schema.get("default") not in (None, "", [], {}):
        found.append(f"default <code>{escape(str(schema['default']))}</code>")
    return "; ".join(dict.fromkeys(found))
