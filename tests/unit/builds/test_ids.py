"""Ids that sort by time."""

from app.builds.ids import PATTERN, BuildIds


def test_ids_of_one_process_rise_even_within_a_millisecond() -> None:
    ids = BuildIds()
    made = [ids.new() for _ in range(5000)]
    assert made == sorted(set(made))
    assert all(PATTERN.match(one) for one in made)


def test_what_is_no_id_is_told_apart() -> None:
    for wrong in ("", "bld_", "bld_" + "0" * 25, "bld_" + "U" * 26, "bld_8" + "0" * 25,
                  BuildIds().new() + "\n", BuildIds().new().lower()):  # fmt: skip
        assert not PATTERN.match(wrong)
