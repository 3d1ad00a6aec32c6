"""`create_issuer` makes the embedded issuer from its settings."""

from starlette.applications import Starlette

from app.api.middleware.security_headers import with_security_headers
from app.config.issuer_settings import IssuerSettings
from app.errors import SettingsError
from app.issuer.application import create_issuer as create_issuer_from_config
from app.issuer.config import IssuerConfig
from app.tokens.errors import KeyFileError


def create_issuer(settings: IssuerSettings) -> Starlette:
    """Make the embedded issuer, for development. Raises `SettingsError`."""
    try:
        config = IssuerConfig(
            issuer=settings.issuer,
            audience=settings.audience,
            mint_audience=settings.mint_audience or settings.audience,
            namespace=settings.claim_namespace,
            mint_client_id=settings.mint_client_id,
            mint_client_secret=settings.mint_client_secret.get_secret_value(),
            redirect_uris=settings.issuer_redirect_uris,
            allowed_origins=settings.cors_origins,
            key_dir=settings.issuer_key_dir,
            user_token_lifetime=settings.issuer_user_lifetime,
            mint_token_lifetime=settings.issuer_mint_lifetime,
        )
        app = create_issuer_from_config(config)
    except (ValueError, KeyFileError) as error:
        raise SettingsError(f"the embedded issuer cannot start: {error}") from None
    return with_security_headers(app, settings.issuer)
