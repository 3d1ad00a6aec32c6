"""The OpenAPI 3.1 document is made from the operations, and from the models that validate them."""

import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.api.operation import BUILD_TOKEN, Operation
from app.api.problems import status_of
from app.contract.problems import MEDIA_TYPE, Code, Problem
from app.contract.status import Status

_REF: Final = "#/components/schemas/{model}"

#: The version of the API, not of the software, which the document does not disclose.
_API_VERSION: Final = "1"

#: The schemas of parameters, by name; other parameters are text.
_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "build_id": {"type": "string", "pattern": "^bld_[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
    "status": {"type": "string", "enum": list(Status)},
    "label": {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": 321},
        "maxItems": 8,
    },
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    "cursor": {"type": "string", "pattern": "^bld_[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
    "log": {"type": "string", "enum": ["0", "1", "false", "true"], "default": "1"},
    "Last-Event-ID": {"type": "string", "pattern": "^[0-9]{1,16}(-[0-9]{1,15})?$"},
    "follow": {"type": "string", "enum": ["0", "1", "false", "true"], "default": "0"},
    "Idempotency-Key": {
        "type": "string",
        "pattern": r"^[\x21\x23-\x5b\x5d-\x7e]{1,255}$",
    },
    "Baton-Lease": {"type": "string", "minLength": 1},
    "Prefer": {"type": "string", "pattern": "^wait=[0-9]{1,9}$"},
    "Content-Range": {"type": "string", "pattern": r"^bytes [0-9]{1,15}-[0-9]{1,15}/\*$"},
}

#: Headers that every response of a status has.
_HEADERS: Final[dict[int, dict[str, str]]] = {
    401: {"WWW-Authenticate": "what kind of token to send, and where to get one (RFC 6750 §3)"},
    403: {"WWW-Authenticate": "what the token lacks (RFC 6750 §3)"},
    405: {"Allow": "the methods of this path"},
    429: {
        "Retry-After": "seconds to wait",
        "RateLimit-Policy": "the quota that is used up (draft-ietf-httpapi-ratelimit-headers)",
        "RateLimit": "what is left of it, and for how many seconds",
    },
    503: {"Retry-After": "seconds to wait"},
}

#: Problems of every call with a token, those of a build token, and those of a JSON body.
_TOKEN: Final = (
    Code.BAD_REQUEST, Code.INVALID_REQUEST, Code.MISSING_TOKEN, Code.INVALID_TOKEN,
    Code.INSUFFICIENT_SCOPE, Code.WRONG_TOKEN_KIND, Code.TOO_MANY, Code.INTERNAL, Code.UNAVAILABLE,
)  # fmt: skip
_BUILD_TOKEN: Final = (Code.SUPERSEDED_TOKEN, Code.WRONG_BUILD)
_JSON: Final = (Code.TOO_SLOW, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.INVALID_BODY)


def document(
    operations: Sequence[Operation], *, api_url: str, openid_configuration: str
) -> dict[str, Any]:
    """Return the document of an API at `api_url`; `openid_configuration` is its issuer's URL."""
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Problem, "serialization")]
    for operation in operations:
        if operation.request_model:
            modes.append((operation.request_model, "validation"))
        if isinstance(operation.response_model, type):
            modes.append((operation.response_model, "serialization"))
    names, definitions = models_json_schema(list(dict.fromkeys(modes)), ref_template=_REF)
    described: dict[str, Any] = {}
    for operation in operations:
        described.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, names
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Baton",
            "version": _API_VERSION,
            "summary": "An asynchronous build service",
        },
        "servers": [{"url": api_url}],
        "paths": described,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "user": {"type": "openIdConnect", "openIdConnectUrl": openid_configuration},
                BUILD_TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The build token that came with the message; one build's only.",
                },
            },
        },
    }


def _operation(operation: Operation, names: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", f"{operation.method.lower()}{operation.path}").strip(
            "_"
        ),
        "responses": {
            str(status): _success(operation, text, names)
            for status, text in {
                operation.status: operation.summary,
                **operation.extra_responses,
            }.items()
        },
    }
    parameters = [
        _parameter("path", name, "the build's id")
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    parameters += [_parameter("query", name, text) for name, text in operation.query.items()]
    parameters += [
        _parameter("header", name, text) for name, text in operation.optional_headers.items()
    ]
    parameters += [
        _parameter("header", name, text) | {"required": True}
        for name, text in operation.required_headers.items()
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.request_model:
        schema = names[operation.request_model, "validation"]
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    elif operation.method == "PATCH":
        described["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    codes = list(operation.problems)
    if operation.token:
        scopes = [] if operation.token == BUILD_TOKEN else [operation.token]
        scheme = BUILD_TOKEN if operation.token == BUILD_TOKEN else "user"
        described["security"] = [{scheme: scopes}]
        codes += _TOKEN
        if operation.token == BUILD_TOKEN:
            codes += _BUILD_TOKEN
        if "{build_id}" in operation.path:
            codes.append(Code.NOT_FOUND)
    elif not operation.probe:
        codes.append(Code.TOO_MANY)
    if operation.request_model:
        codes += _JSON
    for status in sorted({status_of(code) for code in codes}):
        words = ", ".join(dict.fromkeys(code for code in codes if status_of(code) == status))
        described["responses"][str(status)] = {
            "description": words,
            "content": {MEDIA_TYPE: {"schema": names[Problem, "serialization"]}},
        } | _headers(status)
    return described


def _success(operation: Operation, text: str, names: dict[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": text}
    if isinstance(operation.response_model, str):
        kind = "object" if operation.response_model == "application/json" else "string"
        answer["content"] = {operation.response_model: {"schema": {"type": kind}}}
    elif operation.response_model:
        schema = names[operation.response_model, "serialization"]
        answer["content"] = {"application/json": {"schema": schema}}
    if operation.response_headers:
        answer["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in operation.response_headers.items()
        }
    return answer


def _headers(status: int) -> dict[str, Any]:
    headers = {
        name: {"description": text, "required": True, "schema": {"type": "string"}}
        for name, text in _HEADERS.get(status, {}).items()
    }
    return {"headers": headers} if headers else {}


def _parameter(place: str, name: str, text: str) -> dict[str, Any]:
    return {
        "in": place,
        "name": name,
        "description": text,
        "required": place == "path",
        "schema": _PARAMETERS.get(name, {"type": "string"}),
    }
