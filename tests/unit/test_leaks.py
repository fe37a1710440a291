"""No model of the ladder learns a bit from the test set, and the real benchmarks are clean."""

import os

import numpy as np
import pytest
import tiny

from clmt_lib import models
from clmt_lib.audit import audit, proves_blind
from clmt_lib.data import KINDS, load, make_split
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.views.omics import fit_omics
from clmt_lib.views.structure import response_graph


@pytest.fixture(scope="module")
def world():
    drugs = list(dict.fromkeys(load("simulated", cells=24).drugs["name"]))[:40]
    return load("simulated", cells=60, drugs=drugs)


SMALL = {
    "trees": 8,
    "steps": 3,
    "hidden": 32,
    "dim": 8,
    "ridges": (100.0, 1000.0),
    "ranks": (5, 10),
    "width": 8,
    "epochs": 1,
    "batch": 1024,
    "inner": 2,
    "settings": {
        "clmt": {"steps": 3, "hidden": 32},
        **dict.fromkeys(("stack", "stack_auxiliary"), {"inner": 2, "boost": False}),
    },
}  # where a model has such a setting: leaks do not need long fits


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
@pytest.mark.parametrize(
    "name", [name for name in models.names() if name not in ("clmt_published", "drugs_shuffled")]
)
def test_no_fitted_parameter_of_a_model_depends_on_the_test_role(world, name, kind, monkeypatch):
    """Parameters and chosen settings are the same to the bit whatever the test set holds;
    predictions of train and valid pairs, too, but for the order of sums.
    """
    monkeypatch.setenv(
        "LOKY_MAX_CPU_COUNT", "1"
    )  # one thread: two trees' threads on a busy machine wait for each other for minutes
    settings = {
        key: value
        for key, value in SMALL.items()
        if key in models.model_class(name).known_settings()
    }
    if name in (
        "stack_auxiliary",
        "stack_masked",
    ):  # its trees are those of `stack`, which is asked with them
        settings["boost"] = False
    states, predicted = [], []

    def fit(benchmark, split):
        model = models.build(name, **settings)
        model.fit(benchmark, split)
        states.append(model.state())
        predicted.append(model.predict(benchmark.pairs[np.append(split.train, split.valid)]))
        return {"state": states[-1], "chosen": getattr(model, "chosen", None)}

    proves_blind(fit, world, make_split(world, kind)).raise_if_leaky()
    assert states[0], "a model without a fitted state proves nothing"
    assert len(predicted) > 2 and all(
        np.allclose(predicted[0], other, rtol=1e-9, atol=1e-9) for other in predicted
    )


def test_the_shuffled_control_hands_the_facts_of_test_drugs_around_and_the_proof_sees_it(world):
    """By design: it gives every drug the facts of another one, whoever that is. Nothing of a
    response passes.
    """
    report = proves_blind(
        lambda benchmark, split: models.build("drugs_shuffled").fit(benchmark, split).state(),
        world,
        make_split(world, "drug_blind"),
    )
    assert not report.clean and all(
        "facts permuted" in finding.what for finding in report.findings if not finding.note
    ), report


@pytest.mark.parametrize("kind", ["mixed", "protein_blind", "drug_blind", "both_blind"])
@pytest.mark.parametrize(
    "name", ["global_mean", "row_mean", "column_mean", "effects", "als", "kernel_identity"]
)
def test_models_of_any_two_sides_are_blind_on_proteins_x_drugs(name, kind):
    world = tiny.affinity()
    settings = {
        key: value
        for key, value in SMALL.items()
        if key in models.model_class(name).known_settings()
    }

    def fit(benchmark, split):
        model = models.build(name, **settings).fit(benchmark, split)
        return {"state": model.state(), "chosen": dict(model.chosen)}

    split = make_split(world, kind)
    assert audit(world, split).clean
    proves_blind(fit, world, split).raise_if_leaky()


@pytest.mark.parametrize("kind", KINDS)
def test_response_graph_holds_training_pairs_alone(world, kind):
    """Unseen entities may listen to their neighbours, which is a note; an unseen entity that
    speaks, or a test edge, would be a leak.
    """
    split = make_split(world, kind)
    target = per_drug_targets(world, split)[0]
    graph = response_graph(
        world.pairs[split.train],
        target,
        np.corrcoef(fit_omics(world, split)(world)),
        np.eye(world.n_drugs),
        k=5,
    )
    report = audit(world, split, graph_edges=graph.to_hetero())
    assert report.clean and graph.responses.shape[1] == len(split.train), report
    notes = [finding.where for finding in report.findings if finding.kind == "transductive graph"]
    new = {"mixed": 0, "both_blind": 2}.get(kind, 1)  # sides with unseen entities
    assert notes == ["edges 'similar'"] * new
    assert (
        np.isin(graph.similar_cells[0], world.pairs[split.train, 0]).all()
        and np.isin(graph.similar_drugs[0], world.pairs[split.train, 1]).all()
    )


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("CLMT_DATA"), reason="CLMT_DATA is not set")
@pytest.mark.parametrize("name", ["gdsc2", "tgsa"])
def test_real_benchmarks_and_their_splits_are_clean(name):
    data = tiny.real(name)
    for kind in KINDS:
        split = make_split(data, kind)
        report = audit(
            data,
            split,
            transforms=[fit_omics(data, split, omics) for omics in data.omics],
            graph_edges=data.pairs[split.train].T,
        )
        assert report.clean, report
        assert {finding.kind for finding in report.findings} <= {
            "two lines of one name",
            "replicate measurements",
        }
