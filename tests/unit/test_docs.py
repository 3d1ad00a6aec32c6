"""The documents say what the code does."""

import re
from pathlib import Path

import pytest

from tests.support.settings_table import READERS, table

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_table_of_settings_is_what_the_code_reads() -> None:
    document = (ROOT / "docs" / "settings.md").read_text()
    found = re.search(r"settings_table -->\n(.*?)\n?<!-- end of settings", document, re.DOTALL)
    assert found
    assert found[1] == table(), "put the output of `python -m tests.support.settings_table` there"


def test_the_readme_is_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


def test_every_setting_has_its_sentence() -> None:
    for settings in READERS.values():
        for name, field in settings.model_fields.items():
            assert (field.description or "").endswith("."), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_that_is_named_exists(document: Path) -> None:
    known = {f"BATON_{name.upper()}" for s in READERS.values() for name in s.model_fields}
    known |= {f"{name}_FILE" for name in known}
    known |= {
        "BATON_TOKEN",
        "BATON_CONFIG_DIR",
        "BATON_BUILD_ID",
        "BATON_COMMIT",
        "BATON_REF",
        "BATON_ATTEMPT",
    }
    named = set(re.findall(r"\bBATON_[A-Z0-9_]*[A-Z0-9]\b", document.read_text()))
    assert named - {"BATON_X_FILE", "BATON_MINT"} <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_between_documents_leads_to_a_file_and_its_heading(document: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", document.read_text()):
        path = document.parent / target if target else document
        assert path.exists(), target
        assert not heading or heading in headings(path), f"{target}#{heading}"


def headings(path: Path) -> set[str]:
    """As a link names them: in small letters, without signs, with dashes for spaces."""
    found = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}
