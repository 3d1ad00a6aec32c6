"""`SavedTokenSource` gives a client the saved tokens of one API, and renews them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from app.cli.sign_in import calls
from app.cli.sign_in.calls import NoAnswer, SignInFailed
from app.cli.sign_in.grant import Grant, refresh
from app.cli.sign_in.saved_sign_ins import SavedSignIn, SavedSignIns
from app.client import ClientError, SignedOut, Unreachable

#: Seconds before its end at which a token is renewed; half the lifetime of a short one.
_RENEWAL_MARGIN: Final = 60.0
#: Seconds until the next try to renew a token that is still valid.
_RENEWAL_RETRY_INTERVAL: Final = 10.0


def saved_sign_in(
    grant: Grant, *, api: str, issuer: str, token_endpoint: str, client_id: str
) -> SavedSignIn:
    """Make what is to be saved of tokens that were granted just now."""
    now, lifetime = time.time(), grant.expires_in
    return SavedSignIn(
        api=api,
        issuer=issuer,
        token_endpoint=token_endpoint,
        client_id=client_id,
        scope=grant.scope,
        access_token=grant.access_token,
        refresh_token=grant.refresh_token,
        renew_at=None if lifetime is None else now + lifetime - min(_RENEWAL_MARGIN, lifetime / 2),
        expires_at=None if lifetime is None else now + lifetime,
    )


def sign_in(api: str) -> str:
    """Return the advice for a user who has no token for this API."""
    return f"sign in with: baton login --api {api}"


def _is_fresh(saved: SavedSignIn) -> bool:
    return saved.renew_at is None or time.time() < saved.renew_at


class SavedTokenSource:
    """A `SavedTokenSource` is a `TokenSource` that renews its token before its end or when refused.

    Safe to use from several threads. Of several commands at once, one renews the token and the
    others read the result. `current` and `other_than` raise `SignedOut` when there is no sign-in
    any more, `Unreachable` when the issuer does not answer, and `SavingFailed`.
    """

    def __init__(self, tokens: SavedSignIns, saved: SavedSignIn) -> None:
        self._tokens = tokens
        self._saved = saved
        self._renew_at = saved.renew_at
        self._lock = threading.Lock()

    def current(self) -> str:
        """Return the token; a renewal that fails matters only when the token has expired."""
        with self._lock:
            now = time.time()
            if self._renew_at is None or now < self._renew_at:
                return self._saved.access_token
            try:
                self._renew()
            except ClientError:
                if self._saved.expires_at is None or now >= self._saved.expires_at:
                    raise
                self._renew_at = now + _RENEWAL_RETRY_INTERVAL
            return self._saved.access_token

    def other_than(self, refused: str) -> str | None:
        """Return another token than `refused`, which the API did not take."""
        with self._lock:
            if self._saved.access_token == refused:  # else another thread has renewed it
                self._renew()
            return self._saved.access_token

    def _renew(self) -> None:
        # A thread of its own, for which this one waits even when Ctrl-C comes: a new refresh token
        # that does not get from the issuer's response to the file is lost, and the old one is void.
        with ThreadPoolExecutor(1) as thread:
            self._saved = thread.submit(self._renewed).result()
        self._renew_at = self._saved.renew_at

    def _renewed(self) -> SavedSignIn:
        """Renew the saved tokens, unless another command has; return them. Raises as `current`."""
        api = self._saved.api
        with self._tokens.locked(api):
            found = self._tokens.read(api)
            if found is None:
                raise SignedOut(f"signed out of {api}; {sign_in(api)}")
            if found.access_token != self._saved.access_token and _is_fresh(found):
                return found
            if found.refresh_token is None:
                raise SignedOut(f"the sign-in to {api} has ended; {sign_in(api)}")
            renewed = self._refreshed(found, found.refresh_token)
            self._tokens.write(renewed)
            return renewed

    @staticmethod
    def _refreshed(saved: SavedSignIn, refresh_token: str) -> SavedSignIn:
        try:
            endpoint = calls.checked(saved.token_endpoint, "the token endpoint")
            with calls.client() as http:
                grant = refresh(
                    http,
                    endpoint,
                    client_id=saved.client_id,
                    refresh_token=refresh_token,
                    scope=saved.scope,
                )
        except NoAnswer as error:
            raise Unreachable(f"the token cannot be renewed: {error}") from error
        except SignInFailed as error:
            raise SignedOut(
                f"the sign-in to {saved.api} has ended ({error}); {sign_in(saved.api)}"
            ) from error
        renewed = saved_sign_in(
            grant,
            api=saved.api,
            issuer=saved.issuer,
            token_endpoint=saved.token_endpoint,
            client_id=saved.client_id,
        )
        # RFC 6749 §6: where no new refresh token comes, the old one stays valid.
        return renewed.model_copy(update={"refresh_token": grant.refresh_token or refresh_token})
