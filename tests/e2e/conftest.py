"""Stacks for the stories: one that a file's tests share, and one for a test that breaks things."""

from collections.abc import Iterator

import pytest

from tests.e2e.user import User
from tests.stack import Stack


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with one worker; tests leave it as they found it."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        stack.worker()
        yield stack


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of the test's own, without a worker yet."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
def ann(shared: Stack) -> Iterator[User]:
    with User(shared) as user:
        yield user
