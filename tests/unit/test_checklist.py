"""The checklist names code and tests that are there, and leaves no rule without either."""

import re
from pathlib import Path

import pytest

from tests.bad_tokens import BAD_TOKENS
from tests.bad_tokens.kinds import NEARLY_BUILDS
from tests.support.definitions import names

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text().partition("\n## The rules, row by row\n")[2]
REFERENCE = re.compile(r"`((?:app|worker|tests)/[\w/.]+\.py)(?:::([\w.]+))?`")
QUOTED = re.compile(r'(bad tokens|nearly) ((?:"[^"]+"(?:, )?)+)')

#: Tables by their headings, and their rows by cells.
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCUMENT.splitlines()
    if line.startswith("|") and not re.match(r"\| ?(§|rule|---)", line) and "|---" not in line
]


REFERENCES = sorted({(path, name) for path, name in REFERENCE.findall(DOCUMENT)})


@pytest.mark.parametrize(("path", "name"), REFERENCES, ids="::".join)
def test_what_the_checklist_names_is_there(path: str, name: str) -> None:
    assert (ROOT / path).is_file(), path
    assert not name or name in names(ROOT / path), f"{path} has no {name}"


def test_the_cases_that_it_names_are_in_their_tables() -> None:
    tables = {"bad tokens": BAD_TOKENS.keys(), "nearly": NEARLY_BUILDS.keys()}
    found = QUOTED.findall(DOCUMENT)
    quoted = [(table, case) for table, cases in found for case in cases.split('"')[1::2]]
    assert len(quoted) > 100
    for table, case in quoted:
        assert case in tables[table], f"{table} has no {case!r}"


def test_every_rule_has_code_that_obeys_it_and_something_that_shows_it() -> None:
    assert len(ROWS) > 60
    for *_, rule, code, shown in ROWS:
        places = [path for path, _ in REFERENCE.findall(code)]
        assert places and all(path.startswith(("app/", "worker/")) for path in places), rule
        tests = [path for path, name in REFERENCE.findall(shown) if name.startswith("test_")]
        assert tests or QUOTED.search(shown), rule
        assert all(path.startswith("tests/") for path, _ in REFERENCE.findall(shown)), rule


@pytest.mark.parametrize("rfc", ["6750", "7515", "7519", "8725", "9068", "9700", "9728"])
def test_no_rfc_is_left_out(rfc: str) -> None:
    headings = [line for line in DOCUMENT.splitlines() if line.startswith("### ")]
    assert any(rfc in heading for heading in headings)
