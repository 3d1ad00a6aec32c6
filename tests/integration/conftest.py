"""The API's double, served for the length of a test."""

from collections.abc import Iterator

import pytest

from tests.api_double import Double
from tests.serving import serve


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def url(double: Double) -> Iterator[str]:
    with serve(double.app()) as url:
        yield url
