"""`render` makes the HTML of `/docs` from the OpenAPI document: calls by token, then schemas."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from app.api.docs.example import curl
from app.api.docs.schema import anchor, kind, notes
from app.api.operation import BUILD_TOKEN
from app.contract.problems import MEDIA_TYPE

#: Groups of operations, by the kind of token that they take; None: no token.
_GROUPS: Final[Mapping[str | None, str]] = {
    "user": "Builds",
    BUILD_TOKEN: "Workers",
    None: "Service",
}
_WORDS: Final[Mapping[str | None, str]] = {
    "user": "For users and their applications: an access token of the identity provider for this "
    "API, with the scope that each call names.",
    BUILD_TOKEN: "For workers: the build token that came with the message. It opens these calls of "
    "its own build, and nothing else.",
    None: "For everyone: no token.",
}

#: The most calls that are listed beside a problem.
_MAX_NAMED_CALLS: Final = 6

_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Baton API</title>
<link rel="icon" href="docs/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="docs/docs.css">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top"><span class="brand">Baton API</span> <a href="./">Dashboard</a>
<a href="openapi.json">openapi.json</a></header>
<div class="sides">
"""

Call = tuple[str, str, Mapping[str, Any]]  #: method, path, operation


def render(document: Mapping[str, Any]) -> str:
    """Return the whole page; every text of the document is escaped."""
    groups = {group: list(_calls(document, group)) for group in _GROUPS}
    schemas = document["components"]["schemas"]
    parts = [_HEAD, _contents(groups, schemas), '<main id="main" tabindex="-1">']
    parts += _introduction(document)
    server = document["servers"][0]["url"]
    for group, calls in groups.items():
        title = _GROUPS[group]
        parts.append(f'<section aria-labelledby="{title}"><h2 id="{title}">{title}</h2>')
        parts.append(f"<p>{escape(_WORDS[group])}</p>")
        parts += [_operation(server, call, document) for call in calls]
        parts.append("</section>")
    parts += _problems(document)
    parts.append('<section aria-labelledby="Schemas"><h2 id="Schemas">Schemas</h2>')
    parts += [_schema(name, schema) for name, schema in sorted(schemas.items())]
    parts.append("</section></main></div></body></html>\n")
    return "\n".join(parts)


def _calls(document: Mapping[str, Any], group: str | None) -> Iterator[Call]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if _token(operation)[0] == group:
                yield method.upper(), path, operation


def _token(operation: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Return the kind of token that a call takes, and the scopes that the token must have."""
    for needed in operation.get("security", ()):
        for name, scopes in needed.items():
            return name, scopes
    return None, []


def _contents(groups: Mapping[str | None, list[Call]], schemas: Mapping[str, Any]) -> str:
    lists = [
        (
            _GROUPS[group],
            [(call["operationId"], call["summary"]) for _, _, call in calls],
        )
        for group, calls in groups.items()
    ]
    lists.append(("Errors", [("Problems", "Problems")]))
    lists.append(("Schemas", [(anchor(name), name) for name in sorted(schemas)]))
    return "".join(
        [
            '<nav class="contents" aria-label="Contents" tabindex="0">',
            *(
                f"<h2>{title}</h2><ul>"
                + "".join(f'<li><a href="#{to}">{escape(words)}</a></li>' for to, words in links)
                + "</ul>"
                for title, links in lists
            ),
            "</nav>",
        ]
    )


def _introduction(document: Mapping[str, Any]) -> list[str]:
    info = document["info"]
    schemes = document["components"]["securitySchemes"]
    base = escape(document["servers"][0]["url"])
    discovery = escape(schemes["user"]["openIdConnectUrl"])
    lead = f"{escape(info['summary'])}. All calls are below <code>{base}</code>, and speak JSON."
    return [
        f"<h1>{escape(info['title'])} API</h1>",
        f'<p class="lead">{lead}</p>',
        "<p>A token goes into the header <code>Authorization: Bearer …</code>.",
        "How a user gets one is said by the identity provider's discovery document:",
        f"<code>{discovery}</code>.</p>",
    ]


def _operation(server: str, call: Call, document: Mapping[str, Any]) -> str:
    method, path, operation = call
    name = operation["operationId"]
    parts = [
        f'<article id="{name}" aria-labelledby="{name}-title">',
        f'<h3 id="{name}-title">{escape(operation["summary"])}</h3>',
        f'<div class="call"><span class="method">{method}</span> <code>{escape(path)}</code></div>',
        f'<span class="token">{_token_words(operation)}</span>',
    ]
    if operation.get("parameters"):
        parts.append("<h4>Parameters</h4><dl>")
        parts += [
            _row(
                each["name"],
                f"{each['in']}, {kind(each['schema'])}",
                _described(each.get("description", ""), each["schema"]),
                required=each["required"],
            )
            for each in operation["parameters"]
        ]
        parts.append("</dl>")
    if "requestBody" in operation:
        parts.append(f"<h4>Body</h4><p>{_contents_of(operation['requestBody'])}</p>")
    parts.append("<h4>Answers</h4><dl>")
    parts += [_answer(status, answer) for status, answer in operation["responses"].items()]
    parts.append("</dl><h4>On a terminal</h4>")
    parts.append(
        f"<pre><code>{escape(curl(server, method, path, operation, document))}</code></pre>"
    )
    parts.append("</article>")
    return "\n".join(parts)


def _token_words(operation: Mapping[str, Any]) -> str:
    group, scopes = _token(operation)
    if group is None:
        return "No token"
    if group == BUILD_TOKEN:
        return "The build's own token"
    return "A user's token with the scope " + " ".join(f"<code>{escape(s)}</code>" for s in scopes)


def _contents_of(body: Mapping[str, Any]) -> str:
    return ", ".join(
        f"<code>{escape(media)}</code>"
        + (f": {kind(content['schema'], links=True)}" if "schema" in content else "")
        for media, content in body.get("content", {}).items()
    )


def _answer(status: str, answer: Mapping[str, Any]) -> str:
    words = escape(answer["description"])
    if MEDIA_TYPE in answer.get("content", {}):
        codes = answer["description"].split(", ")
        words = ", ".join(f'<a href="#problem-{code}">{code}</a>' for code in map(escape, codes))
    elif answer.get("content"):
        words += f"<br>{_contents_of(answer)}"
    headers = answer.get("headers", {})
    if headers:
        words += "<br>Headers: " + ", ".join(f"<code>{escape(name)}</code>" for name in headers)
    return _row(status, "", words)


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section on problems: each code with its status, and the calls that return it."""
    found: dict[tuple[str, str], list[str]] = {}
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if MEDIA_TYPE in answer.get("content", {}):
                    for code in answer["description"].split(", "):
                        found.setdefault((status, code), []).append(operation["operationId"])
    yield '<section aria-labelledby="Problems"><h2 id="Problems">Problems</h2>'
    yield (
        f"<p>Every error is a problem of <code>{MEDIA_TYPE}</code> (RFC 9457): "
        f"{kind({'$ref': '/Problem'}, links=True)}, whose <code>type</code> is "
        "<code>urn:baton:problem:</code> and one of these words.</p><article><dl>"
    )
    for (status, code), calls in sorted(found.items()):
        links = ", ".join(f'<a href="#{name}">{escape(name)}</a>' for name in calls)
        where = links if len(calls) <= _MAX_NAMED_CALLS else "most calls"
        yield (
            f'<div id="problem-{escape(code)}"><dt><code>{escape(code)}</code></dt>'
            f"<dd>{status}, by {where}</dd></div>"
        )
    yield "</dl></article></section>"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    title = f"{anchor(name)}-title"
    parts = [
        f'<article id="{anchor(name)}" aria-labelledby="{title}">',
        f'<h3 id="{title}">{escape(name)}</h3>',
    ]
    if schema.get("description"):
        parts.append(f"<p>{escape(schema['description'])}</p>")
    properties = schema.get("properties", {})
    if properties:
        required = schema.get("required", ())
        parts.append("<dl>")
        parts += [
            _row(
                each,
                kind(member, links=True),
                _described(member.get("description", ""), member),
                required=each in required,
            )
            for each, member in properties.items()
        ]
        parts.append("</dl>")
    else:
        parts.append(f"<p>{kind(schema, links=True)}{notes(schema)}</p>")
    parts.append("</article>")
    return "\n".join(parts)


def _described(words: str, schema: Mapping[str, Any]) -> str:
    return "<br>".join(filter(None, (escape(words), notes(schema))))


def _row(name: str, what: str, words: str, *, required: bool = False) -> str:
    """Return a row of a definition list; `what` and `words` are HTML already."""
    must = ' <span class="must">required</span>' if required else ""
    kind_of = f'<span class="kind">{what}</span>' if what else ""
    return f"<div><dt><code>{escape(name)}</code>{must}{kind_of}</dt><dd>{words}</dd></div>"
