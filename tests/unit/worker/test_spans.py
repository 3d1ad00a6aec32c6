"""A step's span has its name, and nothing of its script."""

import pytest

from app.cli.spec_input import _names
from app.contract.spec import Step
from worker.spans import step_title


@pytest.mark.parametrize(
    ("name", "run", "title"),
    [
        ("test", "make test", "step test"),
        ("make", "make", "step make"),
        ("unit tests", "make test", "step unit tests"),
        ("curl -H 'X: canary'", "curl -H 'X: canary' https://example.com", "step 3"),
        ("curl -H 'X: ca… (2)", "  curl -H 'X: canary' https://example.com", "step 3"),
        ("deploy client_secret=canary", "true", "step deploy client_secret=[secret]"),
    ],
)
def test_a_step_is_named_but_not_by_its_script(name: str, run: str, title: str) -> None:
    assert step_title(3, Step(name=name, run=run)) == title


def test_no_name_that_the_terminal_makes_of_a_script_is_shown() -> None:
    script = "\tcurl\t-H 'X: canary' " + "https://example.com/" * 20
    for name in _names([script] * 3):
        assert "curl" in name
        assert step_title(1, Step(name=name, run=script)) == "step 1"
