"""Against losses that others wrote, those that install quickly: scikit-learn's, SciPy's and statsmodels'.

`tools.peer_table` has the rows, and prints them; ``make test-peers`` compares with torch and optax too.
"""

from __future__ import annotations

import pytest

from tools import peer_table

ROWS = peer_table.rows(peer_table.SMALL)
PROOFS = [proof for peer in peer_table.SMALL for proof in peer_table.DIVERGENCES.get(peer, ())]


def test_no_small_peer_is_left_out():
    assert {row.peer for row in ROWS} == set(peer_table.SMALL)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row, rng):
    found = peer_table.compare(row, rng)
    assert found.is_explained(row), found


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.__name__)
def test_divergence(proof):
    assert proof()


def test_a_wrong_result_of_ours_is_not_explained(rng):
    """Nor a difference that the row does not name."""
    row = ROWS[0]
    found = peer_table.compare(row, rng)
    assert not peer_table.Comparison(found.difference, 100.0, found.theirs, found.at).is_explained(row)
    assert not peer_table.Comparison(100.0, 0.5, 100.0, found.at).is_explained(row)
