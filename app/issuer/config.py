"""The embedded issuer's configuration: an API, a machine-to-machine client, two for users."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from app.contract.scopes import CREATE_BUILDS, DELEGATED, READ_BUILDS, UPDATE_BUILDS

#: The scope that asks for a refresh token (OpenID Connect Core §11).
OFFLINE_ACCESS: Final = "offline_access"

#: The scopes that a user token may have; others that are asked for are dropped, as at Auth0.
KNOWN_SCOPES: Final = (
    "openid", "profile", "email", OFFLINE_ACCESS, READ_BUILDS, CREATE_BUILDS, UPDATE_BUILDS,
)  # fmt: skip

_DAY: Final = 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuerConfig:
    """The configuration of the whole tenant. Lifetimes are in seconds.

    Raises `ValueError` for an issuer that is not the root of an http(s) origin: its endpoints are
    served there, and `iss` has to lead to them.
    """

    issuer: str  #: `iss`, character by character; Auth0's ends with a slash
    audience: str  #: the API identifier of user tokens
    mint_audience: str  #: the API identifier of build tokens; may be the same
    mint_client_id: str
    mint_client_secret: str = field(repr=False)
    #: The client grant: what every token of the machine-to-machine client carries.
    mint_scopes: frozenset[str] = DELEGATED
    namespace: str = "https://example.com/"
    spa_client_id: str = "baton-spa"
    redirect_uris: Sequence[str] = ("http://127.0.0.1/callback",)  #: of the SPA
    cli_client_id: str = "baton-cli"
    #: RFC 8252 §7.3: on loopback, any port matches.
    cli_redirect_uris: Sequence[str] = ("http://127.0.0.1/callback",)
    allowed_origins: Sequence[str] = ()
    key_dir: Path | None = None  #: directory of the signing keys; None: in memory
    user_token_lifetime: int = _DAY  #: Auth0's default for an API
    #: Longer than any build token has to last, since builds may take up to seven days.
    mint_token_lifetime: int = 8 * _DAY
    login_lifetime: float = 600  #: from the login page to its `POST`
    code_lifetime: float = 60  #: RFC 6749 §4.1.2 recommends ten minutes at most
    device_lifetime: int = 900  #: from a device code to its use; Auth0's default
    device_interval: int = 5  #: between two polls of a device; RFC 8628 §3.2's default
    #: A refresh token and its successors expire after this, used or not; as at Auth0.
    refresh_lifetime: float = 30 * _DAY
    refresh_idle_lifetime: float = 15 * _DAY  #: they expire earlier if none is used for so long
    #: How long a used refresh token is accepted once more, as its response may have been lost.
    refresh_leeway: float = 10

    def __post_init__(self) -> None:
        url = urlsplit(self.issuer)
        if url.scheme not in {"http", "https"} or not url.netloc or url.path not in {"", "/"}:
            raise ValueError(f"{self.issuer!r} is not the root of an http(s) origin")
        if url.query or url.fragment or "@" in url.netloc:
            raise ValueError(f"{self.issuer!r} is not the root of an http(s) origin")
        ids = (self.spa_client_id, self.cli_client_id, self.mint_client_id)
        if len(set(ids)) < len(ids):
            raise ValueError(
                "the SPA, the terminal and the machine-to-machine client need different ids"
            )
        if not self.mint_client_secret:
            raise ValueError("the machine-to-machine client needs a secret")

    def url(self, path: str) -> str:
        """Return the URL of one of the issuer's own paths."""
        return self.issuer.rstrip("/") + path
