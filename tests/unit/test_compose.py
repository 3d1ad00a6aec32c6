"""What must hold of the compose file, read as text."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import baton
from app.issuer.config import IssuerConfig
from tests.support.settings_table import READERS

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SECRETS = "/var/lib/baton/secrets/"


def _section(name: str, text: str = COMPOSE, *, indent: int = 0) -> str:
    """What stands below a key, up to the next key of the same level."""
    margin = " " * indent
    found = re.search(rf"^{margin}{name}:.*\n((?:{margin} .*\n|\s*\n)+)", text, re.MULTILINE)
    assert found, f"there is no {name}"
    return found[1]


def _service(name: str) -> str:
    return _section(name, _section("services"), indent=2)


def _variables(text: str) -> set[str]:
    return set(re.findall(r"^ +(BATON_[A-Z_]+):", text, re.MULTILINE))


def test_a_worker_is_given_no_secret_but_its_brokers_url_and_the_message_key() -> None:
    worker = _service("worker")
    known = {f"BATON_{name.upper()}" for name in READERS["worker"].model_fields}
    assert {name.removesuffix("_FILE") for name in _variables(worker)} <= known
    assert not re.search(r"REDIS_URL|MINT|ISSUER|\*tokens|server-secrets|keys:", worker)
    assert re.findall(rf"{SECRETS}\S*", worker) == [
        f"{SECRETS}worker/broker-url",
        f"{SECRETS}worker/message-keys",
        f'{SECRETS}worker:ro"]',
    ]


def test_workers_and_the_issuer_that_signs_in_anyone_share_no_network() -> None:
    networks = {
        name: set(re.findall(r"\w+", found[1]))
        for name in ("worker", "issuer", "api", "redis")
        if (found := re.search(r"networks: \[(.*)\]", _service(name)))
    }
    assert networks["worker"] & networks["issuer"] == set()
    assert networks["worker"] <= networks["api"]
    assert networks["worker"] <= networks["redis"]


def test_ports_are_published_on_loopback_alone() -> None:
    published = re.findall(r"ports: \[(.*)\]", COMPOSE)
    assert len(published) == 2
    assert all(re.fullmatch(r'"127\.0\.0\.1:[^",]+"', ports) for ports in published)


def test_only_the_worker_is_let_out_of_dockers_profiles() -> None:
    let_out = {"seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"}
    assert let_out <= set(_service("worker").split())
    assert all(COMPOSE.count(option) == 1 for option in let_out)
    assert "privileged:" not in COMPOSE


@pytest.mark.parametrize("service", ["secrets", "issuer", "api", "worker"])
def test_every_part_has_no_rights_that_it_could_gain(service: str) -> None:
    shared = _section("x-baton")
    own = _service(service)
    assert "<<: *baton" in own
    assert {"read_only: true", "cap_drop: [ALL]"} <= {line.strip() for line in shared.splitlines()}
    assert "no-new-privileges:true" in (own if "security_opt" in own else shared)
    assert not re.search(r"^\s+(user|cap_add|read_only|cap_drop):", own, re.MULTILINE)


def test_redis_keeps_what_it_is_given() -> None:
    redis = _service("redis")
    assert "--appendonly yes" in redis
    assert "--appendfsync everysec" in redis
    assert "--maxmemory-policy noeviction" in redis
    assert '"redis:/data"' in redis
    assert "\n  redis:\n" in COMPOSE[COMPOSE.index("\nvolumes:") :]


def test_every_variable_is_a_setting() -> None:
    known = {f"BATON_{name.upper()}" for each in READERS.values() for name in each.model_fields}
    assert {name.removesuffix("_FILE") for name in _variables(COMPOSE)} <= known


def test_the_clients_that_the_api_names_are_the_issuers() -> None:
    issuers = {field.name: field.default for field in fields(IssuerConfig)}
    api = _service("api")
    assert f"BATON_DASHBOARD_CLIENT_ID: {issuers['spa_client_id']}\n" in api
    assert f"BATON_CLI_CLIENT_ID: {issuers['cli_client_id']}\n" in api


def test_every_secret_that_a_part_reads_is_one_that_is_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(baton, ["secrets", "--redis", "redis:6379", str(tmp_path)])
    assert result.exit_code == 0, result.output
    read = re.findall(rf"_FILE: {SECRETS}(\S+)", COMPOSE)
    assert len(read) == 5
    for name in read:
        assert (tmp_path / name).is_file(), name
    assert (tmp_path / "redis" / "users.acl").is_file()
    assert '"redis-users:/etc/baton:ro"' in _service("redis")
    assert "--aclfile /etc/baton/users.acl" in _service("redis")
