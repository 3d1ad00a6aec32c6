"""The Auth0 Action under Node, its twin in the embedded issuer, and the page that explains it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from app.builds.ids import BuildIds
from app.config.lifetime import DISPATCH_MARGIN, Timing, timers
from app.config.settings import Settings
from app.issuer.auth0_claims import ActionSecrets, added_claims
from app.issuer.errors import OAuthError
from tests.support.needs import needs

REPOSITORY: Final = Path(__file__).parents[2]
ACTION: Final = REPOSITORY / "docs" / "auth0" / "credentials-exchange.js"
PAGE: Final = REPOSITORY / "docs" / "auth0.md"

AUDIENCE: Final = "https://builds.example.com/"
CLIENT: Final = "the-build-service"
BUILD: Final = "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV"
SECRETS: Final = {"BUILD_AUDIENCE": AUDIENCE, "BUILD_CLIENT_ID": CLIENT}

#: Runs the Action once for each event on stdin; says what it did to `api`, in order.
RUNNER: Final = """
const { onExecuteCredentialsExchange } = require(process.argv[1]);
const run = async (event) => {
  const done = [];
  await onExecuteCredentialsExchange(event, {
    access: { deny: (code, reason) => done.push(['deny', code, reason]) },
    accessToken: { setCustomClaim: (name, value) => done.push(['claim', name, value]) },
  });
  return done;
};
const events = JSON.parse(require('fs').readFileSync(0, 'utf8'));
Promise.all(events.map(run)).then((verdicts) => console.log(JSON.stringify(verdicts)));
"""

Did = list[list[str]]


def event(
    body: dict[str, Any] | None,
    *,
    client: str = CLIENT,
    audience: str = AUDIENCE,
    secrets: dict[str, str] = SECRETS,
) -> dict[str, Any]:
    """What Auth0 hands to the Action, as far as it looks."""
    return {
        "request": {"body": body},
        "client": {"client_id": client},
        "resource_server": {"identifier": audience},
        "secrets": secrets,
    }


def asked(user_id: object = "auth0|ann", build_id: object = BUILD) -> dict[str, Any]:
    return {"grant_type": "client_credentials", "user_id": user_id, "build_id": build_id}


def under_node(events: list[dict[str, Any]]) -> list[Did]:
    found = subprocess.run(
        [needs("node"), "-e", RUNNER, str(ACTION)],
        input=json.dumps(events),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    verdicts: list[Did] = json.loads(found.stdout)
    return verdicts


def in_the_twin(happened: dict[str, Any]) -> Did:
    secrets = happened["secrets"]
    try:
        claims = added_claims(
            ActionSecrets(
                build_audience=secrets["BUILD_AUDIENCE"],
                build_client_id=secrets["BUILD_CLIENT_ID"],
                claim_namespace=secrets.get("CLAIM_NAMESPACE", "https://example.com/"),
            ),
            audience=happened["resource_server"]["identifier"],
            client_id=happened["client"]["client_id"],
            body=happened["request"]["body"] or {},
        )
    except OAuthError as error:
        return [["deny", error.code, error.description]]
    return [["claim", name, value] for name, value in claims.items()]


def claims(user_id: str = "auth0|ann", namespace: str = "https://example.com/") -> Did:
    return [
        ["claim", f"{namespace}user_id", user_id],
        ["claim", f"{namespace}build_id", BUILD],
    ]


NOTHING: Final[Did] = []
STRANGER: Final[Did] = [
    ["deny", "invalid_request", "this client may not send user_id or build_id for this API"]
]
BAD_USER: Final[Did] = [["deny", "invalid_request", "user_id is missing or not like provider|id"]]
BAD_BUILD: Final[Did] = [["deny", "invalid_request", "build_id is missing or malformed"]]

GOOD_USERS: Final = (
    "auth0|507f1f77bcf86cd799439020",
    "google-oauth2|103547991597142817347",
    "github|1234",
    "waad|fJAxuL_bnOtTJ-3iPFnNFAQA",
    "samlp|corp-okta|ann@example.com",
    "oidc|corp|00u1a2b3c4:5/6+7=",
    "ad|CORP|CORP\\ann",
    "adfs|corp|CN=Ann Smith,OU=Builds,O=Example",
    "email|5f7c8ec7c33c6c004bbafe82",
    "MyConnection1|änn",
    "auth0|" + "x" * 190,
    "auth0|\N{GRINNING FACE}" + "x" * 189,
    "p" * 64 + "|x",
)
BAD_USERS: Final = (
    "",
    "ann",
    "the-build-service@clients",
    "auth0|",
    "|ann",
    "auth 0|ann",
    "auth0\n|ann",
    "auth0|ann\n",
    "auth0|ann\0",
    "auth0|a\tb",
    "auth0|a\u2028b",
    "auth0|a\u200bb",
    "auth0|a\u202eb",
    "auth0|a\u00a0b",
    "auth0|\ud800",
    "auth0|" + "x" * 191,
    "p" * 65 + "|x",
    "änn|x",
    None,
    1,
    True,
    ["auth0|ann"],
    {"auth0|ann": 1},
)
BAD_BUILDS: Final = (
    "",
    "bld_",
    BUILD.lower(),
    BUILD[:-1],
    BUILD + "0",
    BUILD + "\n",
    BUILD[:-1] + "I",
    BUILD.removeprefix("bld_"),
    "x" + BUILD,
    None,
    1,
    [BUILD],
)

TABLE: Final[list[tuple[str, dict[str, Any], Did]]] = [
    ("the build service's request", event(asked()), claims()),
    (
        "another namespace",
        event(asked(), secrets=SECRETS | {"CLAIM_NAMESPACE": "https://ci.test/"}),
        claims(namespace="https://ci.test/"),
    ),
    ("another API", event(asked(), audience="https://api.example.com/"), NOTHING),
    ("another API with its slash missing", event(asked(), audience=AUDIENCE[:-1]), NOTHING),
    ("another API, another client", event(asked(), client="x", audience="y"), NOTHING),
    ("another client that claims nothing", event({"scope": "x"}, client="x"), NOTHING),
    ("another client without a body", event(None, client="x"), NOTHING),
    ("another client that claims both", event(asked(), client="x"), STRANGER),
    ("another client, a user", event({"user_id": "auth0|ann"}, client="x"), STRANGER),
    ("another client, a build", event({"build_id": BUILD}, client="x"), STRANGER),
    ("another client, an empty user", event({"user_id": ""}, client="x"), STRANGER),
    ("another client, a null user", event({"user_id": None}, client="x"), STRANGER),
    ("a client that is like ours", event(asked(), client=CLIENT.upper()), STRANGER),
    ("no body", event(None), BAD_USER),
    ("no user", event({"build_id": BUILD}), BAD_USER),
    ("no build", event({"user_id": "auth0|ann"}), BAD_BUILD),
    *((f"user {user!a}", event(asked(user)), claims(user)) for user in GOOD_USERS),
    *((f"no user {user!a}", event(asked(user)), BAD_USER) for user in BAD_USERS),
    *((f"no build {build!a}", event(asked(build_id=build)), BAD_BUILD) for build in BAD_BUILDS),
]
CASES: Final = [pytest.param(happened, did, id=name) for name, happened, did in TABLE]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Did]:
    """What the Action did with every event of the table, in one Node process."""
    events = [happened for _, happened, _ in TABLE]
    found = under_node(events)
    return {json.dumps(one): did for one, did in zip(events, found, strict=True)}


@pytest.mark.parametrize(("happened", "did"), CASES)
def test_the_action_rules_as_the_table_says(
    verdicts: dict[str, Did], happened: dict[str, Any], did: Did
) -> None:
    assert verdicts[json.dumps(happened)] == did


@pytest.mark.parametrize(("happened", "did"), CASES)
def test_the_twin_rules_as_the_table_says(happened: dict[str, Any], did: Did) -> None:
    assert in_the_twin(happened) == did


def test_the_action_takes_the_ids_that_builds_really_have() -> None:
    ids = BuildIds()
    made = [ids.new() for _ in range(50)]
    for build_id, did in zip(
        made, under_node([event(asked(build_id=i)) for i in made]), strict=True
    ):
        assert did[1] == ["claim", "https://example.com/build_id", build_id]


@pytest.mark.parametrize("missing", ["BUILD_AUDIENCE", "BUILD_CLIENT_ID"])
def test_the_action_without_a_secret_adds_no_claim(missing: str) -> None:
    secrets = {name: value for name, value in SECRETS.items() if name != missing}
    [did] = under_node([event(asked(), secrets=secrets)])
    assert not [what for what, *_ in did if what == "claim"]


# ── docs/auth0.md ─────────────────────────────────────────────────────────────────────────────


def default(name: str) -> float:
    value: float = Settings.model_fields[name].default
    return value


def test_the_page_has_the_sum_that_the_defaults_make() -> None:
    names = ("queue_ttl", "kill_grace", "report_window", "leeway")
    timing = Timing(**{name: default(name) for name in names})
    needed = timers(timing, default("max_build_timeout")).token_lifetime
    parts = [
        default("queue_ttl"), default("max_build_timeout"), default("kill_grace"),
        default("report_window"), default("leeway"), DISPATCH_MARGIN,
    ]  # fmt: skip
    assert f"{'+'.join(f'{part:g}' for part in parts)}={needed:g} s" in PAGE.read_text()


def test_the_page_names_only_settings_that_there_are() -> None:
    named = set(re.findall(r"BATON_([A-Z_]+[A-Z])", PAGE.read_text()))
    known = {name.upper() for name in Settings.model_fields}
    assert {name.removesuffix("_FILE") if name not in known else name for name in named} <= known
    assert {"ISSUER", "AUDIENCE", "MINTER", "MINT_CLIENT_ID", "MINT_AUDIENCE"} <= named


def test_the_page_names_every_secret_of_the_action() -> None:
    page = PAGE.read_text()
    secrets = re.search(r"const \{ (.+) \} = event\.secrets", ACTION.read_text())
    assert secrets
    assert all(f"`{name}`" in page for name in secrets[1].split(", "))
