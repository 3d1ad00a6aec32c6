"""`baton doctor` on real parts: what it says when all is well, and of each thing that is not."""

import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import redis

from app.contract.doctor import Finding, Mark
from app.contract.sealing import new_key
from app.doctor.checks import examine
from app.errors import SettingsError
from tests.integration.dev_process import BATON, Dev, environment
from tests.support.providers.authority import Authority
from tests.support.providers.exchanging_authority import WORKERS, ExchangingAuthority
from tests.support.providers.minting_bench import AUDIENCE, SECRET, Provider
from tests.support.servers.redis_process import RedisProcess, free_port
from tests.support.servers.scripted_server import hangs, says, scripted
from tests.support.stack import Stack
from tests.support.terminal.commands import run

Environ = dict[str, str]


def doctor(environ: Environ, *arguments: str) -> tuple[int, list[Finding], str]:
    """The command's exit code, what it found, and all that it wrote."""
    done = run(environ, "doctor", "--json", *arguments)
    report = json.loads(done.stdout)
    found = [Finding.model_validate(each) for each in report["findings"]]
    assert report["ok"] == all(each.mark is not Mark.WRONG for each in found)
    return done.returncode, found, (done.stdout + done.stderr).decode()


def of(findings: list[Finding], check: str) -> Finding:
    """The one finding about `check`; where there are several, the one that is wrong."""
    about = [each for each in findings if each.check == check]
    return next((each for each in about if each.mark is Mark.WRONG), about[0])


def wrong(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.check, each.sentence) for each in findings if each.mark is Mark.WRONG]


# ── the whole service ─────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def test_all_is_well_and_no_secret_is_shown(stack: Stack) -> None:
    token = stack.token()
    code, found, written = doctor({**stack.api.env, "BATON_TOKEN": token})
    assert (code, wrong(found)) == (0, [])
    minting = of(found, "minting").sentence
    assert "https://example.com/user_id and https://example.com/build_id" in minting
    assert "scope update:builds" in minting
    assert of(found, "user token").mark is Mark.OK
    assert len([each for each in found if each.check == "clocks"]) == 3
    for secret in (token, "eyJ", "the-secret-of-the-tests", stack.api.env["BATON_MESSAGE_KEYS"]):
        assert secret not in written


def test_a_person_reads_lines_without_colours_in_a_pipe(stack: Stack) -> None:
    env = {**stack.api.env, "PYTHONIOENCODING": "utf-8", "BATON_DASHBOARD_CLIENT_ID": ""}
    done = subprocess.run(
        [BATON, "doctor"], env=env, check=False, capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1] == "nothing is wrong"
    assert "\x1b" not in done.stdout
    assert any(line.startswith("✓ store ") for line in lines)
    unset = next(i for i, line in enumerate(lines) if line.startswith("\N{EN DASH} dashboard "))
    assert "→ set it to a public client's id" in lines[unset + 1]


def test_an_output_without_those_signs_gets_plain_ones(stack: Stack) -> None:
    env = {**stack.api.env, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([BATON, "doctor"], env=env, check=False, capture_output=True, timeout=120)
    assert done.returncode == 0
    assert done.stdout.startswith(b"+ store ")


def test_a_worker_that_cannot_run_builds_says_so(stack: Stack) -> None:
    worker = environment(
        BATON_BROKER_URL=stack.redis.url,
        BATON_API_URL=stack.api_url,
        BATON_MESSAGE_KEYS=stack.api.env["BATON_MESSAGE_KEYS"],
        BATON_SANDBOX="bubblewrap",
        PATH="/nonexistent",
    )
    code, found, _ = doctor(worker, "--worker")
    assert code == 1
    assert [check for check, _ in wrong(found)] == ["sandbox"]
    assert "builds cannot run here" in of(found, "sandbox").sentence
    shown = of(found, "message keys").sentence
    _, ours, _ = doctor(stack.api.env)
    fingerprint = of(ours, "message keys").sentence.split()[2].strip(";")
    assert fingerprint in shown
    # On a machine that need not run builds, the same is no fault.
    code, found, _ = doctor(
        {**stack.api.env, "BATON_SANDBOX": "bubblewrap", "PATH": "/nonexistent"}
    )
    assert code == 0
    assert of(found, "sandbox").mark is Mark.UNTRIED


def test_an_api_that_was_started_with_other_settings_is_told_apart(stack: Stack) -> None:
    bare = stack.issuer_url.rstrip("/")
    code, found, _ = doctor({**stack.api.env, "BATON_ISSUER": bare})
    assert code == 1
    assert "slash at the end counts" in of(found, "issuer").sentence
    assert f"its issuer is {stack.issuer_url}" in of(found, "API").sentence
    # The token comes from an issuer that these settings do not trust.
    assert "the token's issuer is not trusted here" in of(found, "minting").sentence


def test_each_wrong_setting_is_a_finding() -> None:
    code, found, _ = doctor(environment(BATON_PORT="many", BATON_REDIS_URL="http://x"))
    assert code == 2
    said = "\n".join(sentence for _, sentence in wrong(found))
    assert said.count("\n") >= 3
    for name in ("BATON_PORT", "BATON_REDIS_URL", "BATON_ISSUER", "BATON_AUDIENCE"):
        assert name in said


def test_a_worker_without_settings_is_told(stack: Stack) -> None:
    code, found, _ = doctor(environment(BATON_API_URL=stack.api_url), "--worker")
    assert code == 2
    assert "BATON_BROKER_URL" in of(found, "worker settings").sentence


def test_it_looks_at_a_running_dev_and_at_none_that_is_over(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Dev(data) as dev:
        dev.wait_ready()
        assert (data / "api-settings.json").stat().st_mode & 0o777 == 0o600
        proxied = environment(HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="")
        code, found, _ = doctor(proxied, "--data", str(data))
        assert (code, wrong(found)) == (0, [])
    assert not (data / "api-settings.json").exists()
    done = run(environment(), "doctor", "--data", str(data))
    assert done.returncode == 2
    assert b"no `baton dev` is running" in done.stderr


# ── one part that is wrong ────────────────────────────────────────────────────────────────────


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path) as server:
        yield server


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with scripted(hangs) as server:
        provider = Provider(server=server)
        server.answer = _discoverable(provider, {"issuer": provider.issuer})
        yield provider


def _discoverable(provider: Provider, document: dict[str, Any], ahead: float = 0) -> Any:
    """The provider's answers, and its discovery document; its clock may be ahead (seconds)."""

    async def answer(request: Any, writer: Any) -> None:
        if request.path.endswith("/openid-configuration"):
            await says(document)(request, writer)
        elif request.path == "/keys" and ahead:
            date = formatdate(time.time() + ahead, usegmt=True)
            await says({"keys": []}, headers={"Date": date})(request, writer)
        else:
            await provider.answer(request, writer)

    return answer


def settings(store: RedisProcess, provider: Provider, **changes: str) -> Environ:
    url = provider.server.url
    return {
        "BATON_REDIS_URL": store.url,
        "BATON_API_URL": f"http://127.0.0.1:{free_port()}",
        "BATON_MESSAGE_KEYS": new_key(),
        "BATON_ISSUER": provider.issuer,
        "BATON_AUDIENCE": AUDIENCE,
        "BATON_JWKS_URL": f"{url}/keys",
        "BATON_MINT_TOKEN_URL": f"{url}/oauth/token",
        "BATON_MINT_CLIENT_SECRET": SECRET,
        "BATON_SANDBOX": "process",
    } | changes


async def test_an_api_that_is_away_does_not_stop_the_rest(
    store: RedisProcess, provider: Provider
) -> None:
    found = await examine(settings(store, provider))
    assert [check for check, _ in wrong(found)] == ["API"]
    assert of(found, "minting").mark is Mark.OK
    assert of(found, "issuer").mark is Mark.OK


async def test_a_store_that_is_away(store: RedisProcess, provider: Provider) -> None:
    store.stop(signal.SIGKILL)
    found = await examine(settings(store, provider))
    assert "does not answer" in of(found, "store").sentence
    assert "BATON_REDIS_URL" in (of(found, "store").advice or "")
    assert of(found, "broker").mark is Mark.WRONG
    assert of(found, "minting").mark is Mark.OK


async def test_a_wrong_password(store: RedisProcess, provider: Provider) -> None:
    with redis.Redis.from_url(store.url) as client:
        client.config_set("requirepass", "right-one")
    url = f"redis://:wrong-one@127.0.0.1:{store.port}/0"
    found = await examine(settings(store, provider, BATON_REDIS_URL=url))
    assert "does not let us in" in of(found, "store").sentence
    assert of(found, "broker").mark is Mark.WRONG
    assert "wrong-one" not in "".join(each.model_dump_json() for each in found)


async def test_a_store_that_forgets(store: RedisProcess, provider: Provider) -> None:
    with redis.Redis.from_url(store.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
    found = await examine(settings(store, provider))
    assert "allkeys-lru" in of(found, "store memory").sentence
    assert "append-only" in of(found, "store persistence").sentence


async def test_an_issuer_whose_slash_is_missing(store: RedisProcess, provider: Provider) -> None:
    bare = provider.issuer.rstrip("/")
    issuer = of(await examine(settings(store, provider, BATON_ISSUER=bare)), "issuer")
    assert issuer.mark is Mark.WRONG and "slash at the end counts" in issuer.sentence
    assert issuer.advice == f"set BATON_ISSUER={provider.issuer}"


async def test_an_issuer_with_another_address_in_here_is_found_beside_its_keys(
    store: RedisProcess, provider: Provider
) -> None:
    """As in Docker Compose, where nobody answers at the name that browsers know it by."""
    outside = f"http://127.0.0.1:{free_port()}/"
    provider.server.answer = _discoverable(provider, {"issuer": outside})
    keys = f"{provider.server.url}/.well-known/jwks.json"
    found = await examine(
        settings(store, provider, BATON_ISSUER=outside, BATON_JWKS_URL=keys), most=10
    )
    assert of(found, "issuer").mark is Mark.OK


async def test_an_issuer_without_usable_keys_and_with_a_clock_ahead(
    store: RedisProcess, provider: Provider
) -> None:
    provider.server.answer = _discoverable(provider, {"issuer": provider.issuer}, ahead=95)
    found = await examine(settings(store, provider))
    assert "none of the 0" in of(found, "issuer's keys").sentence
    clocks = of(found, "clocks")
    assert clocks.mark is Mark.WRONG and "the issuer's clock is 9" in clocks.sentence
    assert "ahead of" in clocks.sentence and "NTP" in (clocks.advice or "")


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"https://example.com/build_id": None}, "no claim https://example.com/build_id"),
        ({"scope": "update:builds read:builds"}, "instead of exactly 'update:builds'"),
        ({"aud": [AUDIENCE, "https://other.example.com/"]}, "instead of only"),
        ({"azp": "somebody-else"}, "BATON_MINT_CLIENT_ID"),
    ],
    ids=["no claim", "wide scope", "two audiences", "another client"],
)
async def test_a_provider_whose_token_does_not_fit(
    store: RedisProcess, provider: Provider, mistake: dict[str, Any], said: str
) -> None:
    provider.changes = mistake
    minting = of(await examine(settings(store, provider)), "minting")
    assert minting.mark is Mark.WRONG
    assert said in minting.sentence
    assert "docs/auth0.md" in (minting.advice or "")
    assert "eyJ" not in minting.model_dump_json()


async def test_a_provider_whose_tokens_are_short_lived(
    store: RedisProcess, provider: Provider
) -> None:
    provider.lifetime = 3600
    minting = of(await examine(settings(store, provider)), "minting")
    assert "the token lasts 3600 s" in minting.sentence
    assert "BATON_MAX_BUILD_TIMEOUT" in minting.sentence
    shorter = settings(store, provider, BATON_MAX_BUILD_TIMEOUT="600")
    assert of(await examine(shorter), "minting").mark is Mark.OK


async def test_a_provider_that_never_answers_holds_up_nobody(
    store: RedisProcess, provider: Provider
) -> None:
    provider.server.answer = hangs
    found = await examine(settings(store, provider), most=3)
    assert of(found, "issuer").sentence == "no answer within 3 s"
    assert of(found, "minting").sentence == "no answer within 3 s"
    assert of(found, "store").mark is Mark.OK


async def test_something_else_at_the_apis_address(store: RedisProcess, provider: Provider) -> None:
    async with scripted(says(b"<h1>hello</h1>", kind="text/html")) as other:
        found = await examine(settings(store, provider, BATON_API_URL=other.url))
    assert "it is not Baton" in of(found, "API").sentence


async def test_an_own_key_signs_and_a_missing_one_is_not_made(
    store: RedisProcess, provider: Provider, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    local = settings(store, provider, BATON_MINTER="local", BATON_MINT_KEY_FILE=str(path))
    assert of(await examine(local), "minting").mark is Mark.UNTRIED
    assert not path.exists()
    path.write_text("no key")
    assert "BATON_MINT_KEY_FILE" in of(await examine(local), "minting").sentence


async def test_exchanging_needs_a_users_token(store: RedisProcess) -> None:
    with ExchangingAuthority() as authority:
        environ = {
            "BATON_REDIS_URL": store.url,
            "BATON_API_URL": f"http://127.0.0.1:{free_port()}",
            "BATON_MESSAGE_KEYS": new_key(),
            "BATON_ISSUER": authority.issuer,
            "BATON_AUDIENCE": AUDIENCE,
            "BATON_MINTER": "token_exchange",
            "BATON_MINT_AUDIENCE": WORKERS,
            "BATON_MINT_CLIENT_SECRET": "s3cret",
        }
        without = of(await examine(environ), "minting")
        assert without.mark is Mark.UNTRIED and "BATON_TOKEN" in (without.advice or "")
        found = await examine(environ, authority.sign(authority.user_claims()))
        assert of(found, "minting").mark is Mark.OK
        authority.changes = {"scope": "update:builds admin"}
        found = await examine(environ, authority.sign(authority.user_claims()))
        assert "widened the token by scope 'admin'" in of(found, "minting").sentence
        refused = await examine(environ, _expired(authority))
        assert "not accepted" in of(refused, "user token").sentence
        assert of(refused, "minting").mark is Mark.UNTRIED


def _expired(authority: Authority) -> str:
    past = int(time.time()) - 7200
    return authority.sign(authority.user_claims(iat=past, exp=past + 60))


async def test_settings_that_disagree_are_refused_as_at_the_start(
    store: RedisProcess, provider: Provider
) -> None:
    with pytest.raises(SettingsError, match="BATON_REPORT_WINDOW"):
        await examine(settings(store, provider, BATON_REPORT_WINDOW="1"))
