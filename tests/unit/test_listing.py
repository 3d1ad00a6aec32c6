"""Builds in a table, in windows of any width."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from app.cli.display.listing import listing
from app.contract.builds import BuildView, LogView
from app.contract.spec import BuildSpec, Step
from app.contract.status import Status


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def build(number: int, name: str, status: Status = Status.SUCCEEDED) -> BuildView:
    created = datetime.now(UTC) - timedelta(hours=number)
    return BuildView(
        id=f"bld_{number:026}",
        owner="ann",
        status=status,
        spec=BuildSpec(steps=[Step(name=name, run="true")]),
        attempt=1,
        created_at=created,
        started_at=created,
        finished_at=created + timedelta(seconds=61),
        log=LogView(length=0),
    )


BUILDS = [
    build(1, "test"),
    build(2, "a step whose name goes on and on and on and on and on and on", Status.TIMED_OUT),
    build(3, "試験を実行する試験を実行する試験を実行する試験を実行する"),
]


def table(width: int, builds: list[BuildView]) -> list[str]:
    out = Tty()
    listing(builds, Console(file=out, width=width, height=24, color_system=None))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [*range(30, 130), 200])
def test_each_build_is_one_row_with_its_whole_id(width: int) -> None:
    head, *rows = table(width, BUILDS)

    assert head.startswith("build")
    assert [row.split()[0] for row in rows] == [each.id for each in BUILDS]
    assert all(cell_len(line) <= width for line in (head, *rows))


def test_wider_windows_say_more() -> None:
    head = {width: table(width, BUILDS)[0].split() for width in (33, 40, 70, 85, 130)}

    assert head[33] == ["build"]
    assert head[40] == ["build", "age"]
    assert head[70] == ["build", "age", "took", "what"]
    assert head[85] == ["build", "status", "age", "took", "what"]
    assert head[130] == ["build", "status", "created", "age", "took", "what"]
    assert "✓" in table(33, BUILDS)[1]


def test_no_builds_are_a_sentence_for_people() -> None:
    assert table(80, []) == ["no builds"]
