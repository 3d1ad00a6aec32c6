"""The page at `/docs`, made from documents that `/openapi.json` could have."""

from typing import Any

import pytest

from app.api.docs import openapi
from app.api.docs.example import example
from app.api.docs.page import render
from app.api.docs.schema import kind, notes
from app.api.routes import OPERATIONS
from app.contract.spec import BuildSpec


def document() -> dict[str, Any]:
    return openapi.document(
        OPERATIONS,
        api_url="https://builds.example.com",
        openid_configuration="https://you.example.com/.well-known/openid-configuration",
    )


def test_no_text_of_the_document_becomes_markup() -> None:
    described = document()
    bad = '<script>alert(1)</script> & "quoted"'
    described["info"]["summary"] = bad
    described["paths"]["/builds"]["post"]["summary"] = bad
    described["paths"]["/builds"]["get"]["parameters"][0]["description"] = bad
    described["components"]["schemas"]["Step"]["description"] = bad
    described["components"]["schemas"]["Step"]["properties"]["name"]["description"] = bad
    text = render(described)
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted&quot;") >= 5


def test_the_example_of_a_body_is_one_that_is_taken() -> None:
    found = example({"$ref": "#/components/schemas/BuildSpec"}, document())
    assert BuildSpec.model_validate(found).steps[0].run == "make test"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "format": "date-time"}, "string (date-time)"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"type": "array", "items": {"$ref": "#/x/Step"}}, "array of Step"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "object of string"),
        ({}, "any"),
    ],
)
def test_a_type_is_said_in_few_words(schema: dict[str, Any], words: str) -> None:
    assert kind(schema) == words


def test_bounds_are_said_wherever_they_stand() -> None:
    schema = {"anyOf": [{"type": "integer", "maximum": 9}, {"type": "null"}], "default": 3}
    assert notes(schema) == "at most 9; default <code>3</code>"
    assert notes({"type": "string"}) == ""
