"""What is not one JSON object in UTF-8: RFC 7519 §4 and §7.2, RFC 8259, RFC 8725 §3.7."""

import json
import zlib
from typing import Final

from tests.support.providers.authority import AUDIENCE
from tests.support.providers.forged import Forge, bytes_of, headed, signed, written

EVIL: Final = "https://evil.example.com"

JSON_TEXTS: Final[dict[str, Forge]] = {
    "claims a list": bytes_of(lambda json_text: b"[" + json_text + b"]"),
    "claims a string": bytes_of(lambda json_text: json.dumps(json_text.decode()).encode()),
    "claims a number": bytes_of(lambda _: b"1"),
    "claims null": bytes_of(lambda _: b"null"),
    "claims of nothing": bytes_of(lambda _: b"{}"),
    "claims empty": bytes_of(lambda _: b" "),
    "claims in single quotes": bytes_of(lambda json_text: json_text.replace(b'"', b"'")),
    "claims with a comma too many": bytes_of(lambda json_text: json_text[:-1] + b",}"),
    "claims with a comment": bytes_of(lambda json_text: json_text + b" // mine"),
    "claims twice over": bytes_of(lambda json_text: json_text * 2),
    "claims and a NUL": bytes_of(lambda json_text: json_text + b"\0"),
    "claims cut off": bytes_of(lambda json_text: json_text[:-1]),
    "claims with a BOM": bytes_of(lambda json_text: b"\xef\xbb\xbf" + json_text),
    "claims in UTF-16": bytes_of(lambda json_text: json_text.decode().encode("utf-16")),
    "claims in UTF-16, no BOM": bytes_of(lambda json_text: json_text.decode().encode("utf-16-le")),
    "claims in UTF-16, big end": bytes_of(lambda json_text: json_text.decode().encode("utf-16-be")),
    "claims in UTF-32": bytes_of(lambda json_text: json_text.decode().encode("utf-32")),
    "claims in UTF-7": bytes_of(lambda json_text: json_text.replace(b'"', b"+ACI-")),
    "claims in Latin-1": bytes_of(lambda json_text: json_text[:-1] + b', "a": "\xe9"}'),
    "claims in overlong UTF-8": bytes_of(lambda json_text: json_text[:-1] + b', "a": "\xc0\xaf"}'),
    "claims in CESU-8": bytes_of(
        lambda json_text: json_text[:-1] + b', "a": "\xed\xa0\x80\xed\xb0\x80"}'
    ),
    "claims deflated": lambda a, c: signed(a, zlib.compress(json.dumps(c).encode()), zip="DEF"),
    "claims a token": lambda a, c: signed(a, a.sign(c).encode(), cty="JWT"),
    "half a surrogate": written('"a": "\\ud800"'),
    "half a surrogate, the other": written('"a": "\\uDFFF"'),
    "a raw newline in a string": written('"a": "\n"'),
    "sub twice": written('"sub": "auth0|bob"'),
    "sub twice, spelled otherwise": written('"s\\u0075b": "auth0|bob"'),
    "sub twice, the same": lambda a, c: written(f'"sub": {json.dumps(c["sub"])}')(a, c),
    "iss twice": written(f'"iss": "{EVIL}/"'),
    "aud twice": written(f'"aud": "{AUDIENCE}"'),
    "exp twice": written('"exp": 9999999999'),
    "scope twice": written('"scope": "update:builds"'),
    "a name twice, deep down": written('"a": [{"b": {"c": 1, "c": 2}}]'),
    "NaN": written('"a": NaN'),
    "Infinity": written('"exp": Infinity', without="exp"),
    "minus Infinity": written('"nbf": -Infinity'),
    "a number that overflows": written('"a": 1e400'),
    "exp overflows": written('"exp": 1e999', without="exp"),
    "a number of 5000 digits": written('"a": ' + "1" * 5000),
    "a number with a zero in front": written('"a": 01'),
    "a number in hexadecimal": written('"a": 0x10'),
    "a number with a plus": written('"a": +1'),
    "nested 20 deep": written('"a": ' + "[" * 20 + "]" * 20),
    "nested 2500 deep": written('"a": ' + "[" * 2500 + "]" * 2500),
    "objects nested 500 deep": written('"a": ' + '{"b":' * 500 + "1" + "}" * 500),
    "header a list": headed('["alg", "RS256"]'),
    "header a string": headed('"RS256"'),
    "header of nothing": headed("{}"),
    "header no JSON": headed("alg=RS256"),
    "header with a BOM": headed(b'\xef\xbb\xbf{"alg": "RS256", "kid": "KID"}'),
    "header in UTF-16": headed('{"alg": "RS256"}'.encode("utf-16")),
    "header with alg twice": headed('{"alg": "none", "alg": "RS256", "kid": "KID"}'),
    "header with alg twice, the other way": headed('{"alg": "RS256", "alg": "none", "kid": "KID"}'),
    "header with kid twice": headed('{"alg": "RS256", "kid": "other", "kid": "KID"}'),
    "header with typ twice": headed('{"alg": "RS256", "kid": "KID", "typ": "JWT", "typ": "JWT"}'),
    "header nested deep": headed('{"alg": "RS256", "a": ' + "[" * 200 + "]" * 200 + "}"),
}
