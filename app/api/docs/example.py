"""`curl` writes an operation of the OpenAPI document as a command."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

#: The variable in place of an id that only the caller knows.
_BUILD_ID: Final = "$BUILD_ID"
#: The values of headers that only the caller knows.
_HEADERS: Final[Mapping[str, str]] = {
    "Baton-Lease": "$LEASE_ID",
    "Content-Range": "bytes 0-5/*",
}

_LEAST: Final[Mapping[str, Any]] = {"integer": 1, "number": 1, "boolean": False, "null": None}


def curl(
    server: str,
    method: str,
    path: str,
    operation: Mapping[str, Any],
    document: Mapping[str, Any],
) -> str:
    """Return one command with all that the call requires, and nothing optional."""
    url = server.rstrip("/") + path.replace("{build_id}", _BUILD_ID)
    options = [f"curl {url}" if method == "GET" else f"curl -X {method} {url}"]
    options += _headers(operation)
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        body = example(content["application/json"]["schema"], document)
        options.append("-H 'Content-Type: application/json'")
        options.append(f"-d '{json.dumps(body)}'")
    elif content:
        options.append("--data-binary $'hello\\n'")
    return " \\\n  ".join(options)


def _headers(operation: Mapping[str, Any]) -> Iterator[str]:
    for needed in operation.get("security", ()):
        variable = "BATON_TOKEN" if "user" in needed else "BUILD_TOKEN"
        yield f'-H "Authorization: Bearer ${variable}"'
    for each in operation.get("parameters", ()):
        if each["in"] == "header" and each["required"]:
            yield f'-H "{each["name"]}: {_HEADERS.get(each["name"], "…")}"'


def example(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:  # noqa: ANN401  JSON
    """Return a value of a schema: its own example if there is one, else the least valid value."""
    schema = _plain(schema, document)
    given = [
        *schema.get("examples", ()),
        *(schema[word] for word in ("const", "default") if word in schema),
        *schema.get("enum", ()),
    ]
    if given:
        return given[0]
    kind = schema.get("type", "string")
    if kind == "object":
        needed = schema.get("required", ())
        return {name: example(schema["properties"][name], document) for name in needed}
    if kind == "array":
        return [example(schema["items"], document)] if schema.get("minItems") else []
    return _LEAST.get(kind, "…")


def _plain(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Resolve a reference, and choose the first of several alternatives."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _plain(document["components"]["schemas"][name], document)
    choices = schema.get("anyOf") or schema.get("oneOf")
    return _plain(choices[0], document) if choices else schema
