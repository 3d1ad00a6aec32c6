"""The API process has these settings; docs/settings.md is generated from their descriptions."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from app.config.environment import (
    MAX_SECONDS,
    FromEnvironment,
    HttpUrl,
    Port,
    RedisUrl,
    SealKeys,
    Seconds,
    Words,
    check_broker,
    require_https,
    seal_with,
)
from app.config.lifetime import Timers, Timing, redelivery_after, timers
from app.config.rates import parse_rate
from app.contract.queue import REDELIVERY, broker_of
from app.contract.sealing import Seal
from app.contract.spec import MAX_SPEC, MAX_TIMEOUT
from app.errors import SettingsError

#: A thumbprint of a key: SHA-256 in base64url (RFC 7638).
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")


def _rate(value: str) -> str:
    parse_rate(value)
    return value


Rate = Annotated[str, AfterValidator(_rate)]


class Settings(FromEnvironment):
    """`Settings` are those of the API process, its dispatcher and its reaper included."""

    redis_url: RedisUrl = Field(
        description="The store: builds, logs and queues live in this Redis (`redis://`, "
        "`rediss://` or `unix://`)."
    )
    broker_url: SecretStr | None = Field(
        default=None, description="Celery's broker; default: the same Redis."
    )
    message_keys: SealKeys | None = Field(
        default=None,
        description="Keys that seal the tokens in messages, the same for API and workers: the "
        "first seals, each opens (`openssl rand -base64 32 | tr '+/' '-_'` makes one).",
    )
    api_url: HttpUrl = Field(
        default="http://127.0.0.1:8080",
        description="Where clients and workers reach the API; also its name in its metadata.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: Port = Field(default=8080, description="Port that the API listens on.")

    issuer: HttpUrl = Field(
        description="`iss` of user tokens, compared to the letter (Auth0's ends with a slash)."
    )
    audience: str = Field(min_length=1, description="The API's identifier: `aud` of user tokens.")
    algorithms: Words = Field(
        default=("RS256",), description="Signature algorithms accepted from the issuer."
    )
    token_dialect: Literal["standard", "okta"] = Field(
        default="standard",
        description="How the issuer writes client and scopes into tokens: `standard` (`client_id` "
        "or `azp`; `scope`) or `okta` (`cid`; `scp`).",
    )
    jwks_url: HttpUrl | None = Field(
        default=None, description="The issuer's keys; default: `.well-known/jwks.json` below it."
    )
    claim_namespace: str = Field(
        default="https://example.com/",
        min_length=1,
        description="Prefix of the custom claims `user_id` and `build_id`.",
    )
    leeway: Annotated[float, Field(ge=0, le=300)] = Field(
        default=30, description="Seconds by which clocks may disagree."
    )

    minter: Literal["client_credentials", "token_exchange", "local"] = Field(
        default="client_credentials",
        description="Where build tokens come from: `client_credentials` (Auth0 and its like), "
        "`token_exchange` (RFC 8693) or `local` (an own key); see docs/providers.md.",
    )
    mint_token_url: HttpUrl | None = Field(
        default=None,
        description="The provider's token endpoint; default: `oauth/token` below the issuer.",
    )
    mint_client_id: str = Field(
        default="baton-api", min_length=1, description="The machine-to-machine client's id."
    )
    mint_client_secret: SecretStr | None = Field(
        default=None, description="Its secret, if it authenticates with one."
    )
    mint_authentication: Literal["client_secret_post", "client_secret_basic", "private_key_jwt"] = (
        Field(
            default="client_secret_post",
            description="How it authenticates: `client_secret_post`, `client_secret_basic`, or "
            "`private_key_jwt`, which sends no secret.",
        )
    )
    mint_assertion_key_file: Path | None = Field(
        default=None,
        description="PEM file of its private key (RSA or P-256), for `private_key_jwt`.",
    )
    mint_assertion_alg: Literal["ES256", "PS256", "RS256"] | None = Field(
        default=None,
        description="`RS256`, `PS256` or `ES256`; default: `RS256` or `ES256`, by the key.",
    )
    mint_assertion_kid: str | None = Field(
        default=None,
        description="The key's id at the provider; default: its RFC 7638 thumbprint.",
    )
    mint_assertion_audience: str | None = Field(
        default=None,
        description="`aud` of its assertions; default: the issuer. A provider may want its token "
        "endpoint's URL (Okta).",
    )
    mint_target: Literal["audience", "resource"] = Field(
        default="audience",
        description="The parameter that names the build tokens' audience: `audience`, or RFC "
        "8707's `resource`.",
    )
    mint_body: Literal["json", "form"] = Field(
        default="json",
        description="How the token request of `client_credentials` is encoded; an exchange is "
        "always a form.",
    )
    mint_audience: str | None = Field(
        default=None,
        description="`aud` of build tokens; default: the audience. A second API identifier keeps "
        "their long lifetime off user tokens.",
    )
    mint_issuer: HttpUrl | None = Field(
        default=None, description="`iss` of the `local` minter's tokens; default: the API's URL."
    )
    mint_key_file: Words = Field(
        default=(),
        description="PEM files of the `local` minter's keys: the first signs, all verify. A first "
        "one that does not exist is made. Replicas need the same files.",
    )

    dpop_worker_keys: Words = Field(
        default=(),
        description="Thumbprints of the workers' keys (`baton dpop-key` prints one): build tokens "
        "are bound to the first, and taken from holders of any (RFC 9449); `local` minter only.",
    )
    dpop_urls: Words = Field(
        default=(),
        description="URLs besides `BATON_API_URL` by which the API is reached, for DPoP proofs.",
    )

    queue_ttl: Seconds = Field(
        default=600, description="Seconds that a dispatched build may wait for a worker."
    )
    max_build_timeout: Annotated[float, Field(ge=1, le=MAX_TIMEOUT)] = Field(
        default=7200, description="Largest `timeout` (seconds) that a spec may ask for."
    )
    report_window: Seconds = Field(
        default=900,
        description="Seconds after a build's end in which its worker keeps trying to report.",
    )
    kill_grace: Annotated[float, Field(ge=0, le=MAX_SECONDS)] = Field(
        default=10, description="Seconds between SIGTERM and SIGKILL for a cancelled build."
    )
    lease: Annotated[float, Field(ge=1, le=MAX_SECONDS)] = Field(
        default=30, description="Seconds that a worker may stay silent before it counts as lost."
    )
    max_attempts: Annotated[int, Field(ge=1)] = Field(
        default=3, description="How often a build whose worker was lost is tried in all."
    )
    max_queue_wait: Seconds = Field(
        default=86400,
        description="Seconds after which a build that no worker has begun is given up.",
    )

    user_concurrency: Annotated[int, Field(ge=1)] = Field(
        default=4, description="Builds of one user that may be dispatched or running at once."
    )
    user_queue: Annotated[int, Field(ge=1)] = Field(
        default=1000, description="Builds that one user may have queued; one more is refused, 429."
    )
    user_streams: Annotated[int, Field(ge=1)] = Field(
        default=100,
        description="Logs and events that one user may follow at once, of each API process.",
    )
    rate_per_user: Rate = Field(
        default="6000/minute",
        description="Requests of one user, like `600/minute` (`second`, `hour`, `day`); `0`: no "
        "limit. See docs/bounds.md.",
    )
    rate_per_address: Rate = Field(
        default="6000/minute",
        description="Requests without a valid token from one address; those with one do not count.",
    )
    trusted_proxies: Words = Field(
        default=(),
        description="Addresses or networks of the proxies before the API, whose `X-Forwarded-For` "
        "says where a request comes from.",
    )
    max_connections: Annotated[int, Field(ge=10, le=100_000)] = Field(
        default=1000, description="Connections that one API process keeps open at once."
    )
    dispatch_window: Annotated[int, Field(ge=1)] = Field(
        default=16,
        description="Messages waiting in Celery at most; at least the number of worker processes.",
    )

    log_limit: Annotated[int, Field(ge=4096, le=500_000_000)] = Field(
        default=16 * 1024 * 1024,
        description="Bytes of log that one attempt may write; what is over is cut off, visibly.",
    )
    max_body: Annotated[int, Field(ge=1024, le=MAX_SPEC)] = Field(
        default=1024 * 1024, description="Bytes of the largest request body."
    )
    retention: Seconds = Field(
        default=30 * 86400,
        description="Seconds for which a build and its log are kept after its end.",
    )
    idempotency_ttl: Seconds = Field(
        default=86400, description="Seconds for which an `Idempotency-Key` is remembered."
    )
    cors_origins: Words = Field(
        default=(),
        description="Origins of the SPAs that may call the API; spaces or commas between.",
    )
    dashboard_client_id: str | None = Field(
        default=None,
        min_length=1,
        description="The dashboard's client id at the issuer: a public one (SPA) whose redirect "
        "URI is the API's URL with a `/` at its end; without it, nobody can sign in there.",
    )
    dashboard_scope: str = Field(
        default="openid profile email read:builds create:builds update:builds",
        description="What the dashboard asks for; with `offline_access`, it renews its tokens by "
        "a refresh token where the issuer gives one.",
    )
    cli_client_id: str | None = Field(
        default=None, min_length=1, description="The public client of `baton login` at the issuer."
    )
    development: bool = Field(
        default=False,
        description="Set by `baton dev`: allows plain http to other hosts (API), `auto` to "
        "fall back to `process` (worker), and no `BATON_MESSAGE_KEYS` (both).",
    )

    def check(self) -> None:
        require_https("BATON_ISSUER", self.issuer, development=self.development)
        require_https("BATON_JWKS_URL", self.keys_url, development=self.development)
        allowed = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
        wrong = sorted(set(self.algorithms) - allowed)
        if wrong or not self.algorithms:
            raise SettingsError(
                f"BATON_ALGORITHMS: {', '.join(wrong) or 'nothing'} cannot be allowed; "
                f"choose from {', '.join(sorted(allowed))}"
            )
        if self.minter != "local":
            self._check_authentication()
            require_https("BATON_MINT_TOKEN_URL", self.token_url, development=self.development)
        elif not self.mint_key_file:
            raise SettingsError(
                "BATON_MINT_KEY_FILE is not set, and BATON_MINTER=local needs it: name a file, "
                "which is made if it does not exist"
            )
        elif self.local_issuer == self.issuer:
            raise SettingsError(
                "BATON_MINT_ISSUER must differ from BATON_ISSUER: tokens of the two are signed "
                "with different keys"
            )
        self._check_dpop()
        if self.report_window < self.lease:
            raise SettingsError(
                "BATON_REPORT_WINDOW must be at least BATON_LEASE: a worker that reports late "
                "would be taken for lost"
            )
        if redelivery_after(self.timing, self.max_build_timeout) > REDELIVERY:
            raise SettingsError(
                "BATON_QUEUE_TTL, BATON_MAX_BUILD_TIMEOUT, BATON_KILL_GRACE and "
                "BATON_REPORT_WINDOW must be less than ten days together: after that, the broker "
                "gives the message of a worker that has not acknowledged it to another"
            )
        seal_with(self.message_keys, development=self.development)
        check_broker(self.broker, "BATON_BROKER_URL")
        self._check_proxies()
        for origin in self.cors_origins:
            parts = urlsplit(origin)
            if not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
                raise SettingsError(
                    f"BATON_CORS_ORIGINS: {origin!r} is not an origin like https://app.example.com"
                )

    def _check_proxies(self) -> None:
        for each in self.trusted_proxies:
            try:
                ip_network(each)
            except ValueError as error:
                raise SettingsError(
                    f"BATON_TRUSTED_PROXIES: {error}; name the proxies' own addresses or networks, "
                    "like 10.0.0.7 or 10.1.0.0/24: who is trusted chooses the address that counts"
                ) from None

    def _check_dpop(self) -> None:
        wrong = [jkt for jkt in self.dpop_worker_keys if not _THUMBPRINT.fullmatch(jkt)]
        if wrong:
            raise SettingsError(
                f"BATON_DPOP_WORKER_KEYS: {wrong[0]!r} is no thumbprint of a key: `baton dpop-key "
                "FILE` prints the one of the key in a file"
            )
        if self.dpop_worker_keys and self.minter != "local":
            raise SettingsError(
                "BATON_DPOP_WORKER_KEYS needs BATON_MINTER=local: other providers bind tokens to "
                "the key of whoever asks for them, which is the API and not the worker"
            )
        for url in self.dpop_urls:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
                raise SettingsError(f"BATON_DPOP_URLS: {url!r} is not a URL like http://api:8080")

    def _check_authentication(self) -> None:
        """Check how the minting client authenticates at the provider."""
        if self.mint_authentication == "private_key_jwt":
            if self.mint_assertion_key_file is None:
                raise SettingsError(
                    "BATON_MINT_ASSERTION_KEY_FILE is not set, and "
                    "BATON_MINT_AUTHENTICATION=private_key_jwt needs it: name the PEM file of the "
                    "client's private key"
                )
            if self.mint_client_secret is not None:
                raise SettingsError(
                    "BATON_MINT_CLIENT_SECRET is set, but "
                    "BATON_MINT_AUTHENTICATION=private_key_jwt does not use it: take it out, here "
                    "and at the provider"
                )
        elif self.mint_client_secret is None:
            raise SettingsError(
                f"BATON_MINT_CLIENT_SECRET is not set, and BATON_MINTER={self.minter} with "
                f"BATON_MINT_AUTHENTICATION={self.mint_authentication} needs it"
            )
        elif self.mint_assertion_key_file is not None:
            raise SettingsError(
                "BATON_MINT_ASSERTION_KEY_FILE is set, but only "
                "BATON_MINT_AUTHENTICATION=private_key_jwt uses it"
            )
        if self.minter == "token_exchange" and self.message_keys is None:
            raise SettingsError(
                "BATON_MESSAGE_KEYS is not set, and BATON_MINTER=token_exchange needs it even in "
                "development: tokens are kept in the store until dispatch, and only sealed"
            )

    @property
    def keys_url(self) -> str:
        """Return the URL of the issuer's keys (JWKS)."""
        return self.jwks_url or self.issuer.rstrip("/") + "/.well-known/jwks.json"

    @property
    def discovery_url(self) -> str:
        return self.issuer.rstrip("/") + "/.well-known/openid-configuration"

    @property
    def root_path(self) -> str:
        """The path that precedes all paths of the API; empty at a host's root."""
        return urlsplit(self.api_url).path.rstrip("/")

    @property
    def token_url(self) -> str:
        """Return the token endpoint that build tokens come from."""
        return self.mint_token_url or self.issuer.rstrip("/") + "/oauth/token"

    @property
    def build_audience(self) -> str:
        """Return `aud` of build tokens."""
        return self.mint_audience or self.audience

    @property
    def local_issuer(self) -> str:
        """Return `iss` of the `local` minter's tokens."""
        return self.mint_issuer or self.api_url

    @property
    def broker(self) -> str:
        """Return the broker's URL for Celery, which may hold a password."""
        if self.broker_url:
            return self.broker_url.get_secret_value()
        return broker_of(self.redis_url.get_secret_value())

    @property
    def seal(self) -> Seal | None:
        """Return the seal for tokens in messages; None in development without keys."""
        return seal_with(self.message_keys, development=self.development)

    @property
    def timing(self) -> Timing:
        """Return the settings from which every timer derives."""
        return Timing(
            queue_ttl=self.queue_ttl,
            kill_grace=self.kill_grace,
            report_window=self.report_window,
            leeway=self.leeway,
        )

    def timers(self, build_timeout: float) -> Timers:
        """Return the timers of an attempt; `build_timeout` is the build's own, in seconds."""
        return timers(self.timing, build_timeout)
