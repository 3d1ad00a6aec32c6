"""`CodeRequest` makes an authorization code grant (RFC 6749 §4.1) with PKCE (RFC 7636)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

import httpx

from app.cli.sign_in.calls import Refused, SignInFailed
from app.cli.sign_in.grant import Grant
from app.cli.sign_in.provider import Provider

#: Bytes of randomness in state and verifier; as text 64 characters, where a verifier may have 43 to
#: 128 (RFC 7636 §4.1).
_BYTES: Final = 48


class CodeRequest:
    """A `CodeRequest` is one sign-in.

    Send the user's browser to `url`, pass the redirect's parameters to `code_in`, and `redeem` the
    code once. Making one raises `SignInFailed` when the provider has no authorization endpoint.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        client_id: str,
        redirect_uri: str,
        scope: str,
        audience: str | None,
        state: str,
    ) -> None:
        if provider.authorization_endpoint is None:
            raise SignInFailed(f"{provider.issuer} has no authorization endpoint")
        self._provider = provider
        self._client_id = client_id
        self._redirect_uri = redirect_uri
        self._scope = scope
        self._state = state
        self._verifier = secrets.token_urlsafe(_BYTES)
        parameters = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
            # OpenID Connect Core §11: some providers give no refresh token without it.
            **({"prompt": "consent"} if "offline_access" in scope.split() else {}),
            **({} if audience is None else {"audience": audience}),
            "state": self._state,
            "code_challenge": _challenge(self._verifier),
            "code_challenge_method": "S256",
        }
        self.url = str(httpx.URL(provider.authorization_endpoint).copy_merge_params(parameters))

    def code_in(self, answer: Mapping[str, str]) -> str:
        """Return the code in the redirect's parameters.

        Raises `Refused` for an error of the issuer's, and `SignInFailed` for another `state` or
        issuer (RFC 9207 §2.4).
        """
        issuer = answer.get("iss", None if self._provider.names_itself else self._provider.issuer)
        if not same(answer.get("state", ""), self._state) or issuer != self._provider.issuer:
            # RFC 9207 §2.4: a response of another issuer must not be used, errors included.
            raise SignInFailed(f"{self._provider.issuer} answered another request than ours")
        if "error" in answer or not answer.get("code"):
            raise Refused({"error": "no code in the answer"} | dict(answer))
        return answer["code"]

    def redeem(self, http: httpx.Client, code: str) -> Grant:
        """Exchange the code for tokens, once. Raises `SignInFailed`."""
        return Grant.ask(
            http,
            self._provider.token_endpoint,
            scope=self._scope,
            grant_type="authorization_code",
            client_id=self._client_id,
            code=code,
            redirect_uri=self._redirect_uri,
            code_verifier=self._verifier,
        )


def new_state() -> str:
    """Make a random `state` for one sign-in."""
    return secrets.token_urlsafe(_BYTES)


def same(unverified: str, secret: str) -> bool:
    """Compare in constant time, which does not show how much of `unverified` is right."""
    return hmac.compare_digest(unverified.encode(), secret.encode())


def _challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 §4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
