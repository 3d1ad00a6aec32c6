"""The embedded issuer's process has these settings."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from app.config.environment import FromEnvironment, HttpUrl, Port, Words


class IssuerSettings(FromEnvironment):
    """`IssuerSettings` are those of the embedded issuer, which stands in for Auth0 on a laptop."""

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
    issuer_user_lifetime: Annotated[int, Field(gt=0)] = Field(
        default=86400, description="Seconds that its users' tokens last."
    )
    issuer_redirect_uris: Words = Field(
        default=("http://127.0.0.1/callback",),
        description="Where it may send a signed-in user; on loopback any port matches.",
    )
    cors_origins: Words = Field(default=(), description="Origins of the SPAs that may call it.")
