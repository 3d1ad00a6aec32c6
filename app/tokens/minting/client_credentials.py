"""The client credentials minter obtains build tokens by that grant (RFC 6749 §4.4).

The request carries `user_id` and `build_id` as further members, which the provider turns into
claims (at Auth0: an Action on the machine-to-machine flow). A provider may ignore members that it
does not know; its token then does not fit the request, and is refused here.
"""

from typing import Literal

from app.minting import MintedToken, MintRequest
from app.tokens.minting.fit import accept
from app.tokens.minting.token_endpoint import TokenEndpoint
from app.tokens.verifier import Verifier


class ClientCredentialsMinter:
    """A `TokenMinter` that asks the provider for each token.

    A request whose response was lost may have been served: that token is never used.
    """

    def __init__(
        self,
        endpoint: TokenEndpoint,
        audience: str,
        verifier: Verifier,
        *,
        target: Literal["audience", "resource"] = "audience",
    ) -> None:
        """`target` is the parameter that names the workers' API: `audience` at Auth0, `resource` by
        RFC 8707."""
        self._endpoint = endpoint
        self._audience = audience
        self._verifier = verifier
        self._target = target

    def __repr__(self) -> str:
        return f"ClientCredentialsMinter({self._endpoint!r})"

    async def mint(self, request: MintRequest) -> MintedToken:
        """See `TokenMinter`."""
        answer = await self._endpoint.ask(
            {
                "grant_type": "client_credentials",
                self._target: self._audience,
                "user_id": request.user_id,
                "build_id": request.build_id,
            }
        )
        return await accept(
            self._verifier, answer.unverified_token, request, asked_at=answer.asked_at
        )

    async def close(self) -> None:
        """Nothing was opened."""
