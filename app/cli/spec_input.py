"""`from_file` and `from_options` make a build spec of what the user gives to `baton submit`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from app.contract.spec import BuildSpec

#: Characters of a step's name that is made of its script.
_MAX_STEP_NAME: Final = 40


def from_file(path: str) -> BuildSpec:
    """Read the spec in a JSON file, `-` for stdin. Raises `click.UsageError`, which says why."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read the spec: {error}") from None
    try:
        return BuildSpec.model_validate_json(text)
    except ValidationError as error:
        raise _usage_error(error) from None


def from_options(
    *,
    git: str | None,
    ref: str | None,
    sha: str | None,
    scripts: Sequence[str],
    env: Sequence[str],
    labels: Sequence[str],
    timeout: int | None,
) -> BuildSpec:
    """Make the spec that options describe; `timeout` is in seconds.

    Raises `click.UsageError`, which says what is wrong.
    """
    if not scripts:
        raise click.UsageError("nothing to run: give --run 'COMMAND', or a spec file")
    if git is None and (ref or sha):
        raise click.UsageError("--ref and --sha need --git")
    spec: dict[str, Any] = {
        "source": None if git is None else {"git": _url(git), "ref": ref, "sha": sha},
        "steps": [
            {"name": name, "run": script}
            for name, script in zip(_names(scripts), scripts, strict=True)
        ],
        "env": _pairs("--env", env),
        "labels": _pairs("--label", labels),
    }
    if timeout is not None:
        spec["timeout"] = timeout
    try:
        return BuildSpec.model_validate(spec)
    except ValidationError as error:
        raise _usage_error(error) from None


def _url(git: str) -> str:
    """Turn a directory of this machine into a file URL, for a worker on this machine."""
    path = Path(git)
    return path.resolve().as_uri() if "://" not in git and path.is_dir() else git


def _names(scripts: Sequence[str]) -> list[str]:
    """Name each script by its first line, with a number where two are the same."""
    names: list[str] = []
    for script in scripts:
        lines = script.strip().splitlines() or ["(nothing)"]
        printable = "".join(c if c.isprintable() else " " for c in lines[0])
        base = (
            printable
            if len(printable) <= _MAX_STEP_NAME
            else printable[: _MAX_STEP_NAME - 1].rstrip() + "…"
        )
        name = base = base.strip() or "step"
        count = 2
        while name in names:
            name, count = f"{base} ({count})", count + 1
        names.append(name)
    return names


def _pairs(option: str, items: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} takes NAME=VALUE, not {item!r}")
        pairs[name] = value
    return pairs


def _usage_error(error: ValidationError) -> click.UsageError:
    lines = ["the build's spec is not right:"]
    for item in error.errors(include_input=False, include_url=False):
        where = "/".join(str(part) for part in item["loc"]) or "spec"
        lines.append(f"  {where}: {item['msg'].removeprefix('Value error, ')}")
    return click.UsageError("\n".join(lines))
