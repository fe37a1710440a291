"""The leak detector finds what was leaked on purpose, and names it. Each test is named after the
leak it catches.
"""

import os
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import tiny

from clmt_lib import audit as auditing
from clmt_lib import models
from clmt_lib.audit import Auxiliary, LeakError, audit, proves_blind, state_difference
from clmt_lib.data import KINDS, DrugResponse, load, make_split
from clmt_lib.data.splits import Split
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.views.omics import fit_omics
from clmt_lib.views.structure import response_graph


@pytest.fixture(scope="module")
def data():
    return tiny.benchmark()


def renamed(**changes):
    """The tiny benchmark with cells of its tables changed: `drugs={"1005": {"smiles": ...}}`."""
    made = tiny.tables()
    for table, rows in changes.items():
        for row, values in rows.items():
            for column, value in values.items():
                made[table].loc[row, column] = value
    return DrugResponse.from_tables("tiny", **made)


def assert_caught(report, kind, *says):
    """The one leak of an audit: of this kind, saying this, with a remedy; and `raise_if_leaky`
    raises it.
    """
    assert not report.clean
    (leak,) = (finding for finding in report.leaks if finding.kind == kind)
    for part in says:
        assert part in leak.what, leak
    assert leak.remedy and leak.where
    with pytest.raises(LeakError, match=kind):
        report.raise_if_leaky()
    assert str(leak) in str(report)
    return leak


@pytest.mark.parametrize("kind", KINDS)
def test_clean_data_split_scaler_graph_and_target_pass(data, kind):
    split = make_split(data, kind)
    target = Auxiliary("drug mean", np.zeros(data.n_drugs), split.train)
    report = audit(
        data,
        split,
        transforms=fit_omics(data, split),
        graph_edges=data.pairs[split.train].T,
        auxiliary=target,
    )
    assert report.clean and report.raise_if_leaky() is report
    assert report.checks == (
        "compounds",
        "lines",
        "split",
        "transform OmicsTransform expression",
        "graph",
        "auxiliary target Auxiliary drug mean",
    )
    assert "clean" in str(report).splitlines()[0]


# --- the benchmark
# -------------------------------------------------------------------------------------------------


def test_salt_of_another_compound_is_found():
    leaky = renamed(
        drugs={"1011": {"smiles": "[NH+]1=CC=CC=C1.[Cl-]", "name": "pyridine hydrochloride"}}
    )
    assert_caught(
        audit(leaky),
        "one compound under two names",
        "'pyridine' (id 1003",
        "'pyridine hydrochloride' (id 1011",
        "parent structure",
    )


@pytest.mark.parametrize(
    "salt, free",
    [
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
        ("CCN.Cl", "CCN"),
        ("NCCc1ccccc1.OS(=O)(=O)O", "NCCc1ccccc1"),
        ("C[N+](C)(C)CCO.[Br-]", "C[N+](C)(C)CCO"),
        ("N[C@@H](C)C(=O)O", "N[C@H](C)C(=O)O"),
    ],
)
def test_salts_and_stereoisomers_have_the_key_of_their_parent(salt, free):
    assert auditing.identity.parent_key(salt) == auditing.identity.parent_key(free) is not None


def test_two_platinum_drugs_are_not_one_salt():
    cisplatin, other = (
        auditing.identity.parent_key("N.N.Cl[Pt]Cl"),
        auditing.identity.parent_key("N.N.Br[Pt]Br"),
    )
    assert cisplatin and other and cisplatin != other
    assert auditing.identity.parent_key(None) is None and auditing.identity.parent_key("") is None


def test_one_compound_written_in_two_ways_is_found():
    leaky = renamed(drugs={"1011": {"name": "Pyri-dine"}})
    assert_caught(audit(leaky), "one compound under two names", "'pyridine'", "'Pyri-dine'", "name")


def test_one_inchikey_under_two_labels_is_found():
    made = tiny.tables()
    made["drugs"]["inchikey"] = pd.Series(
        [None] * 5
        + ["AAAAAAAAAAAAAA-BBBBBBBBBB-N"]
        + [None] * 5
        + ["AAAAAAAAAAAAAA-CCCCCCCCCC-N"]
        + [None] * 3,
        made["drugs"].index,
        dtype="str",
    )
    assert_caught(
        audit(DrugResponse.from_tables("tiny", **made)),
        "one compound under two names",
        "1006",
        "1012",
        "first InChIKey block",
    )


def test_two_ids_with_one_compound_label_are_no_leak(data):
    assert data.drugs["name"].duplicated().any() and audit(data).clean


@pytest.mark.parametrize(
    "column, value",
    [
        ("sanger_model_id", "SIDM00002"),
        ("depmap_id", "ACH-777777; ACH-000002"),
        ("rrid", "CVCL_0002"),
        ("cosmic_id", "9003"),
    ],
)
def test_one_line_under_two_ids_is_found_by_its_registry_ids(column, value):
    assert_caught(
        audit(renamed(cells={"9011": {column: value}})),
        "one line under two ids",
        "'LINE-2' (id 9003)",
        "'LINE-10' (id 9011)",
        column,
    )


def test_one_line_under_two_ids_is_found_by_its_name():
    unknown = {"sanger_model_id": None, "depmap_id": None, "cosmic_id": None, "rrid": None}
    assert_caught(
        audit(renamed(cells={"9011": {"name": "Line 2", **unknown}})),
        "one line under two ids",
        "'LINE-2'",
        "'Line 2'",
        "name",
    )


def test_one_line_under_two_ids_is_found_by_its_expression():
    made = tiny.tables()
    made["omics"]["expression"].iloc[10] = made["omics"]["expression"].iloc[2]
    assert_caught(
        audit(DrugResponse.from_tables("tiny", **made)),
        "one line under two ids",
        "9003",
        "9011",
        "expression profile",
    )


def test_two_lines_of_one_name_are_a_note_where_their_registry_ids_differ():
    report = audit(renamed(cells={"9011": {"name": "Line 2"}}))
    assert report.clean and [finding.kind for finding in report.findings] == [
        "two lines of one name"
    ]
    assert "1 note" in str(report).splitlines()[0]


# --- the split
# -------------------------------------------------------------------------------------------------


def moved(split, positions, to="train"):
    """The split with positions moved to another set."""
    sets = {name: np.setdiff1d(role, positions) for name, role in split.sets().items()}
    sets[to] = np.union1d(sets[to], positions)
    return replace(split, **sets)


@pytest.mark.parametrize(
    "kind, what",
    [
        ("cell_blind", "line"),
        ("drug_blind", "compound"),
        ("scaffold_blind", "scaffold"),
        ("tissue_blind", "tissue"),
    ],
)
def test_one_test_pair_moved_to_train_breaks_the_promise(data, kind, what):
    split = make_split(data, kind)
    assert_caught(
        audit(data, moved(split, split.test[:1])), f"shared {what}", "in train and in test"
    )


@pytest.mark.parametrize(
    "kind, what",
    [
        ("cell_blind", "line"),
        ("drug_blind", "compound"),
        ("scaffold_blind", "scaffold"),
        ("tissue_blind", "tissue"),
    ],
)
def test_one_valid_pair_moved_to_train_breaks_the_promise(data, kind, what):
    split = make_split(data, kind)
    assert_caught(
        audit(data, moved(split, split.valid[:1])), f"shared {what}", "in train and in valid"
    )


def test_mixed_split_called_drug_blind_is_caught(data):
    report = audit(data, replace(make_split(data, "mixed"), kind="drug_blind"))
    assert {finding.kind for finding in report.leaks} == {"shared compound"} and len(
        report.leaks
    ) == 3


def by_drug(data, test_drugs):
    """A split by drug id that believes the ids: what a naive drug-blind split is."""
    role = np.where(
        np.isin(data.pairs[:, 1], test_drugs),
        "test",
        np.where(data.pairs[:, 1] == 9, "valid", "train"),
    )
    return Split(
        "drug_blind",
        *(np.flatnonzero(role == name) for name in ("train", "valid", "test")),
        0,
        0,
        10,
        data.name,
        data.checksum,
    )


def test_shared_compound_under_two_ids_in_a_drug_blind_split(data):
    leak = assert_caught(
        audit(data, by_drug(data, [1, 4])),
        "shared compound",
        "'benzene' under id 1001 and 1002",
        "in train and in test",
    )
    assert leak.where == "split drug_blind"


def test_shared_compound_under_two_labels_in_a_drug_blind_split():
    leaky = renamed(
        drugs={
            "1011": {
                "smiles": "c1cc[nH+]cc1.[Cl-]",
                "name": "pyridine hydrochloride",
                "compound": "pyridine hydrochloride",
            }
        }
    )
    assert_caught(
        audit(leaky, by_drug(leaky, [10])), "shared compound", "'pyridine' under id 1003 and 1011"
    )


def test_shared_line_under_two_ids_in_a_cell_blind_split():
    leaky = renamed(cells={"9011": {"rrid": "CVCL_0002"}})
    role = np.where(
        leaky.pairs[:, 0] == 10, "test", np.where(leaky.pairs[:, 0] == 5, "valid", "train")
    )
    split = Split(
        "cell_blind",
        *(np.flatnonzero(role == name) for name in ("train", "valid", "test")),
        0,
        0,
        5,
        leaky.name,
        leaky.checksum,
    )
    assert_caught(
        audit(leaky, split),
        "shared line",
        "'LINE-2' under id 9003 and 9011",
        "in train and in test",
    )


def test_overlapping_sets_are_caught(data):
    split = make_split(data, "mixed")
    assert_caught(
        audit(data, replace(split, train=np.append(split.train, split.test[:3]))),
        "sets overlap",
        "3 pairs are in train and in test",
    )


def test_position_twice_and_empty_set_are_caught(data):
    split = make_split(data, "mixed")
    assert_caught(
        audit(data, replace(split, train=np.append(split.train, split.train[:2]))),
        "position twice",
        "2 positions",
    )
    assert_caught(
        audit(data, replace(split, valid=split.valid[:0])), "empty set", "valid has no pair"
    )


def test_split_of_other_data_is_caught(data):
    split = make_split(data, "mixed")
    assert_caught(audit(tiny.benchmark(seed=1), split), "wrong data", data.checksum)
    assert_caught(
        audit(data, replace(split, test=np.append(split.test, len(data)))), "wrong data", "outside"
    )


def test_replicates_of_a_mixed_split_are_a_note(data):
    report = audit(data, make_split(data, "mixed"))
    assert report.clean and [finding.kind for finding in report.findings] == [
        "replicate measurements"
    ]
    assert not audit(data, make_split(data, "drug_blind")).findings


# --- scaler, graph, target
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cell_blind", "tissue_blind"])
def test_scaler_fitted_on_all_lines_is_caught(data, kind):
    split = make_split(data, kind)
    scaler = replace(fit_omics(data, split), fitted_on=np.arange(data.n_cells))
    assert_caught(
        audit(data, split, transforms=[fit_omics(data, split, "mutation"), scaler]),
        "fitted beyond train",
        "of the 21 lines it was fitted on have no training pair",
    )


def test_scaler_fitted_on_valid_lines_is_caught_and_a_mask_is_understood(data):
    split = make_split(data, "cell_blind")
    mask = np.ones(data.n_cells, dtype=bool)
    mask[auditing.unseen(data, split)] = False  # all but the test lines
    assert_caught(
        audit(data, split, transforms=replace(fit_omics(data, split), fitted_on=mask)),
        "fitted beyond train",
        "of the validation set",
    )


def test_scaler_fitted_on_all_lines_is_fine_where_every_line_is_trained_on(data):
    split = make_split(data, "drug_blind")
    assert audit(
        data, split, transforms=replace(fit_omics(data, split), fitted_on=np.arange(data.n_cells))
    ).clean


def test_transform_that_does_not_say_what_it_was_fitted_on_is_not_proved_clean(data):
    assert_caught(
        audit(data, make_split(data, "cell_blind"), transforms=object()), "no proof", "does not say"
    )


def test_fitted_things_cannot_be_audited_without_a_split(data):
    with pytest.raises(ValueError, match="together with its split"):
        audit(data, graph_edges=data.pairs.T)


@pytest.mark.parametrize("role", ["test", "valid"])
def test_response_edges_beyond_train_are_caught(data, role):
    split = make_split(data, "mixed")
    edges = data.pairs[np.append(split.train, split.sets()[role][:2])].T
    assert_caught(
        audit(data, split, graph_edges=edges),
        f"{role} edges in the graph",
        f"2 of {edges.shape[1]} edges are {role} pairs",
    )
    assert_caught(
        audit(data, split, graph_edges={("drug", "stops", "cell"): edges[::-1]}),
        f"{role} edges in the graph",
    )


def test_edges_nobody_measured_are_caught(data):
    split = make_split(data, "mixed")
    assert_caught(
        audit(data, split, graph_edges=np.array([[0, data.n_cells], [data.n_drugs, 0]])),
        "edges nobody measured",
        "2 of 2 edges",
    )
    with pytest.raises(ValueError, match=r"not \[2, E\]"):
        audit(data, split, graph_edges=data.pairs)


def test_graph_of_torch_geometric_is_read_and_a_similarity_edge_to_a_test_line_is_a_note(data):
    torch = pytest.importorskip("torch")
    from torch_geometric.data import HeteroData

    split, graph = make_split(data, "cell_blind"), HeteroData()
    graph["cell", "response", "drug"].edge_index = torch.tensor(data.pairs[split.train].T.copy())
    graph["cell", "similar", "cell"].edge_index = torch.tensor(
        [[0, 1, 2], auditing.unseen(data, split)[:3].tolist()]
    )
    report = audit(data, split, graph_edges=graph)
    assert report.clean and [finding.kind for finding in report.findings] == ["transductive graph"]
    graph["cell", "response", "drug"].edge_index = torch.tensor(data.pairs.T.copy())
    assert {finding.kind for finding in audit(data, split, graph_edges=graph).leaks} == {
        "test edges in the graph",
        "valid edges in the graph",
    }


def test_target_computed_from_all_responses_is_caught(data):
    split = make_split(data, "mixed")
    target = Auxiliary("drug mean", np.nanmean(data.matrix(), 0), np.arange(len(data)))
    assert_caught(
        audit(data, split, auxiliary=[target]),
        "target computed beyond train",
        f"{len(split.test)} test, {len(split.valid)} valid",
    )
    assert_caught(audit(data, split, auxiliary=np.zeros(3)), "no proof")


# --- the proof that trusts nobody
# -------------------------------------------------------------------------------------------------


def scaler_of_all_lines(data, split):
    """Leaks, and lies about it."""
    honest = fit_omics(data, split)
    return replace(honest, mean=data.omics["expression"].to_numpy(np.float64).mean(0))


def mean_of_all_responses(data, split):
    return {"mean": data.y.mean()}


def last_test_response(data, split):
    return {"deep": [{"last": data.y[split.test][-1]}]}


@pytest.mark.parametrize("at_once", [False, True])
def test_scaler_that_lies_about_its_lines_passes_the_audit_but_not_the_proof(data, at_once):
    split = make_split(data, "cell_blind")
    assert audit(data, split, transforms=scaler_of_all_lines(data, split)).clean
    leak = assert_caught(
        proves_blind(scaler_of_all_lines, data, split, at_once=at_once),
        "fit depends on the test set",
        "test lines' omics",
        "state['mean'] differs in 6 of 6 values",
    )
    assert leak.where == "scaler_of_all_lines"


@pytest.mark.parametrize("at_once", [False, True])
def test_mean_of_all_responses_survives_a_permutation_but_not_the_proof(data, at_once):
    split = make_split(data, "mixed")
    report = proves_blind(mean_of_all_responses, data, split, at_once=at_once)
    assert any(
        "replaced by noise" in leak.what and "state['mean']" in leak.what for leak in report.leaks
    )


@pytest.mark.parametrize("at_once", [False, True])
def test_one_test_response_deep_in_the_state_is_named(data, at_once):
    report = proves_blind(last_test_response, data, make_split(data, "mixed"), at_once=at_once)
    assert len(report.leaks) == 2 and all(
        "state['deep'][0]['last']" in leak.what for leak in report.leaks
    )


def test_fit_that_returns_one_object_twice_is_not_compared_with_itself(data):
    state = {}

    def remembers(data, split):
        state["mean"] = data.y.mean()
        return state

    assert not proves_blind(remembers, data, make_split(data, "mixed")).clean


def test_fit_without_a_seed_is_called_not_reproducible(data):
    rng = np.random.default_rng(0)
    assert_caught(
        proves_blind(lambda data, split: rng.normal(size=3), data, make_split(data, "mixed")),
        "fit is not reproducible",
        "3 of 3 values",
    )


def test_honest_scaler_is_proved_blind_in_every_world(data):
    split = make_split(data, "cell_blind")
    report = proves_blind(fit_omics, data, split)
    assert report.clean and len(report.checks) == 3
    assert (
        len(proves_blind(fit_omics, data, make_split(data, "mixed")).checks) == 2
    )  # no line is test-only: nothing to corrupt


@pytest.mark.parametrize("kind", KINDS)
def test_worlds_differ_from_the_real_one_in_the_test_set_alone(data, kind):
    split = make_split(data, kind)
    others = np.concatenate([split.train, split.valid])
    for change in (auditing.permute_test_responses, auditing.replace_test_responses):
        world = change(data, split, 0)
        np.testing.assert_array_equal(world.y[others], data.y[others])
        np.testing.assert_array_equal(world.pairs, data.pairs)
        assert (
            world.y[split.test] != data.y[split.test]
        ).mean() > 0.95 and world.checksum != data.checksum
    np.testing.assert_array_equal(
        np.sort(auditing.permute_test_responses(data, split).y), np.sort(data.y)
    )
    world, unseen = auditing.corrupt_views(data, split), auditing.unseen(data, split)
    assert (world is data) == (len(unseen) == 0)
    assert (len(unseen) > 0) == (kind in ("cell_blind", "tissue_blind", "both_blind"))
    for name, table in data.omics.items():
        assert (
            world.omics[name].to_numpy().strides == table.to_numpy().strides
        )  # the order of sums, and with it the last bit, hangs on it
        same = (world.omics[name] == table).all(axis=1).to_numpy()
        assert same[np.setdiff1d(np.arange(data.n_cells), unseen)].all() and not same[unseen].any()
    assert set(np.unique(world.omics["mutation"])) == {0.0, 1.0}


def facts_of_all_drugs(data, split):
    """Leaks only through places: the lengths of every drug's facts, those of the test set among
    them.
    """
    return {
        column: data.drugs[column].astype("str").fillna("").str.len().to_numpy()
        @ np.arange(data.n_drugs)
        for column in ("smiles", "target")
    }


def test_facts_of_test_drugs_are_caught_in_a_drug_blind_split_alone():
    made = tiny.tables()
    made["drugs"]["target"] = ["EGFR" + ", KRAS" * number for number in range(len(made["drugs"]))]
    varied = DrugResponse.from_tables("tiny", **made)
    split = by_drug(varied, [10, 11, 12])
    assert_caught(
        proves_blind(facts_of_all_drugs, varied, split),
        "fit depends on the test set",
        "test drugs' facts permuted",
        "state['smiles']",
    )
    assert proves_blind(
        facts_of_all_drugs, varied, make_split(varied, "mixed")
    ).clean  # no drug is test-only: nothing to permute
    assert proves_blind(facts_of_all_drugs, varied, by_drug(varied, [10])).clean  # nor can one be


@pytest.mark.parametrize("kind", KINDS)
def test_permuted_facts_touch_test_only_drugs_alone(data, kind):
    split = make_split(data, kind)
    others = data.pairs[np.concatenate([split.train, split.valid]), 1]
    unseen = np.setdiff1d(data.pairs[split.test, 1], others)
    world = auditing.permute_facts(data, split)
    assert (world is data) == (len(unseen) < 2)
    assert kind == "pathway_blind" or (len(unseen) > 1) == (
        kind in ("drug_blind", "scaffold_blind", "target_blind", "both_blind")
    )  # a pathway of the tiny world may hold one drug
    pd.testing.assert_frame_equal(
        world.drugs.drop(index=world.drugs.index[unseen]),
        data.drugs.drop(index=data.drugs.index[unseen]),
    )
    pd.testing.assert_frame_equal(
        world.drugs[["name", "compound"]], data.drugs[["name", "compound"]]
    )
    before, after = (
        table["smiles"].iloc[unseen].fillna("none").tolist() for table in (data.drugs, world.drugs)
    )
    assert sorted(before) == sorted(after) and (before != after or len(unseen) < 2)
    assert world.omics is data.omics and world.y is data.y and world.pairs is data.pairs


@dataclass
class Fitted:
    weights: object
    name: str = "x"


@pytest.mark.parametrize(
    "one, other, says",
    [
        (
            np.array([1.0, 2.0]),
            np.array([1.0, np.nextafter(2.0, 3.0)]),
            "state differs in 1 of 2 values",
        ),
        (np.zeros(2), -np.zeros(2), "2 of 2"),
        (np.zeros(2, np.float32), np.zeros(2), "float32"),
        (np.zeros(2), np.zeros((2, 1)), r"\(2, 1\)"),
        (np.zeros((4, 3)).T, np.eye(3, 4), "3 of 12"),
        (1.0, 1.0 + 2**-52, "1 of 1"),
        (1, 1.0, "int in one, float"),
        ({"a": 1}, {"b": 1}, "other keys"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, r"state\['a'\]\['b'\]\[1\] differs"),
        ([1], [1, 2], "1 parts in one, 2"),
        (Fitted(np.zeros(1)), Fitted(np.ones(1)), r"state\['weights'\] differs"),
        ((x for x in ()), (x for x in ()), "cannot be compared"),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [2.0]}), "column a"),
        ({1, 2}, {1, 3}, r"state\[1\]"),
    ],
)
def test_states_that_differ_by_one_bit_or_more_are_told_apart(one, other, says):
    if "cannot" in says:
        with pytest.raises(TypeError, match=says):
            state_difference(one, other)
    else:
        assert pd.Series(state_difference(one, other)).str.contains(says).all()


def test_equal_states_are_equal_however_deep():
    torch = pytest.importorskip("torch")

    def make():
        torch.manual_seed(0)
        return {
            "a": [np.array([np.nan, 1.0]), Fitted(torch.ones(2, dtype=torch.bfloat16))],
            "net": torch.nn.Linear(3, 2),
            "frame": pd.DataFrame({"x": ["a", None]}),
            "n": None,
        }

    assert state_difference(make(), make()) is None
    other = make()
    with torch.no_grad():
        other["net"].bias[1] += 1e-3
    assert "state['net']['bias']['values'] differs in 1 of 2 values" == state_difference(
        make(), other
    )


def test_trees_and_closures_are_entered():
    from sklearn.ensemble import RandomForestRegressor

    x, y = np.random.default_rng(0).normal(size=(2, 60))
    changed = np.where(np.arange(60) == 7, 9.0, y)
    first, again, other = (
        RandomForestRegressor(5, random_state=0).fit(x[:, None], target)
        for target in (y, y, changed)
    )
    assert state_difference(first, again) is None
    assert "differs" in state_difference(first, other)

    def closing_over(value):
        return lambda: value

    assert state_difference(closing_over(1.0), closing_over(1.0)) is None
    assert "closure" in state_difference(closing_over(1.0), closing_over(2.0))


# --- No model of the ladder learns a bit from the test set, and the real benchmarks are clean


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
    "updates": 3,
    "tower": 16,
    "tile": (40, 20),
    "tree_counts": (3, 6),
    "seeds": 1,
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
    tiny.few_trees(monkeypatch)
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

    proves_blind(fit, world, make_split(world, kind), at_once=True).raise_if_leaky()
    assert states[0], "a model without a fitted state proves nothing"
    assert len(predicted) == 2 and all(
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
    proves_blind(fit, world, split, at_once=True).raise_if_leaky()


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
