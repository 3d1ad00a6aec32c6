"""Stacks for the stories: those that are started once, for tests that leave them as they found
them, and one for a test that breaks things."""

import secrets
from collections.abc import Iterator

import pytest

from tests.e2e.prey import Prey, hunted
from tests.e2e.replicas import Replicas, started
from tests.e2e.user import User
from tests.support.stack import Stack


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with one worker."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        stack.worker()
        yield stack


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of the test's own, without a worker yet: for what stops parts, or counts."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
def ann(shared: Stack) -> Iterator[User]:
    """One whom nobody has seen before."""
    with User(shared, f"ann-{secrets.token_hex(4)}") as user:
        yield user


@pytest.fixture(scope="session")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """A stack with two API processes and no worker."""
    with started(tmp_path_factory.mktemp("stack")) as replicas:
        yield replicas


@pytest.fixture(scope="session")
def prey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prey]:
    with hunted(tmp_path_factory.mktemp("stack")) as prey:
        yield prey
