"""The API's double, served for the length of a test, and the embedded issuer, for a file."""

from collections.abc import Iterator

import httpx
import pytest

from app.issuer.application import create_issuer
from tests.support.providers.tenant import config
from tests.support.servers.serving import serve
from tests.support.worker.api_double import Double


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def url(double: Double) -> Iterator[str]:
    with serve(double.app()) as url:
        yield url
        double.ending = True


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The embedded issuer's `iss`, which ends with a slash."""
    with serve(lambda url: create_issuer(config(url))) as url:
        yield f"{url}/"


@pytest.fixture
def http(issuer: str) -> Iterator[httpx.Client]:
    """A client of that issuer."""
    with httpx.Client(base_url=issuer, timeout=30, trust_env=False) as client:
        yield client
