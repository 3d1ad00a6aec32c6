"""How the minting client's settings fit together, and what is made of them."""

from pathlib import Path

import httpx
import pytest

from app.bootstrap.tokens import make_tokens, own_keys
from app.config.settings import Settings
from app.errors import SettingsError
from app.tokens.minting.client_authentication import (
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
)
from app.tokens.minting.client_credentials import ClientCredentialsMinter
from app.tokens.minting.prefetched import PrefetchedTokenMinter
from app.tokens.signing_key import SigningKey
from tests.unit.test_settings import GOOD

SIGNED = {
    **{name: value for name, value in GOOD.items() if name != "BATON_MINT_CLIENT_SECRET"},
    "BATON_MINT_AUTHENTICATION": "private_key_jwt",
}
EXCHANGE = GOOD | {"BATON_MINTER": "token_exchange"}


class Nowhere:
    """Where no tokens wait."""

    async def first(self, build_id: str) -> str | None:
        raise AssertionError(build_id)

    async def remove(self, build_id: str, sealed: str) -> None:
        raise AssertionError(build_id, sealed)


async def shown(environ: dict[str, str]) -> str:
    """What the minter made of the settings says of itself, and how its client authenticates."""
    settings = Settings.from_env(environ)
    async with httpx.AsyncClient() as http:
        tokens = make_tokens(settings, http, own_keys(settings), Nowhere())
        await tokens.keys.close()
        assert (tokens.exchange is not None) == (settings.minter == "token_exchange")
        assert (tokens.exchanged is not None) == (settings.minter == "token_exchange")
        kind = PrefetchedTokenMinter if tokens.exchange else ClientCredentialsMinter
        assert isinstance(tokens.minter, kind)
        return repr(tokens.minter)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "client.pem"
    path.write_bytes(SigningKey.generate("RS256").pem())
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (SIGNED, "BATON_MINT_ASSERTION_KEY_FILE is not set"),
        (
            SIGNED | {"BATON_MINT_ASSERTION_KEY_FILE": "k", "BATON_MINT_CLIENT_SECRET": "s"},
            "BATON_MINT_CLIENT_SECRET is set, but",
        ),
        (GOOD | {"BATON_MINT_ASSERTION_KEY_FILE": "k"}, "only BATON_MINT_AUTHENTICATION=private"),
        (
            {**SIGNED, "BATON_MINT_AUTHENTICATION": "client_secret_basic"},
            "BATON_MINT_CLIENT_SECRET is not set.*client_secret_basic needs it",
        ),
        (GOOD | {"BATON_MINT_AUTHENTICATION": "none"}, "BATON_MINT_AUTHENTICATION"),
        (GOOD | {"BATON_MINT_ASSERTION_ALG": "HS256"}, "BATON_MINT_ASSERTION_ALG"),
        (EXCHANGE | {"BATON_MINT_TARGET": "aud"}, "BATON_MINT_TARGET"),
        (EXCHANGE | {"BATON_MESSAGE_KEYS": ""}, "BATON_MESSAGE_KEYS is not set"),
        (
            EXCHANGE | {"BATON_MESSAGE_KEYS": "", "BATON_DEVELOPMENT": "1"},
            "token_exchange needs it even in development",
        ),
        (EXCHANGE | {"BATON_MINT_CLIENT_SECRET": ""}, "BATON_MINT_CLIENT_SECRET is not set"),
        (EXCHANGE | {"BATON_MINT_TOKEN_URL": "http://id.example.com/"}, "must be an https URL"),
        (EXCHANGE | {"BATON_TOKEN_DIALECT": "entra"}, "BATON_TOKEN_DIALECT"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:30],
)
def test_settings_that_disagree_are_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env(environ)


def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path, key_file: str) -> None:
    for environ, said in (
        ({"BATON_MINT_ASSERTION_KEY_FILE": str(tmp_path / "none")}, "none does not exist"),
        (
            {"BATON_MINT_ASSERTION_KEY_FILE": key_file, "BATON_MINT_ASSERTION_ALG": "ES256"},
            "this key signs with RS256 or PS256",
        ),
    ):
        settings = Settings.from_env(SIGNED | environ)
        with pytest.raises(SettingsError, match=f"BATON_MINT_ASSERTION_KEY_FILE: .*{said}"):
            own_keys(settings)


@pytest.mark.parametrize("minter", ["client_credentials", "token_exchange"])
async def test_the_settings_that_are_enough_make_a_minter(minter: str, key_file: str) -> None:
    signed = SIGNED | {"BATON_MINT_ASSERTION_KEY_FILE": key_file, "BATON_MINTER": minter}
    for environ, way in (
        (GOOD | {"BATON_MINTER": minter}, ClientSecretPost),
        (GOOD | {"BATON_MINTER": minter, "BATON_MINT_AUTHENTICATION": "client_secret_basic"},
         ClientSecretBasic),
        (signed | {"BATON_MINT_ASSERTION_ALG": "PS256", "BATON_MINT_ASSERTION_KID": "one"},
         PrivateKeyJwt),
    ):  # fmt: skip
        said = await shown(environ)
        if minter == "client_credentials":
            assert f"authentication={way.__name__}(client_id='baton-api'" in said
            assert "the secret" not in said
        if way is PrivateKeyJwt and minter == "client_credentials":
            assert "AssertionKey(alg='PS256', kid='one')" in said
