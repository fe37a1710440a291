"""The text view: a verified encoder, pooling without padding, a cache by content. What the texts
say is in test_descriptions.
"""

import math

import numpy as np
import pytest

from clmt_lib import data
from clmt_lib.data.response import simulated
from clmt_lib.io import DataError
from clmt_lib.views import text
from clmt_lib.views.controls import CONTROLS, drug_vectors

TEXTS = [
    "A drug that acts on EGFR, in the pathway: EGFR signaling.",
    "A drug.",
    "It blocks the proteasome, so that unfolded proteins fill the endoplasmic reticulum.",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLMT_CACHE", str(tmp_path / "cache"))


# pooling


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_mean_pool_is_the_plain_loop_and_ignores_padding(kind):
    import torch

    rng = np.random.default_rng(0)
    hidden, length = rng.normal(size=(5, 9, 4)), rng.integers(1, 10, 5)
    mask = (np.arange(9)[None] < length[:, None]).astype(float)
    loop = np.array(
        [
            np.mean([vector for vector, real in zip(rows, marks) if real], axis=0)
            for rows, marks in zip(hidden, mask)
        ]
    )
    wrap = torch.as_tensor if kind == "torch" else np.asarray
    assert np.allclose(text.mean_pool(wrap(hidden), wrap(mask)), loop, atol=1e-12)
    hidden[mask == 0] = 1e6
    assert np.allclose(text.mean_pool(wrap(hidden), wrap(mask)), loop, atol=1e-12)


def test_centred_takes_the_mean_of_the_named_rows_and_keeps_missing_ones_missing():
    z = np.random.default_rng(1).normal(3.0, 1.0, (6, 5))
    z[2] = 0
    all_rows, some = text.centred(z), text.centred(z, rows=[0, 1, 2])
    assert np.allclose(np.linalg.norm(all_rows, axis=1), [1, 1, 0, 1, 1, 1]) and not some[2].any()
    moved = z[[0, 1, 3, 4, 5]] - z[[0, 1, 3, 4, 5]].mean(0)
    assert np.allclose(
        all_rows[[0, 1, 3, 4, 5]], moved / np.linalg.norm(moved, axis=1, keepdims=True)
    )
    other = z.copy()
    other[4:] += 7  # rows that do not count change no other row
    assert np.array_equal(text.centred(other, rows=[0, 1, 2])[:4], some[:4])
    assert not text.centred(np.zeros((2, 3))).any()


# the encoder


def test_encode_is_the_mean_over_tokens_and_a_missing_text_is_zeros():
    z = text.encode([TEXTS[1], None, TEXTS[0], TEXTS[1]])
    words, hidden, mask = text.token_vectors([TEXTS[1], TEXTS[0]])
    assert (
        z.shape == (4, 384)
        and z.dtype == np.float32
        and not z[1].any()
        and np.array_equal(z[0], z[3])
    )
    assert np.allclose(z[[0, 2]], text.mean_pool(hidden, mask), atol=1e-5)
    assert words[0][:5] == ["[CLS]", "a", "drug", ".", "[SEP]"] and set(words[0][5:]) == {"[PAD]"}
    assert mask.sum(1).tolist() == text.token_counts([TEXTS[1], TEXTS[0]]).tolist()


def test_an_embedding_does_not_depend_on_its_batch_mates():
    alone = text.mean_pool(*text.token_vectors(TEXTS[1:2])[1:])[0]
    for mates in (TEXTS, TEXTS[::-1], [TEXTS[1], TEXTS[2] * 12]):
        words, hidden, mask = text.token_vectors(mates)
        row = mates.index(TEXTS[1])
        assert mask[row].sum() < mask.shape[1]  # it is padded
        assert np.abs(text.mean_pool(hidden, mask)[row] - alone).max() < 1e-5
    assert not np.allclose(
        text.token_vectors(mates)[1].mean(1)[0], alone, atol=1e-2
    )  # the padding would have mattered


def test_an_encoded_text_is_the_same_to_the_last_bit_in_any_company():
    alone = text.encode(TEXTS[1:2], cache=False)[0]
    for mates in (TEXTS, [TEXTS[1], TEXTS[2] * 12]):
        assert text.encode(mates, cache=False)[mates.index(TEXTS[1])].tobytes() == alone.tobytes()


def test_embeddings_are_cached_by_content(monkeypatch, tmp_path):
    first = text.encode(TEXTS)
    monkeypatch.setattr(text, "_embed", lambda *given: pytest.fail("read again"))
    assert np.array_equal(text.encode(TEXTS[::-1])[::-1], first)
    assert len(list((tmp_path / "cache").glob("text-*.npy"))) == 1
    monkeypatch.undo()


def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CLMT_CACHE", str(tmp_path / "file" / "cache"))
    assert np.isfinite(text.encode(TEXTS[1:2])).all()


def test_only_the_first_256_tokens_are_read_and_the_count_says_so():
    long = "It was studied in many laboratories over many years. " * 40
    ends = [long + "It blocks the proteasome.", long + "It blocks microtubules."]
    assert (text.token_counts(ends) > text.MAX_TOKENS).all() and text.token_counts(
        [None, "A drug."]
    ).tolist() == [0, 5]
    assert np.array_equal(*text.encode(ends, cache=False))
    assert not np.array_equal(*text.encode([end[-60:] for end in ends], cache=False))


def test_weights_with_a_wrong_checksum_are_refused(monkeypatch):
    monkeypatch.setattr(text, "BUNDLED_SHA256", "0" * 64)
    with pytest.raises(DataError, match="wrong checksum"):
        text.encode(["never read before"])


def test_an_encoder_that_is_not_here_says_how_to_get_it(tmp_path):
    for name, way in {
        "nobody/has-this-model": "fetch it once with `hf download nobody/has-this-model`",
        "pubmedbert": "full name, as in 'NeuML/",
        str(tmp_path / "empty"): "or a folder",
    }.items():
        with pytest.raises(
            DataError, match="is not on this computer.*or use the bundled 'all-MiniLM-L6-v2'"
        ) as raised:
            text.encode(TEXTS, encoder=name)
        assert way in str(raised.value)


def test_what_the_text_knows_in_the_simulated_world():
    """The mechanism paragraph tells the hidden consequence, its annotation does not: the claim of
    chapter 02, with room to spare.
    """
    table = simulated.facts()
    kinds, label = np.unique(table["consequence"], return_inverse=True)
    right = {}
    for source in ("annotation", "mechanism"):
        z = text.centred(text.encode(text.describe_drugs(table, source)))
        kernel = z @ z.T + 1
        hat = kernel @ np.linalg.inv(kernel + 0.3 * np.eye(len(z)))
        own, onehot = np.diag(hat)[:, None], np.eye(len(kinds))[label]
        right[source] = (((hat @ onehot - own * onehot) / (1 - own)).argmax(1) == label).mean()
    chance = np.bincount(label).max() / len(label)
    assert right["mechanism"] > chance + 0.5 and abs(right["annotation"] - chance) < 0.12
    assert math.isclose(chance, 0.2)


@pytest.mark.parametrize("damage", [b"", b"not an array"])
def test_a_damaged_cache_costs_only_time(monkeypatch, tmp_path, damage):
    monkeypatch.setenv("CLMT_CACHE", str(tmp_path))
    fresh = text.encode(["A drug."])
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage)
    assert np.array_equal(text.encode(["A drug."]), fresh)
    assert np.array_equal(np.load(file), fresh)  # and it is repaired


# --- Stand-ins for text vectors: equal within a compound, silent about mechanism where they say so


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
