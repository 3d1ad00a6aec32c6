"""`baton secrets` makes the files of secrets that the parts of one installation share."""

import secrets
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from app.cli.atomic_write import OWNER, write_atomically
from app.cli.local import store_acl
from app.contract.sealing import new_key

_SECRET_BYTES: Final = 32  #: of randomness in each secret

#: Redis runs as a user of its own, and its file holds nothing but digests of random passwords.
_EVERYONE: Final = 0o644


@click.command("secrets")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--redis",
    default="127.0.0.1:6379",
    show_default=True,
    metavar="HOST:PORT",
    help="Where API and workers reach Redis.",
)
def secrets_command(folder: Path, redis: str) -> None:
    """Make the secrets that the parts of an installation share; those that are there stay.

    \b
    FOLDER/server/mint-client-secret   BATON_MINT_CLIENT_SECRET_FILE of API and issuer
    FOLDER/server/redis-url            BATON_REDIS_URL_FILE of the API
    FOLDER/server/message-keys         BATON_MESSAGE_KEYS_FILE of the API
    FOLDER/worker/message-keys         the same, of the workers
    FOLDER/worker/broker-url           BATON_BROKER_URL_FILE of the workers
    FOLDER/redis/users.acl             `aclfile` of Redis: digests of the passwords

    Give each part its own folder and no other. To change a secret, remove its file, run this again
    and start the parts again.
    """
    server, worker, users = folder / "server", folder / "worker", folder / "redis"
    try:
        for each, mode in ((server, 0o700), (worker, 0o700), (users, 0o755)):
            each.mkdir(mode=mode, parents=True, exist_ok=True)
        client_secret = server / "mint-client-secret"
        if not client_secret.exists():
            write_atomically(client_secret, _fresh(), OWNER)
        _shared_keys(server / "message-keys", worker / "message-keys")
        api = _url(server / "redis-url", store_acl.API, redis)
        workers = _url(worker / "broker-url", store_acl.WORKER, redis)
        lines = (
            store_acl.api_line(api),
            store_acl.worker_line(workers),
            store_acl.HEALTH_LINE,
        )
        write_atomically(users / "users.acl", "\n".join(lines), _EVERYONE)
    except OSError as error:
        raise click.ClickException(f"cannot keep secrets in {folder}: {error}") from error


def _url(path: Path, user: str, redis: str) -> str:
    """Write a user's URL to a file; return its password, which is the file's or a new one."""
    known = urlsplit(path.read_text(encoding="utf-8").strip()).password if path.exists() else None
    password = known or _fresh()
    write_atomically(path, f"redis://{user}:{password}@{redis}/0", OWNER)
    return password


def _shared_keys(path: Path, copy: Path) -> None:
    """Write the same keys to both files: those of the first, or new ones."""
    if not path.exists():
        write_atomically(path, new_key(), OWNER)
    keys = path.read_text(encoding="utf-8").strip()
    if not copy.exists() or copy.read_text(encoding="utf-8").strip() != keys:
        write_atomically(copy, keys, OWNER)


def _fresh() -> str:
    return secrets.token_urlsafe(_SECRET_BYTES)
