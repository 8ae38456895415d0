"""A small part of `python -m tools.build_hashes`: the same bits on every build that this CPU runs."""

from __future__ import annotations

import pytest

from cylosses._core import builds
from cylosses.losses import LOSSES
from tools.build_hashes import BEYOND_CACHE, LARGE_WORKS, WORKS, Selection, compare, run_build

# Every loss and work on a block and a tail; long arrays and all thread counts for one loss.
SHORT = Selection(sizes=(1025,), threads=(1,), data=("ordinary", "special"))
LONG = Selection(
    losses=("smooth_l1",),
    works=("value", "mean", "value and gradient", "weighted mean", "axis"),
    sizes=(70_003,),
    data=("whole range",),
)
LARGE = Selection(losses=("huber",), works=LARGE_WORKS, sizes=(BEYOND_CACHE,), threads=(2,), data=("ordinary",))


@pytest.mark.parametrize("selection", [SHORT, LONG, LARGE], ids=["every loss", "long arrays", "past the cache"])
def test_every_build_gives_the_same_bits(selection):
    available = builds.available_builds()
    rows = compare({build: run_build(build, selection) for build in available})
    assert len(rows) == len(selection.losses) * len(selection.dtypes) * len(selection.works)
    assert [line for key, row in rows.items() for line in [key, *row.differing] if row.differing] == []
    # Smooth L1 and the like have a second parameter, the others not; each build adds as many results as the first.
    assert {row.combinations % (len(available) * 4 * len(selection.threads)) for row in rows.values()} == {0}


def test_the_whole_run_covers_every_loss_and_work():
    assert set(Selection().losses) == set(LOSSES)
    assert set(Selection().works) == set(WORKS)


def test_a_result_that_differs_is_reported():
    data = ["l1", "float32", "mean", "ordinary, 31 elements, default"]
    rows = compare(
        {"one": [(data, "1 threads, 0 bytes", "a" * 64), (data, "2 threads, 0 bytes", "b" * 64)], "other": [(data, "1", "a" * 64)]}
    )
    row = rows["l1", "float32", "mean"]
    assert row.combinations == 3
    assert [line for line in row.differing if "b" * 16 in line and "one, 2 threads" in line]
