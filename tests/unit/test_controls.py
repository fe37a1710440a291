"""Stand-ins for text vectors: equal within a compound, and silent about mechanism where they claim
to be.
"""

import numpy as np
import pytest

from clmt_lib import data
from clmt_lib.io import DataError
from clmt_lib.views.controls import CONTROLS, drug_vectors


@pytest.fixture(scope="module")
def drugs():
    return data.load("simulated", cells=24).drugs


@pytest.mark.parametrize("source", CONTROLS)
def test_ids_of_one_compound_share_a_vector(drugs, source):
    z, compound = drug_vectors(drugs, source), drugs["compound"].factorize()[0]
    assert len(z) == len(drugs) and np.isfinite(z).all() and (len(np.unique(compound)) < len(drugs))
    first = np.unique(compound, return_index=True)[1]
    assert np.array_equal(z, z[first][compound])


def test_shuffled_deals_the_same_vectors_to_other_compounds(drugs):
    honest, shuffled = drug_vectors(drugs), drug_vectors(drugs, "shuffled")
    first = np.unique(drugs["compound"].factorize()[0], return_index=True)[1]
    assert (
        np.array_equal(np.sort(honest[first], axis=0), np.sort(shuffled[first], axis=0))
        and (honest != shuffled).any(1).mean() > 0.5
    )
    assert not np.array_equal(shuffled, drug_vectors(drugs, "shuffled", seed=1))


def test_one_hot_and_random_make_no_two_compounds_alike(drugs):
    for source in ("one_hot", "random"):
        z = np.unique(drug_vectors(drugs, source), axis=0)
        assert np.abs(z @ z.T - np.eye(len(z))).max() < 0.35


def test_unknown_source_names_the_others(drugs):
    with pytest.raises(DataError, match="annotation"):
        drug_vectors(drugs, "horoscope")
