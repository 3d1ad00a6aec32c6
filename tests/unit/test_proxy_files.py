"""The numbers in docs/deploy's files for proxies fit Baton's; `tests/e2e` has what they do."""

import re
from pathlib import Path

import pytest
import uvicorn

from app.config.settings import Settings
from app.contract.runs import MAX_LOG_TAIL

FOLDER = Path(__file__).parents[2] / "docs" / "deploy"
NGINX = sorted(FOLDER.glob("nginx/*.conf"))
CADDY = sorted(FOLDER.glob("caddy/*.Caddyfile"))
ALL = pytest.mark.parametrize("path", NGINX + CADDY, ids=lambda path: path.name)


def number(path: Path, pattern: str) -> int:
    [found] = re.findall(pattern, path.read_text())
    return int(found)


def default(setting: str) -> float:
    found: float = Settings.model_fields[setting].default
    return found


@ALL
def test_a_proxy_closes_an_idle_connection_before_the_api_does(path: Path) -> None:
    kept = number(path, r"\bkeepalive(?:_timeout)? (\d+)s")
    assert kept < uvicorn.Config("").timeout_keep_alive


@ALL
def test_the_largest_body_is_refused_by_the_api(path: Path) -> None:
    megabytes = number(path, r"\b(?:client_max_body_size|max_size) (\d+)(?:m|MB)\b")
    assert megabytes * 1_000_000 > default("max_body") + MAX_LOG_TAIL * 4 / 3


@pytest.mark.parametrize("path", NGINX, ids=lambda path: path.name)
def test_a_followed_log_may_be_silent_for_as_long_as_a_build_may(path: Path) -> None:
    hours = number(path, r"proxy_read_timeout (\d+)h;")
    assert hours * 3600 >= default("max_build_timeout")
