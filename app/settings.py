"""The settings of the server's processes: the API, and the embedded issuer."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from app.contract.environment import (
    MAX_SECONDS,
    FromEnvironment,
    HttpUrl,
    Port,
    SealKeys,
    Seconds,
    SettingsError,
    Words,
    seal_with,
)
from app.contract.sealing import Seal
from app.contract.spec import MAX_SPEC, MAX_TIMEOUT
from app.tokens.lifetime import Timers, Timing, timers

__all__ = ["IssuerSettings", "Settings", "SettingsError"]

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def _redis_url(value: object) -> object:
    if isinstance(value, str) and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must be a URL like redis://host:6379/0, rediss://… or unix:///path")
    return value


RedisUrl = Annotated[SecretStr, BeforeValidator(_redis_url)]


def _require_https(variable: str, url: str, *, development: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not development:
        raise SettingsError(
            f"{variable} must be an https URL: over plain http anyone on the way can forge or read "
            "tokens (BATON_DEVELOPMENT=1 allows it where that does not matter)"
        )


class Settings(FromEnvironment):
    """The settings of the API process."""

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

    minter: Literal["client_credentials", "local"] = Field(
        default="client_credentials",
        description="Where build tokens come from: `client_credentials` (Auth0 and its like) or "
        "`local` (an own key).",
    )
    mint_token_url: HttpUrl | None = Field(
        default=None,
        description="The provider's token endpoint; default: `oauth/token` below the issuer.",
    )
    mint_client_id: str = Field(
        default="baton-api", min_length=1, description="The machine-to-machine client's id."
    )
    mint_client_secret: SecretStr | None = Field(
        default=None, description="Its secret; needed by `client_credentials`."
    )
    mint_body: Literal["json", "form"] = Field(
        default="json", description="How the token request is encoded."
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
    development: bool = Field(
        default=False,
        description="Set by `baton dev`: allows plain http to other hosts (API), `auto` to "
        "fall back to `process` (worker), and no `BATON_MESSAGE_KEYS` (both).",
    )

    def check(self) -> None:
        _require_https("BATON_ISSUER", self.issuer, development=self.development)
        _require_https("BATON_JWKS_URL", self.keys_url, development=self.development)
        allowed = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
        wrong = sorted(set(self.algorithms) - allowed)
        if wrong or not self.algorithms:
            raise SettingsError(
                f"BATON_ALGORITHMS: {', '.join(wrong) or 'nothing'} cannot be allowed; "
                f"choose from {', '.join(sorted(allowed))}"
            )
        if self.minter == "client_credentials":
            if self.mint_client_secret is None:
                raise SettingsError(
                    "BATON_MINT_CLIENT_SECRET is not set, and BATON_MINTER=client_credentials "
                    "needs it"
                )
            _require_https("BATON_MINT_TOKEN_URL", self.token_url, development=self.development)
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
        if self.report_window < self.lease:
            raise SettingsError(
                "BATON_REPORT_WINDOW must be at least BATON_LEASE: a worker that reports late "
                "would be taken for lost"
            )
        seal_with(self.message_keys, development=self.development)
        for origin in self.cors_origins:
            parts = urlsplit(origin)
            if not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
                raise SettingsError(
                    f"BATON_CORS_ORIGINS: {origin!r} is not an origin like https://app.example.com"
                )

    @property
    def keys_url(self) -> str:
        return self.jwks_url or self.issuer.rstrip("/") + "/.well-known/jwks.json"

    @property
    def token_url(self) -> str:
        return self.mint_token_url or self.issuer.rstrip("/") + "/oauth/token"

    @property
    def build_audience(self) -> str:
        return self.mint_audience or self.audience

    @property
    def local_issuer(self) -> str:
        return self.mint_issuer or self.api_url

    @property
    def broker(self) -> str:
        return (self.broker_url or self.redis_url).get_secret_value()

    @property
    def seal(self) -> Seal | None:
        return seal_with(self.message_keys, development=self.development)

    @property
    def timing(self) -> Timing:
        return Timing(
            queue_ttl=self.queue_ttl,
            kill_grace=self.kill_grace,
            report_window=self.report_window,
            leeway=self.leeway,
        )

    def timers(self, build_timeout: float) -> Timers:
        return timers(self.timing, build_timeout)


class IssuerSettings(FromEnvironment):
    """The settings of the embedded issuer, which stands in for Auth0 on a laptop."""

    issuer: HttpUrl = Field(
        default="http://127.0.0.1:8081/",
        description="`iss` of its tokens, and where it is reached.",
    )
    issuer_host: str = Field(default="127.0.0.1", description="Address that it listens on.")
    issuer_port: Port = Field(default=8081, description="Port that it listens on.")
    issuer_key_dir: Path | None = Field(
        default=None, description="Where its signing keys are kept; default: only in memory."
    )
    audience: str = Field(min_length=1, description="The API's identifier.")
    mint_audience: str | None = Field(default=None, description="`aud` of build tokens.")
    claim_namespace: str = Field(
        default="https://example.com/", min_length=1, description="Prefix of the custom claims."
    )
    mint_client_id: str = Field(
        default="baton-api", min_length=1, description="The machine-to-machine client's id."
    )
    mint_client_secret: SecretStr = Field(description="The machine-to-machine client's secret.")
    issuer_mint_lifetime: Annotated[int, Field(gt=0)] = Field(
        default=86400,
        description="Seconds that its build tokens last; Auth0's default is the same.",
    )
    issuer_redirect_uris: Words = Field(
        default=("http://127.0.0.1/callback",),
        description="Where it may send a signed-in user; on loopback any port matches.",
    )
    cors_origins: Words = Field(default=(), description="Origins of the SPAs that may call it.")
