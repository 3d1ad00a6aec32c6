"""What must hold of docker-compose.yml, as Docker Compose itself reads it."""

import json
import os
import subprocess
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest
from click.testing import CliRunner

from app.cli import baton
from app.issuer.config import IssuerConfig
from tests.support.needs import docker_compose
from tests.support.settings_table import READERS

ROOT: Final = Path(__file__).parents[2]
OURS: Final = ("secrets", "issuer", "api", "worker")
SECRETS: Final = PurePosixPath("/var/lib/baton/secrets")

#: A service, or all of them, as Compose understood them.
Read = dict[str, Any]


def compose(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Compose over the project's file, in an environment that has nothing else to say: `HOME` is
    where Docker looks for its plugins."""
    return subprocess.run(
        [*docker_compose(), "--file", "docker-compose.yml", "--env-file", "/dev/null", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home()), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def read(**environ: str) -> Read:
    done = compose("config", "--format", "json", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    found: Read = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def project() -> Read:
    return read()


@pytest.fixture(scope="module")
def services(project: Read) -> Read:
    found: Read = project["services"]
    return found


def mounts(service: Read) -> dict[str, PurePosixPath]:
    """The volumes of a service, and where it has them."""
    assert all(each["type"] == "volume" for each in service["volumes"])
    return {each["source"]: PurePosixPath(each["target"]) for each in service["volumes"]}


def variables(service: Read) -> dict[str, str]:
    return {
        name: value
        for name, value in service.get("environment", {}).items()
        if name.startswith("BATON_")
    }


def test_the_services_are_those_that_the_documents_name(services: Read) -> None:
    assert set(services) == {*OURS, "redis"}


def test_compose_sees_what_is_wrong() -> None:
    done = compose("config", "--quiet", API_PORT="none")
    assert done.returncode != 0
    assert "none" in done.stderr


def test_a_worker_is_given_no_secret_but_its_brokers_url_and_the_message_key(
    services: Read,
) -> None:
    worker = services["worker"]
    known = {f"BATON_{name.upper()}" for name in READERS["worker"].model_fields}
    assert {name.removesuffix("_FILE") for name in variables(worker)} <= known
    files = {name: value for name, value in variables(worker).items() if name.endswith("_FILE")}
    assert files == {
        "BATON_BROKER_URL_FILE": f"{SECRETS}/worker/broker-url",
        "BATON_MESSAGE_KEYS_FILE": f"{SECRETS}/worker/message-keys",
    }
    assert mounts(worker) == {"worker-secrets": SECRETS / "worker"}
    assert [each["read_only"] for each in worker["volumes"]] == [True]
    assert "secrets" not in worker
    assert "env_file" not in worker


def test_workers_and_the_issuer_that_signs_in_anyone_share_no_network(services: Read) -> None:
    networks = {name: set(each.get("networks", ())) for name, each in services.items()}
    assert networks["worker"]
    assert networks["worker"] & networks["issuer"] == set()
    assert networks["worker"] <= networks["api"]
    assert networks["worker"] <= networks["redis"]
    assert services["secrets"]["network_mode"] == "none"


def test_ports_are_published_on_loopback_alone(services: Read) -> None:
    published = {
        name: [(each["host_ip"], each["published"]) for each in service["ports"]]
        for name, service in services.items()
        if "ports" in service
    }
    assert published == {"api": [("127.0.0.1", "8080")], "issuer": [("127.0.0.1", "8081")]}
    assert not any("host" in str(service.get("network_mode")) for service in services.values())


def test_other_ports_are_other_ports_everywhere() -> None:
    text = json.dumps(read(API_PORT="9100", ISSUER_PORT="9101"))
    assert "8080" not in text
    assert "8081" not in text
    assert text.count("9100") > 5
    assert text.count("9101") > 5


def test_only_the_worker_is_let_out_of_dockers_profiles(services: Read) -> None:
    let_out = {"seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"}
    assert let_out < set(services["worker"]["security_opt"])
    for name, service in services.items():
        assert not service.get("privileged")
        if name != "worker":
            assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", OURS)
def test_every_part_has_no_rights_that_it_could_gain(name: str, services: Read) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"user", "cap_add", "devices", "pid", "ipc", "group_add"} & set(service)


def test_redis_keeps_what_it_is_given(project: Read, services: Read) -> None:
    redis = services["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "everysec"
    assert options["--maxmemory-policy"] == "noeviction"
    assert PurePosixPath(options["--dir"]) == mounts(redis)["redis"]
    assert "redis" in project["volumes"]


def test_every_variable_is_a_setting(services: Read) -> None:
    known = {f"BATON_{name.upper()}" for each in READERS.values() for name in each.model_fields}
    for service in services.values():
        assert {name.removesuffix("_FILE") for name in variables(service)} <= known


def test_the_clients_that_the_api_names_are_the_issuers(services: Read) -> None:
    issuers = {field.name: field.default for field in fields(IssuerConfig)}
    api = variables(services["api"])
    assert api["BATON_DASHBOARD_CLIENT_ID"] == issuers["spa_client_id"]
    assert api["BATON_CLI_CLIENT_ID"] == issuers["cli_client_id"]


def test_every_secret_that_a_part_reads_is_one_that_is_made(services: Read, tmp_path: Path) -> None:
    *command, folder = services["secrets"]["command"]
    assert PurePosixPath(folder) == SECRETS
    result = CliRunner().invoke(baton, [*command, str(tmp_path)])
    assert result.exit_code == 0, result.output
    made = mounts(services["secrets"])

    def origin(file: str, service: Read) -> Path:
        """Where the maker of the secrets put what a service has as `file`."""
        path = PurePosixPath(file)
        [(volume, place)] = [each for each in mounts(service).items() if each[1] in path.parents]
        return tmp_path / (made[volume] / path.relative_to(place)).relative_to(SECRETS)

    files = [
        (value, service)
        for service in services.values()
        for name, value in variables(service).items()
        if name.endswith("_FILE")
    ]
    redis = services["redis"]
    files.append((redis["command"][redis["command"].index("--aclfile") + 1], redis))
    assert len(files) == 7
    for file, service in files:
        assert origin(file, service).is_file(), file
