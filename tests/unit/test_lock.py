"""What the image installs is locked, whole, and fits what the package asks for."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()

#: A package with all its lines: `name==version ; marker \` and then hashes.
LOCKED = {
    canonicalize_name(name): (version, hashes)
    for name, version, hashes in re.findall(
        r"^([\w.-]+)==([\w.+]+)[^\\\n]*\\\n((?:    --hash=.*\n)+)", LOCK, re.MULTILINE
    )
}


def test_everything_that_the_package_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + extras["image"] + extras["tracing"]
    for each in map(Requirement, asked):
        version, _ = LOCKED[canonicalize_name(each.name)]
        assert each.specifier.contains(version), f"{each}: {version} is locked; run `make lock`"


def test_every_package_is_pinned_by_its_hashes() -> None:
    packages = set(re.findall(r"^[\w.-]+", LOCK, re.MULTILINE))  # some twice, by Python version
    assert len(packages) == len(LOCKED) > 20
    assert all("sha256:" in hashes for _, hashes in LOCKED.values())


def test_the_lock_names_no_place_to_get_packages_from() -> None:
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_the_image_installs_nothing_else() -> None:
    installs = re.findall(r"pip install (.*)", (ROOT / "Dockerfile").read_text())
    assert len(installs) == 2
    assert "--require-hashes --requirement requirements.lock" in installs[0]
    assert "--no-build-isolation --no-deps ." in installs[1]
