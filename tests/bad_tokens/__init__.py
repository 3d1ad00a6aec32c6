"""Tokens that open nothing, whoever they are for: 401 `invalid_token` each time.

Each is made from the claims of a good user's token or a good build's; what is wrong is in its name,
and nothing else is: the signature is right unless the name says no.
"""

from typing import Final

from tests.bad_tokens.claims import CLAIMS
from tests.bad_tokens.headers import HEADERS
from tests.bad_tokens.json_texts import JSON_TEXTS
from tests.bad_tokens.signatures import SIGNATURES
from tests.bad_tokens.spellings import SPELLINGS
from tests.support.providers.forged import Forge

BAD_TOKENS: Final[dict[str, Forge]] = {**SPELLINGS, **JSON_TEXTS, **SIGNATURES, **HEADERS, **CLAIMS}
