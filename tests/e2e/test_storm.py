"""A short storm, and a short soak; `make chaos` and `make soak` are the long ones."""

from pathlib import Path

import pytest

from chaos.soak import soak
from chaos.storm import storm
from chaos.verdicts import table

pytestmark = pytest.mark.slow

SEED = 2026


@pytest.mark.timeout(400)
async def test_nothing_is_lost_doubled_or_left_behind_in_a_storm() -> None:
    again = f"python -m chaos --seed {SEED} --seconds 15 --builds 40 --workers 2"
    outcome = await storm(seed=SEED, seconds=15, builds=40, workers=2)
    assert outcome.clean, f"{again}\n{table(outcome.columns)}\nlogs: {outcome.folder}"


@pytest.mark.timeout(300)
async def test_no_key_is_left_that_nothing_refers_to(tmp_path: Path) -> None:
    outcome = await soak(builds=300, first=100, folder=tmp_path)
    assert outcome.clean(), table(outcome.columns)
