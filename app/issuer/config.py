"""What the embedded issuer is told: one API, one machine-to-machine client, one SPA."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from app.contract.scopes import CREATE_BUILDS, DELEGATED, READ_BUILDS, UPDATE_BUILDS

#: What a user token may carry; anything else that is asked for is dropped, as Auth0 does.
KNOWN_SCOPES: Final = ("openid", "profile", "email", READ_BUILDS, CREATE_BUILDS, UPDATE_BUILDS)

_DAY: Final = 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuerConfig:
    """The whole tenant. Lifetimes are in seconds.

    Raises `ValueError` for an issuer that is not the root of an http(s) origin: the endpoints are
    served there, and `iss` has to lead to them.
    """

    issuer: str  #: `iss`, to the letter; Auth0's ends with a slash
    audience: str  #: the API identifier of user tokens
    mint_audience: str  #: the API identifier of build tokens; may be the same
    mint_client_id: str
    mint_client_secret: str = field(repr=False)
    #: The client grant: what every token of the machine-to-machine client carries.
    mint_scopes: frozenset[str] = DELEGATED
    namespace: str = "https://example.com/"
    spa_client_id: str = "baton-spa"
    redirect_uris: Sequence[str] = ("http://127.0.0.1/callback",)
    allowed_origins: Sequence[str] = ()
    key_dir: Path | None = None  #: where signing keys are kept; None: in memory
    user_token_lifetime: int = _DAY  #: what an API at Auth0 has before anyone changes it
    #: Longer than any build token has to last, since builds may take up to seven days.
    mint_token_lifetime: int = 8 * _DAY
    login_lifetime: float = 600  #: from the login page to its answer
    code_lifetime: float = 60  #: RFC 6749 §4.1.2 recommends ten minutes at most

    def __post_init__(self) -> None:
        url = urlsplit(self.issuer)
        if url.scheme not in {"http", "https"} or not url.netloc or url.path not in {"", "/"}:
            raise ValueError(f"{self.issuer!r} is not the root of an http(s) origin")
        if url.query or url.fragment or "@" in url.netloc:
            raise ValueError(f"{self.issuer!r} is not the root of an http(s) origin")
        if self.spa_client_id == self.mint_client_id:
            raise ValueError("the SPA and the machine-to-machine client need different ids")
        if not self.mint_client_secret:
            raise ValueError("the machine-to-machine client needs a secret")

    def url(self, path: str) -> str:
        """Where one of the issuer's own paths is reached."""
        return self.issuer.rstrip("/") + path
