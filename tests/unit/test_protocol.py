"""What can be done with every model: fitted again on training and validation set, and given the
level of a new drug.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.kernel_ridge import KernelRidge as Reference

from clmt_lib import data, models
from clmt_lib.audit import proves_blind
from clmt_lib.data.response import simulated
from clmt_lib.data.response.auxiliary import highest_concentration
from clmt_lib.io import DataError
from clmt_lib.models import kernels
from clmt_lib.models.kernels import drug_kernels, same_entity


@pytest.fixture(scope="module")
def world():
    names = list(dict.fromkeys(simulated.facts()["name"]))[:40]
    world = data.load("simulated", cells=40, drugs=names)
    drugs = world.drugs.assign(max_concentration_um=10.0 ** (np.arange(world.n_drugs) % 3 - 1))
    return world.with_frames(drug=drugs)


ONE = {  # name -> chosen settings as the only ones that are tried
    "als": lambda c: {"ranks": (c["rank"],), "ridges": (c["ridge"],)},
    "kernel_fingerprint": lambda c: {"ridges": (c["ridge"],), "same": (c["same"],)},
    "learned_kernel": lambda c: {"ridges": (c["ridge"],)},
    "ridge_per_drug": lambda c: {"ridges": (c["ridge"],)},
    "target_states": lambda c: {"ridges": (c["ridge"],), "states": (c["states"],)},
    "drugs_targets": lambda c: {"ridges": (c["ridge"],)},
    "lightgbm": lambda c: {"grid": ({k: v for k, v in c.items() if k != "base"},)},
    "drug_mean": lambda c: {},
}
SMALL = {"lightgbm": {"trees": 10}}


@pytest.mark.parametrize("name", ONE)
def test_a_refit_is_a_fit_on_both_sets_with_what_was_chosen(world, name, monkeypatch):
    """The same as fitting a model that has nothing left to choose on both sets together."""
    monkeypatch.setattr(kernels, "TOLERANCE", 1e-10)  # started elsewhere, a solver stops elsewhere
    split = data.make_split(world, "cell_blind" if name == "lightgbm" else "drug_blind")
    small = SMALL.get(name, {})
    first = models.build(name, **small).fit(world, split)
    found = models.build(f"{name}_refit", settings=small).fit(world, split)
    assert dict(found.chosen) == dict(first.chosen)
    if name == "lightgbm":
        small = {**small, "grid": ONE[name](first.chosen)["grid"]}
        reference = models.build(name, **small)
        bases = iter(("drug", "effects"))
        reference.chosen = dict(first.chosen)
        assert next(bases) in ("drug", "effects")
        reference.fit(world, split.with_validation())
    else:
        reference = models.build(name, **{**small, **ONE[name](first.chosen)})
        reference.fit(world, split.with_validation())
    pairs = world.pairs[split.test]
    assert np.allclose(found.predict(pairs), reference.predict(pairs), atol=1e-6)
    if name != "drug_mean":
        assert not np.allclose(found.predict(pairs), first.predict(pairs), atol=1e-6)


def test_a_network_and_a_blend_are_fitted_again_and_keep_what_was_chosen(world):
    split = data.make_split(world, "cell_blind")
    clmt = models.build("clmt_refit", settings={"steps": 3, "hidden": 16, "members": 1})
    clmt.device = "cpu"
    clmt.fit(world, split)
    assert set(clmt.chosen) == {"best_valid"} and "valid" not in clmt.history[-1]
    parts = {"parts": ("kernel_omics", "effects")}
    first = models.build("clmt_kernel", **parts).fit(world, split)
    blend = models.build("clmt_kernel_refit", settings=parts).fit(world, split)
    share = first.chosen["share"]
    assert blend.chosen == first.chosen
    pairs = world.pairs[split.test]
    one, other = (
        models.build(f"{n}_refit").fit(world, split).predict(pairs) for n in parts["parts"]
    )
    assert np.allclose(blend.predict(pairs), share * one + (1 - share) * other)


@pytest.mark.parametrize(
    "name", ["kernel_text_refit", "kernel_text_level", "kernel_text_dose_refit"]
)
def test_neither_reads_the_test_set(world, name):
    report = proves_blind(
        lambda benchmark, split: models.build(name).fit(benchmark, split).state(),
        world,
        data.make_split(world, "drug_blind"),
    )
    assert report.clean, str(report)


@pytest.mark.parametrize("dose", [False, True])
def test_a_level_is_a_kernel_ridge_on_drug_means_and_moves_new_drugs_alone(world, dose):
    """scikit-learn's ridge, and the ranking of the lines as it was."""
    split = data.make_split(world, "drug_blind")
    plain = models.build("kernel_text").fit(world, split)
    model = models.build("kernel_text_dose" if dose else "kernel_text_level").fit(world, split)
    y = world.matrix(split.train)
    known = np.flatnonzero(np.isfinite(y).any(0))
    new = np.setdiff1d(np.arange(world.n_drugs), known)
    means = np.array([np.nanmean(y[:, drug]) for drug in known])
    parts = [drug_kernels(world, "text")[1][1], drug_kernels(world, "fingerprint")[0][1]]
    if dose:
        parts += [drug_kernels(world, name)[0][1] for name in ("text", "targets", "pathway")]
        parts = [*parts, np.zeros_like(parts[0])]  # an invented world has no steps
    kernel = 0.3 + 2 / len(parts) * sum(parts) + 0.5 * same_entity(world, 1)
    if dose:
        log = np.log(world.drugs["max_concentration_um"].to_numpy())
        z = (log - log[known].mean()) / log[known].std()
        kernel = kernel + np.exp(-0.5 * (z[:, None] - z) ** 2) + 0.5 * np.outer(z, z)
    reference = Reference(alpha=model.ridge, kernel="precomputed")
    reference.fit(kernel[np.ix_(known, known)], means - means.mean())
    level = means.mean() + reference.predict(kernel[new][:, known])
    lines = np.flatnonzero(np.isfinite(y).any(1))
    assert np.allclose(model.table[np.ix_(lines, new)].mean(0), level)
    moved = model.table - plain.table
    assert np.allclose(moved[:, known], 0) and np.ptp(moved[:, new], axis=0).max() < 1e-12


def test_the_error_of_levels_is_that_of_leaving_each_compound_out(world):
    split = data.make_split(world, "drug_blind")
    model = models.build("cell_mean_level").fit(world, split)
    y = world.matrix(split.train)
    known = np.flatnonzero(np.isfinite(y).any(0))
    means = np.array([np.nanmean(y[:, drug]) for drug in known])
    rest, compound = means - means.mean(), world.drugs["compound"].to_numpy()[known]
    kernel = model._kernel(world, known)[np.ix_(known, known)]
    errors = []
    for i, own in enumerate(compound):
        others = np.flatnonzero(compound != own)
        among = kernel[np.ix_(others, others)] + model.ridge * np.eye(len(others))
        errors.append(rest[i] - kernel[i, others] @ np.linalg.solve(among, rest[others]))
    assert model.chosen["level"]["press"] == pytest.approx(
        np.sqrt(np.mean(np.square(errors))), abs=1e-5
    )


@pytest.mark.parametrize("name", ["target_states_level", "kernel_text_dose_refit"])
def test_they_come_back_from_disk_and_know_new_drugs(world, tmp_path, name):
    """A drug under another id is a new one: it is told the same, before and after the disk."""
    split = data.make_split(world, "drug_blind")
    model = models.build(name).fit(world, split)
    pairs = world.pairs[split.test]
    side, held = world.sides[1], np.unique(pairs[:, 1])
    ids = [f"new {label}" if i in held else label for i, label in enumerate(side.ids)]
    other = world.with_sides(replace(side, frame=side.frame.set_axis(pd.Index(ids, name="drug"))))
    found = model.predict(pairs, other)
    assert np.abs(found - model.predict(pairs)).max() < 1e-6
    again = models.load(model.save(tmp_path / "model"))
    assert np.array_equal(again.predict(pairs, other), found)
    assert np.array_equal(again.predict(pairs), model.predict(pairs))


def test_names_settings_and_what_a_reader_sees():
    assert models.display_name("als_level_refit") == "factorisation (ALS), with level, refitted"
    assert models.family("als_refit") == models.family("als")
    assert models.resolve("als_refit") == {
        "of": "als",
        "settings": models.resolve("als"),
        "version_of": 1,
    }
    assert models.resolve("clmt_refit", {}, "cell_blind")["settings"] == models.resolve(
        "clmt", {}, "cell_blind"
    )
    assert models.resolve("als_dose")["dose"] is True
    with pytest.raises(DataError, match="unknown model 'nothing_refit'"):
        models.build("nothing_refit")


def test_a_model_that_does_not_say_so_is_not_fitted_again(world):
    class Mine(models.Model):
        def fit(self, benchmark, split):
            return self

        def predict(self, pairs, benchmark=None):
            return np.zeros(len(pairs))

    split = data.make_split(world, "mixed")
    with pytest.raises(DataError, match="Mine cannot be fitted again"):
        Mine().fit(world, split).fit_again(world, split)


def test_concentrations_are_a_view_that_only_a_model_sees(world):
    told = highest_concentration(world)
    assert np.allclose(
        np.exp(told.sides[1].views["dose"].to_numpy()[:, 0]), world.drugs["max_concentration_um"]
    )
    assert "dose" not in world.sides[1].views and highest_concentration(told) is told
    plain = world.with_frames(drug=world.drugs.drop(columns="max_concentration_um"))
    with pytest.raises(DataError, match="not known for simulated"):
        highest_concentration(plain)
