"""What is no signed JWT to the letter: RFC 7515 §7.1, RFC 8725bis §3.3 and §3.14."""

import json
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.support.providers.authority import Authority, b64
from tests.support.providers.forged import Claims, Forge, claiming, last_bits_changed, spelled


def a_jwe(authority: Authority, claims: Claims) -> str:
    """Five parts, as an encrypted token has them (RFC 7516 §3.1), a signed one inside."""
    head = json.dumps({"alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT", "kid": authority.kid})
    inside = authority.sign(claims).encode()
    key = authority.key.public_key().encrypt(
        b"k" * 32, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    )
    return ".".join(b64(part) for part in (head.encode(), key, b"i" * 12, inside, b"t" * 16))


def json_serialized(*, general: bool) -> Forge:
    def forge(authority: Authority, claims: Claims) -> str:
        header, payload, made = authority.sign(claims).split(".")
        signature = {"protected": header, "signature": made}
        whole = {"payload": payload} | ({"signatures": [signature]} if general else signature)
        return json.dumps(whole, separators=(",", ":"))

    return forge


SPELLINGS: Final[dict[str, Forge]] = {
    "rubbish": lambda _, __: "rubbish",
    "three parts of rubbish": lambda _, __: "a.b.c",
    "dots alone": lambda _, __: "..",
    "a dot in front": spelled(lambda h, p, s: f".{h}.{p}.{s}"),
    "a dot behind": spelled(lambda h, p, s: f"{h}.{p}.{s}."),
    "no header": spelled(lambda _, p, s: f".{p}.{s}"),
    "no payload": spelled(lambda h, _, s: f"{h}..{s}"),
    "no signature": spelled(lambda h, p, _: f"{h}.{p}."),
    "header alone": spelled(lambda h, _, __: h),
    "two parts": spelled(lambda h, p, _: f"{h}.{p}"),
    "four parts": spelled(lambda h, p, s: f"{h}.{p}.{s}.{s}"),
    "five parts": spelled(lambda h, p, s: f"{h}.{p}.{s}.{s}.{s}"),
    "encrypted": a_jwe,
    "JSON serialization, flattened": json_serialized(general=False),
    "JSON serialization, general": json_serialized(general=True),
    "padded signature": spelled(lambda h, p, s: f"{h}.{p}.{s}=="),
    "padded signature, once": spelled(lambda h, p, s: f"{h}.{p}.{s}="),
    "padded payload": spelled(lambda h, p, s: f"{h}.{p + '=' * (-len(p) % 4 or 4)}.{s}"),
    "padded header": spelled(lambda h, p, s: f"{h + '=' * (-len(h) % 4 or 4)}.{p}.{s}"),
    "base64, not base64url": spelled(lambda h, p, s: f"{h}.{p}.+/{s[2:]}"),
    "base64 of MIME": spelled(lambda h, p, s: f"{h}.{p}.{s[:76]}\t{s[76:]}"),
    "bits left over": spelled(lambda h, p, s: f"{h}.{p}.{last_bits_changed(s)}"),
    "one letter of a byte": spelled(lambda _, p, s: f"A.{p}.{s}"),
    "one letter less": spelled(lambda h, p, s: f"{h}.{p}.{s[:-1]}"),
    "one letter more": spelled(lambda h, p, s: f"{h}.{p}.{s}A"),
    "a letter from elsewhere": spelled(lambda h, p, s: f"{h}.{p}.é{s[1:]}"),
    "a dash from elsewhere": spelled(lambda h, p, s: f"{h}.{p}.\xad{s[1:]}"),
    "dots escaped": spelled(lambda h, p, s: f"{h}%2E{p}%2E{s}"),
    "in quotes": spelled(lambda h, p, s: f'"{h}.{p}.{s}"'),
    "in angle brackets": spelled(lambda h, p, s: f"<{h}.{p}.{s}>"),
    "twice over": spelled(lambda h, p, s: f"{h}.{p}.{s}{h}.{p}.{s}"),
    "twice, with a comma": spelled(lambda h, p, s: f"{h}.{p}.{s},{h}.{p}.{s}"),
    "case swapped": spelled(lambda h, p, s: f"{h}.{p}.{s}".swapcase()),
    "encoded once more": spelled(lambda h, p, s: b64(f"{h}.{p}.{s}".encode())),
    "hexadecimal": spelled(lambda h, p, s: f"{h}.{p}.{s}".encode().hex()),
    "too long": claiming(more="x" * 9000),
    "rubbish, and too long": lambda _, __: "x" * 20000,
    "parts exchanged": spelled(lambda h, p, s: f"{p}.{h}.{s}"),
}
