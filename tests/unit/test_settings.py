"""Settings are read once, by name, and refused with a sentence that helps."""

from pathlib import Path

import pytest

from app.config.issuer_settings import IssuerSettings
from app.config.settings import Settings
from app.errors import SettingsError

GOOD = {
    "BATON_REDIS_URL": "redis://localhost/0",
    "BATON_ISSUER": "https://example.auth0.com/",
    "BATON_AUDIENCE": "https://api.example.com/",
    "BATON_MINT_CLIENT_SECRET": "the secret",
    "BATON_MESSAGE_KEYS": "A" * 43 + "=",
}


def test_what_is_needed_is_enough() -> None:
    settings = Settings.from_env(GOOD)
    assert settings.keys_url == "https://example.auth0.com/.well-known/jwks.json"
    assert settings.token_url == "https://example.auth0.com/oauth/token"
    assert settings.build_audience == settings.audience
    assert settings.broker == "redis://localhost/0"


@pytest.mark.parametrize(
    ("store", "broker"),
    [
        ("redis://:word@host:6380/2", "redis://:word@host:6380/2"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        (
            "unix://ann:word@/run/redis.sock?db=3",
            "redis+socket://ann:word@/run/redis.sock?virtual_host=3",
        ),
    ],
)
def test_the_store_is_the_broker_where_there_is_no_other(store: str, broker: str) -> None:
    assert Settings.from_env(GOOD | {"BATON_REDIS_URL": store}).broker == broker


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_env(GOOD | {"BATON_REDIS_URL": "redis://:hunter2@localhost"})
    assert "the secret" not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    environ = {k: v for k, v in GOOD.items() if k != "BATON_MINT_CLIENT_SECRET"}
    settings = Settings.from_env(environ | {"BATON_MINT_CLIENT_SECRET_FILE": str(file)})
    assert settings.mint_client_secret
    assert settings.mint_client_secret.get_secret_value() == "from the file"
    with pytest.raises(SettingsError, match="BATON_MINT_CLIENT_SECRET_FILE: cannot read"):
        Settings.from_env(environ | {"BATON_MINT_CLIENT_SECRET_FILE": "/no/such/file"})


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_one_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        Settings.from_env({k: v for k, v in GOOD.items() if k != name})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BATON_LEASE", "soon", "BATON_LEASE"),
        ("BATON_BROKER_URL", "unix:///run/redis.sock", r"BATON_BROKER_URL: .* is redis\+socket:"),
        ("BATON_BROKER_URL", "rabbitmq:5672", "BATON_BROKER_URL: must be a URL that begins"),
        ("BATON_DPOP_WORKER_KEYS", "short", "'short' is no thumbprint of a key"),
        ("BATON_DPOP_WORKER_KEYS", "A" * 43, "needs BATON_MINTER=local"),
        ("BATON_DPOP_URLS", "api:8080", "'api:8080' is not a URL"),
        ("BATON_LEASE", "0", "BATON_LEASE"),
        ("BATON_QUEUE_TTL", "inf", "BATON_QUEUE_TTL"),
        ("BATON_QUEUE_TTL", "nan", "BATON_QUEUE_TTL"),
        ("BATON_PORT", "70000", "BATON_PORT"),
        ("BATON_ISSUER", "example.com", "BATON_ISSUER"),
        ("BATON_ISSUER", "http://example.com/", "BATON_ISSUER must be an https URL"),
        ("BATON_MINT_TOKEN_URL", "http://example.com/", "BATON_MINT_TOKEN_URL must be an https"),
        ("BATON_JWKS_URL", "http://example.com/", "BATON_JWKS_URL must be an https"),
        ("BATON_ALGORITHMS", "RS256,HS256", "HS256 cannot be allowed"),
        ("BATON_ALGORITHMS", "none", "none cannot be allowed"),
        ("BATON_ALGORITHMS", " ", "BATON_ALGORITHMS"),
        ("BATON_MINTER", "magic", "BATON_MINTER"),
        ("BATON_MINTER", "local", "BATON_MINT_KEY_FILE is not set"),
        ("BATON_REPORT_WINDOW", "5", "BATON_REPORT_WINDOW must be at least BATON_LEASE"),
        ("BATON_MAX_BUILD_TIMEOUT", "99999999", "BATON_MAX_BUILD_TIMEOUT"),
        ("BATON_REPORT_WINDOW", f"{9.92 * 86400}", "less than ten days together"),
        ("BATON_CORS_ORIGINS", "*", "BATON_CORS_ORIGINS"),
        ("BATON_CORS_ORIGINS", "https://app.example.com/path", "BATON_CORS_ORIGINS"),
    ],
)
def test_a_wrong_one_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env(GOOD | {name: value})


def test_plain_http_is_for_loopback_and_development() -> None:
    local = {"BATON_ISSUER": "http://127.0.0.1:8081/"}
    assert Settings.from_env(GOOD | local).issuer == "http://127.0.0.1:8081/"
    elsewhere = {"BATON_ISSUER": "http://issuer:8081/", "BATON_DEVELOPMENT": "1"}
    assert Settings.from_env(GOOD | elsewhere).development


def test_the_issuer_needs_its_clients_secret() -> None:
    with pytest.raises(SettingsError, match="BATON_MINT_CLIENT_SECRET is not set"):
        IssuerSettings.from_env({"BATON_AUDIENCE": "https://api.example.com/"})
