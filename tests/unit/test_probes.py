"""Label tables, splits of molecules, and the probes on them: against naive references."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from clmt_lib import data, records
from clmt_lib.audit import audit, proves_blind
from clmt_lib.data import Benchmark, DataError, Side, published
from clmt_lib.data.probes import tables
from clmt_lib.models import probes
from clmt_lib.models.kernels import KernelRidge
from clmt_lib.views.molecules import count_fingerprints, count_similarity, descriptors

REAL = os.environ.get("CLMT_DATA")
RINGS = ("c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccc2ccccc2c1", "c1ccsc1", "C1CCNCC1", "c1ccoc1")
TAILS = ("", "C", "O", "N", "CC", "CO", "Cl", "F")
CHIRAL = ("C[C@H](O)c1ccccc1", "C[C@@H](O)c1ccccc1")  # one connectivity, two molecules


def key_of(smiles):
    from rdkit import Chem

    return Chem.MolToInchiKey(Chem.MolFromSmiles(smiles))


@pytest.fixture(scope="module")
def table():
    """58 molecules x 4 assays with gaps; the last row has no label at all."""
    smiles = [f"{ring}{tail}" for tail in TAILS for ring in RINGS] + list(CHIRAL)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"smiles": smiles, "inchikey": [key_of(text) for text in smiles]})
    signal = np.array(["O" in text or "N" in text or "n" in text for text in smiles])
    for number in range(4):
        label = (signal ^ (rng.random(len(frame)) < 0.2)).astype(float)
        label[rng.random(len(frame)) < 0.2] = np.nan
        frame[f"assay {number}"] = label
    frame.loc[len(frame) - 1, [f"assay {number}" for number in range(4)]] = np.nan
    return frame


@pytest.fixture
def folder(table, tmp_path):
    (tmp_path / "probing").mkdir()
    table.to_parquet(tmp_path / "probing/bace.parquet")
    return tmp_path


@pytest.fixture
def benchmark(folder):
    return data.load("bace", folder=folder)


@pytest.fixture
def split(benchmark):
    return published.molecule_split(benchmark, "random", seed=1)


# Label tables


def test_a_label_table_is_molecules_by_assays_with_gaps(benchmark, table):
    assert benchmark.shape == (58, 4) and benchmark.task == "labels"
    want = table.iloc[:, 2:].to_numpy()
    assert np.array_equal(benchmark.matrix(), want, equal_nan=True)
    assert list(benchmark.sides[0].frame["smiles"]) == list(table["smiles"])


def test_rows_and_connectivities_are_both_molecules(folder, table):
    table = table.copy()
    table.loc[56:57, "assay 0"] = [0.0, 1.0]  # two keys of one connectivity, two labels
    table.loc[56:57, "assay 1"] = [1.0, 1.0]
    table.loc[56:57, "assay 2"] = [np.nan, 1.0]
    path = folder / "probing/bace.parquet"
    table.to_parquet(path)
    rows = data.load("bace", folder=folder)
    assert rows.shape[0] == 58 and len(set(rows.sides[0].keys["compound"])) == 57
    one = data.load("bace", folder=folder, molecules="connectivity")
    assert one.shape[0] == 57
    mine = one.matrix()[one.sides[0].ids.get_loc(key_of(CHIRAL[0])[:14])]
    assert np.isnan(mine[0]) and mine[1:3].tolist() == [1.0, 1.0]
    pd.concat([table, table.iloc[:1]]).to_parquet(path)
    ids = data.load("bace", folder=folder).sides[0].ids
    assert ids[-1] == f"{ids[0]}#2"


def test_salts_and_mixtures_are_compounds_of_their_parents(folder, table):
    salt = "C[NH2+]c1ccccc1.[Cl-]"
    more = pd.DataFrame({"smiles": [salt, "CNc1ccccc1", "CCO.CCCN"]})
    more["inchikey"] = [key_of(text) for text in more["smiles"]]
    more["assay 0"] = 1.0
    pd.concat([table, more]).to_parquet(folder / "probing/bace.parquet")
    side = data.load("bace", folder=folder).sides[0]
    compound, scaffold = side.keys["compound"][-3:], side.keys["scaffold"][-3:]
    assert compound[0] == compound[1] != compound[2]
    assert scaffold[0] == scaffold[1] != scaffold[2]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.assign(**{"assay 1": 2.0}), "assay 1 is 2.0"),
        (lambda t: t.assign(**{"assay 1": "yes"}), "assay 1 is 'yes'"),
        (lambda t: t.assign(inchikey="no key"), "is no InChIKey"),
        (lambda t: t.assign(smiles="C1CC"), "cannot be parsed"),
        (lambda t: t.drop(columns="inchikey"), "missing column 'inchikey'"),
        (lambda t: t.assign(**{f"assay {n}": np.nan for n in range(4)}), "no label at all"),
    ],
)
def test_bad_label_tables_are_refused(folder, table, change, said):
    change(table).to_parquet(folder / "probing/bace.parquet")
    with pytest.raises(DataError, match=said):
        data.load("bace", folder=folder)


def test_rows_without_a_key_and_empty_assays_are_left_out(folder, table):
    table = table.assign(empty=np.nan)
    table.loc[3, ["smiles", "inchikey"]] = ["C1CC", None]  # RDKit cannot read it: no key
    table.loc[4, "inchikey"] = ""
    table.to_parquet(folder / "probing/bace.parquet")
    assert data.load("bace", folder=folder).shape == (56, 4)
    with pytest.raises(DataError, match="unknown kind of molecule"):
        data.load("bace", folder=folder, molecules="salts")
    with pytest.raises(DataError, match="unknown label table"):
        tables.load("no", folder=folder)


# Splits


def naive_infoalign(smiles):
    """InfoAlign's rule, as a script would write it."""
    from rdkit import Chem
    from rdkit.Chem.Scaffolds import MurckoScaffold

    batch = {}
    for row, text in enumerate(smiles):
        scaffold = MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles(text))
        batch.setdefault(Chem.MolToSmiles(scaffold), []).append(row)
    groups = list(batch.values())
    state = np.random.get_state()  # noqa: NPY002 (that is what the rule says)
    np.random.seed(3)  # noqa: NPY002
    np.random.shuffle(groups)  # noqa: NPY002
    np.random.set_state(state)  # noqa: NPY002
    rows = [row for group in groups for row in group]
    one, two = int(0.6 * len(rows)), int(0.6 * len(rows)) + int(0.15 * len(rows))
    return rows[:one], rows[one:two], rows[two:]


def test_the_published_rule_is_the_script(benchmark):
    role = published.roles(benchmark.sides[0], "infoalign")
    for number, rows in enumerate(naive_infoalign(benchmark.sides[0].frame["smiles"])):
        assert sorted(rows) == np.flatnonzero(role == number).tolist()


def test_ogb_takes_the_largest_scaffolds_first_and_whole(benchmark):
    side = benchmark.sides[0]
    role, scaffold = published.roles(side, "ogb"), published.chiral_scaffolds(side)
    sizes = pd.Series(scaffold).value_counts()
    assert (pd.Series(role).groupby(scaffold).nunique() == 1).all()
    assert role[scaffold == sizes.index[0]].tolist() == [0] * sizes.iloc[0]
    assert (role == 0).sum() <= 0.8 * len(role) and (role == 2).any()


@pytest.mark.parametrize("rule", ["scaffold", "random"])
def test_our_rules_keep_groups_whole_and_differ_by_seed(benchmark, rule):
    side = benchmark.sides[0]
    key = side.keys["scaffold" if rule == "scaffold" else "compound"]
    one = published.roles(side, rule, seed=0)
    assert (pd.Series(one).groupby(key).nunique() == 1).all()
    assert set(one) == {0, 1, 2} and (one != published.roles(side, rule, seed=1)).any()
    assert audit(benchmark, published.molecule_split(benchmark, rule)).clean


def test_stereoisomers_in_two_sets_are_a_leak_with_a_share(folder, table):
    """The published rules keep chirality in the scaffold; the audit does not."""
    chiral = ["O=C1C[C@H]2CC[C@@H]1C2", "O=C1C[C@@H]2CC[C@H]1C2"]
    assert key_of(chiral[0])[:14] == key_of(chiral[1])[:14]
    more = pd.DataFrame({"smiles": chiral, "inchikey": [key_of(text) for text in chiral]})
    more["assay 0"] = [1.0, 0.0]
    pd.concat([table, more]).to_parquet(folder / "probing/bace.parquet")
    found = data.load("bace", folder=folder)
    assert len(set(published.chiral_scaffolds(found.sides[0])[-2:])) == 2
    role = published.roles(found.sides[0], "scaffold")
    role[-2:] = [0, 2]  # what a rule with chirality may do
    report = audit(found, published.split_of_roles(found, role, "scaffold_blind"))
    said = [str(leak) for leak in report.leaks]
    size = len(np.unique(found.pairs[role[found.pairs[:, 0]] == 2, 0]))
    assert any(f"1 of {size} molecules of test" in text and "connectivity" in text for text in said)
    assert any("achiral scaffold" in text for text in said)


def test_bad_splits_are_refused(benchmark):
    side = benchmark.sides[0]
    with pytest.raises(DataError, match="unknown rule 'no'"):
        published.roles(side, "no")
    with pytest.raises(DataError, match="shares"):
        published.roles(side, "random", shares=(0.5, 0.1, 0.1))
    with pytest.raises(DataError, match="no label is left for valid"):
        published.split_of_roles(benchmark, np.arange(58) % 2 * 2, "random")
    renamed = Benchmark(
        "chembl2k", benchmark.sides, benchmark.pairs, benchmark.y, benchmark.censored
    )
    with pytest.raises(DataError, match=r"gives \(34, 8, 16\) molecules, the paper states"):
        published.molecule_split(renamed, "infoalign")


@pytest.mark.real_data
@pytest.mark.skipif(not REAL, reason="CLMT_DATA is not set")
@pytest.mark.parametrize("name, seen, known", [("chembl2k", 0, 0), ("broad6k", 0.392, 0.454)])
def test_published_splits_have_the_stated_sizes_and_stereoisomers(name, seen, known):
    """Sizes alone prove nothing: the shares of stereoisomers belong to this very split."""
    found = data.load(name)
    published.molecule_split(found, "infoalign")  # raises where the sizes differ
    role = published.roles(found.sides[0], "infoalign")
    skeleton = found.sides[0].frame["inchikey"].str[:14].to_numpy()
    test = skeleton[role == 2]
    assert np.isin(test, skeleton[role == 0]).mean() == pytest.approx(seen, abs=5e-4)
    assert np.isin(test, skeleton[role < 2]).mean() == pytest.approx(known, abs=5e-4)


# Features


def test_counts_and_descriptors_are_those_of_each_molecule_alone():
    smiles = ["CCO", "c1ccccc1CCN", None, "not a molecule"]
    counts, shape = count_fingerprints(smiles), descriptors(smiles)
    assert counts[0].sum() == count_fingerprints(["CCO"]).sum() > 0
    assert not counts[2:].nnz and not shape[2:].any()
    assert np.array_equal(descriptors(["CCO"])[0], shape[0])
    assert np.array_equal(counts.toarray(), count_fingerprints(smiles).toarray())  # from the cache


def test_similarity_of_counts_is_the_share_of_minima():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (6, 9)), rng.integers(0, 5, (4, 9))
    want = [[np.minimum(x, y).sum() / np.maximum(x, y).sum() for y in b] for x in a]
    assert np.allclose(count_similarity(a, b), want)


def test_features_are_fitted_on_training_molecules(benchmark, split):
    view = np.arange(58.0)
    known = np.ones(58, dtype=bool)
    known[5] = False
    side = benchmark.sides[0]
    more = Side(
        side.name, side.frame, {"profile": view}, {"profile": known}, side.keys, side.identity
    )
    made = benchmark.with_sides(more)
    train = np.unique(benchmark.pairs[split.train, 0])
    x = probes.features(made, split, ("profile",)).toarray().ravel()
    rows = train[known[train]]
    want = (view - view[rows].mean()) / view[rows].std() * probes.LIGHT
    assert np.allclose(x[known], want[known]) and x[5] == 0
    with pytest.raises(DataError, match="unknown features 'no'"):
        probes.features(made, split, ("no",))


# Probes


def test_logistic_regression_is_at_the_optimum_it_says(benchmark, split):
    x = probes.features(benchmark, split, ("counts", "descriptors"))
    y = benchmark.matrix(split.train)[:, 0]
    rows = np.isfinite(y)
    for c, w, b in zip((0.1, 1.0), *probes.fit_logistic(x, y, (0.1, 1.0))):
        rest = y[rows] - expit(x[rows] @ w + b)
        assert abs(rest.sum()) < 0.02 * rows.sum()  # the intercept is free of the penalty
        assert np.abs(c * (x[rows].T @ rest) - w).max() < 0.05


def test_ridge_is_that_of_scikit_learn(benchmark, split):
    x = probes.features(benchmark, split, ("descriptors",))
    y = np.where(np.arange(58) % 3, np.arange(58.0), np.nan)
    rows = np.isfinite(y)
    for c, w, b in zip((0.1, 10.0), *probes.fit_ridge(x, y, (0.1, 10.0))):
        want = Ridge(alpha=1 / c).fit(x[rows].toarray(), y[rows])
        assert np.allclose(w, want.coef_, atol=1e-6) and np.isclose(b, want.intercept_)


def test_an_assay_of_one_class_is_its_mean():
    import scipy.sparse as sp

    x = sp.csr_matrix(np.eye(4))
    for y, share in (([1, 1, 1, np.nan], 3.5 / 4), ([np.nan] * 4, 0.5)):
        w, b = probes.fit_logistic(x, np.array(y, dtype=float), (1.0,))
        assert not w.any() and expit(b[0]) == pytest.approx(share)


@pytest.mark.parametrize("model", [probes.LinearProbe(("counts",)), probes.ForestProbe(trees=5)])
def test_a_probe_fits_all_assays_and_never_reads_the_test_set(benchmark, split, model):
    kind = type(model)
    settings = {key: getattr(model, key) for key in ("features", "fraction")}
    more = {"trees": 5} if kind is probes.ForestProbe else {"strengths": (0.1, 1.0)}

    def fit(found, part):
        table = kind(**settings, **more).fit(found, part).table
        return table[np.unique(found.pairs[part.valid, 0])]

    assert proves_blind(fit, benchmark, split, at_once=True).clean
    made = kind(**settings, **more).fit(benchmark, split)
    assert made.table.shape == benchmark.shape and ((made.table >= 0) & (made.table <= 1)).all()


def test_a_fraction_uses_the_labels_of_that_share_of_molecules(benchmark, split):
    full = probes.training_labels(benchmark, split)
    part = probes.training_labels(benchmark, split, 0.25, seed=3)
    rows = np.isfinite(part).any(1)
    assert rows.sum() == round(0.25 * np.isfinite(full).any(1).sum())
    assert np.array_equal(part[rows], full[rows], equal_nan=True)
    with pytest.raises(DataError, match="fraction 0"):
        probes.training_labels(benchmark, split, 0.0)


def test_hard_labels_are_zero_or_one(benchmark, split):
    hard = probes.ForestProbe(trees=5, hard=True).fit(benchmark, split).table
    soft = probes.ForestProbe(trees=5).fit(benchmark, split).table
    assert set(np.unique(hard)) <= {0.0, 1.0} and len(np.unique(soft)) > 2


def test_ranks_ignore_monotone_changes_and_molecules_of_the_training_set():
    rng = np.random.default_rng(0)
    a, b, rows = rng.normal(size=(9, 2)), rng.normal(size=(9, 2)), np.arange(3, 9)
    one = probes.mean_of_ranks([a, b], rows)
    assert np.allclose(one[rows], probes.mean_of_ranks([np.exp(a), b * 7], rows)[rows])
    assert np.isnan(one[:3]).all()


def test_the_best_subset_is_chosen_on_valid(benchmark, split):
    y = benchmark.matrix()
    good, bad = np.nan_to_num(y, nan=0.5), np.nan_to_num(1 - y, nan=0.5)
    names, _, looked = probes.best_of_ranks({"bad": bad, "good": good}, benchmark, split)
    assert names == ("good",) and looked == 3


@pytest.fixture
def blend():
    small = {"strengths": (0.03, 1.0)}
    return probes.BlendProbe(
        {
            "counts": probes.LinearProbe(("counts",), **small),
            "size": probes.LinearProbe(("heavy_atoms",), **small),
            "trees": probes.ForestProbe(("counts",), trees=5),
        }
    )


def test_folds_inside_hold_scaffolds_out_and_never_touch_the_test_set(benchmark, blend):
    split = published.molecule_split(benchmark, "scaffold", seed=1)
    both = np.sort(np.concatenate([split.train, split.valid]))
    seen = []
    for part in blend.parts_of(benchmark, split):
        assert np.array_equal(np.sort(np.concatenate([part.train, part.valid])), both)
        assert np.array_equal(part.test, split.test)
        scaffold = benchmark.sides[0].keys["scaffold"]
        inside = [set(scaffold[benchmark.pairs[at, 0]]) for at in (part.train, part.valid)]
        assert not inside[0] & inside[1]
        seen.append(part.valid)
    assert len(seen) == 3 and np.array_equal(np.sort(np.concatenate(seen)), both)


def naive_blend(benchmark, parts, members, names):
    """Mean over folds, then assays, of the AUROC of summed ranks, as a script would write it."""
    values = []
    for part in parts:
        held = np.setdiff1d(np.arange(58), benchmark.pairs[part.train, 0])
        total = np.zeros(benchmark.shape)
        for name in names:
            model = type(members[name])(**members[name].resolved()).fit(benchmark, part)
            total[held] += pd.DataFrame(model.table[held]).rank().to_numpy()
        y = benchmark.matrix(part.valid)
        each = []
        for assay in range(4):
            rows = np.flatnonzero(np.isfinite(y[:, assay]))
            if len(rows) >= 2 and np.ptp(y[rows, assay]):
                each.append(roc_auc_score(y[rows, assay], total[rows, assay]))
        values.append(np.mean(each))
    return np.mean(values)


def test_a_blend_is_the_subset_that_is_best_over_the_folds(benchmark, split, blend):
    fitted = blend.fit(benchmark, split)
    parts = list(blend.parts_of(benchmark, split))
    assert len(fitted.looked) == 7
    for names, score in fitted.looked.items():
        want = naive_blend(benchmark, parts, blend.members, names)
        assert -score == pytest.approx(want, abs=0.01), names  # ties of ranks fall either way
    names = tuple(fitted.chosen)
    assert fitted.looked[names] == min(fitted.looked.values())
    tables = [blend.members[name].fit(benchmark, split).table for name in names]
    held = np.setdiff1d(np.arange(58), benchmark.pairs[split.train, 0])
    assert np.allclose(fitted.table[held], probes.mean_of_ranks(tables, held)[held])


def test_a_blend_fitted_again_keeps_what_was_chosen(benchmark, split, blend):
    fitted = blend.fit(benchmark, split)
    before, chosen = fitted.table, dict(fitted.chosen)
    again = fitted.fit_again(benchmark, split)
    assert again.chosen == chosen
    whole, tables = split.with_validation(), []
    for name, settings in chosen.items():
        set_ = {"strengths": (settings["C"],)} if settings else {"trees": 5}
        kind, features = type(blend.members[name]), blend.members[name].features
        tables.append(kind(features, **set_).fit(benchmark, whole).table)
    held = np.unique(benchmark.pairs[split.test, 0])
    held = np.setdiff1d(np.arange(58), benchmark.pairs[whole.train, 0])
    assert np.allclose(again.table[held], probes.mean_of_ranks(tables, held)[held])
    assert not np.allclose(again.table[held], before[held])


def test_a_blend_never_reads_the_test_set(benchmark, split, blend):
    def fit(found, part):
        table = probes.BlendProbe(blend.members).fit(found, part).table
        return np.nan_to_num(table[np.unique(found.pairs[part.valid, 0])])

    assert proves_blind(fit, benchmark, split, at_once=True).clean
    alone = probes.BlendProbe(blend.members, folds=0).fit(benchmark, split)
    tables = {name: member.fit(benchmark, split).table for name, member in blend.members.items()}
    names, table, looked = probes.best_of_ranks(tables, benchmark, split)
    assert tuple(alone.chosen) == names and len(alone.looked) == looked == 7
    assert np.allclose(alone.table, table, equal_nan=True)


def test_nothing_cannot_be_blended(benchmark, split):
    with pytest.raises(DataError, match="no probe to blend"):
        probes.BlendProbe().fit(benchmark, split)
    with pytest.raises(DataError, match="no model to choose from"):
        probes.best_of_ranks({}, benchmark, split)


def test_an_assay_without_a_test_label_is_dropped_and_counted(benchmark, split):
    """And one whose labels there are of one class: neither is counted as 0.5."""
    test, y = split.test, benchmark.y.copy()
    assay = benchmark.pairs[:, 1]
    y[test[assay[test] == 1]] = 1.0
    role = np.zeros(len(y), dtype=bool)
    role[test[assay[test] == 0]] = True
    found = replace(benchmark, y=y)
    cut = replace(split, test=np.setdiff1d(test, np.flatnonzero(role)))
    scored = probes.Scored.of(found, cut, fewest=1)
    assert scored.dropped == 2 and not scored.kept[:2].any()
    each = scored.each(np.random.default_rng(0).random(found.shape))
    assert np.isnan(each[:2]).all() and np.isfinite(each[2:]).all()
    made = probes.LinearProbe(("counts",), (0.1,)).fit(found, replace(cut, checksum=found.checksum))
    assert np.isfinite(made.table).all()


def test_scores_are_per_assay_and_small_assays_are_dropped_and_counted(benchmark, split):
    table = np.random.default_rng(0).random(benchmark.shape)
    scored = probes.Scored.of(benchmark, split, fewest=3)
    y, rows = benchmark.matrix(split.test), np.unique(benchmark.pairs[split.test, 0])
    assert probes.Scored.of(benchmark, split, fewest=30).dropped == 4
    for assay in range(4):
        known = rows[np.isfinite(y[rows, assay])]
        positive = y[known, assay].sum()
        enough = min(positive, len(known) - positive) >= 3
        assert scored.kept[assay] == enough
        if enough:
            want = roc_auc_score(y[known, assay], table[known, assay])
            assert scored.each(table)[assay] == pytest.approx(want)


def test_draws_take_stereoisomers_together(folder, table):
    """Naively: every compound as often as it was drawn, all its rows with it."""
    table = table.copy()
    table.loc[56:57, "assay 0"] = [0.0, 1.0]
    table.to_parquet(folder / "probing/bace.parquet")
    found = data.load("bace", folder=folder)
    side = found.sides[0]
    role = np.full(58, 2)
    role[:10], role[10:15] = 0, 1
    split = published.split_of_roles(found, role, "mixed")
    scored = probes.Scored.of(found, split, fewest=3)
    p = np.random.default_rng(1).random(found.shape)
    drawn = scored.draws(p, draws=4)
    code = np.unique(side.keys["compound"], return_inverse=True)[1]
    boot = probes.Bootstrap((code.max() + 1, 4), 4, names=("molecule", "assay"))
    for draw in range(4):
        weight = boot.counts[0][draw][code].astype(int)
        rows = np.repeat(np.arange(58), weight * (role == 2))
        y = found.matrix()
        each = [
            roc_auc_score(y[r, t], p[r, t])
            for t in range(4)
            for r in [rows[np.isfinite(y[rows, t])]]
        ]
        assert drawn[draw] == pytest.approx(np.mean(each), abs=0.02)
    gap = scored.compared(p, p)
    assert gap["mean"] == 0 and gap["over_molecules"] == [0, 0] == gap["over_assays"]


def test_pairwise_kernel_ridge_fits_every_assay_at_once(benchmark, split):
    fitted = KernelRidge(row_kernel="structure", column_kernel="identity").fit(benchmark, split)
    assert fitted.table.shape == benchmark.shape and np.isfinite(fitted.table).all()


# The driver of the records


@pytest.fixture(scope="module")
def driver():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[2] / "experiments" / "probes.py"
    spec = importlib.util.spec_from_file_location("probes_driver", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_models_of_the_configuration_are_there(driver):
    named = {m for row in driver.CONFIG["tables"] for m in row["models"]}
    named |= {m for row in driver.CONFIG["fractions"] for m in row["models"]}
    assert named <= set(driver.MODELS)
    assert {*driver.BLEND, *driver.MEMBERS} <= set(driver.MODELS)
    tables_named = {row["table"] for row in driver.CONFIG["tables"]}
    assert tables_named <= {*data.LABEL_TABLES, "tox21"}
    assert {row["rule"] for row in driver.CONFIG["tables"]} <= set(published.RULES)


def test_rows_of_the_record_stay_where_the_scores_are_gone(driver, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "KEPT", tmp_path)
    rows, missing = driver.tables("")
    before = records.read("probes-tables").metrics
    assert rows["tables"] == before["tables"] and rows["stereo"] == before["stereo"]
    assert rows["tasks"] == records.read("probes-tasks").metrics["tasks"]
    assert missing == before["missing"]


def test_numbers_of_a_record_are_kept_to_five_digits(driver):
    assert driver.short({"a": [0.123456, {"b": np.float64(1 / 3)}, 7, None]}) == {
        "a": [0.12346, {"b": 0.33333}, 7, None]
    }


def test_parts_of_a_test_set_by_known_stereoisomers(folder, table, driver):
    table.loc[57, "assay 0"] = 1.0
    table.loc[56, "assay 0"] = 0.0
    table.to_parquet(folder / "probing/bace.parquet")
    found = data.load("bace", folder=folder)
    role = np.arange(58) % 3
    role[56:] = [0, 2]
    split = published.split_of_roles(found, role, "scaffold_blind")
    assert not driver.sets_apart(found, split)  # one molecule: there is nothing to score
    parts = driver.sets_apart(found, split, fewest=0)
    known = found.pairs[parts["stereoisomer known"].test, 0]
    assert set(known) == {57} and 57 not in found.pairs[parts["new"].test, 0]
    role[56] = 2
    known = published.split_of_roles(found, role, "scaffold_blind")
    assert not driver.sets_apart(found, known, fewest=0)


def test_the_ceiling_is_asked_of_measured_molecules_and_keeps_the_others_as_donors(
    benchmark, driver
):
    side = benchmark.sides[0]
    has = np.arange(58) % 2 == 0
    view = pd.DataFrame({"feature": np.arange(58.0)}, side.ids)
    made = Side(side.name, side.frame, {"space": view}, {"space": has}, side.keys, side.identity)
    cut = driver.asked_of(benchmark.with_sides(made), "space", fewest=3)
    assert cut.shape[0] == has.sum()
    assert cut.sides[0].views["space"]["feature"].tolist() == np.flatnonzero(has).tolist()
    want = benchmark.matrix()[has]
    enough = [min(np.nansum(want[:, t]), np.nansum(1 - want[:, t])) >= 3 for t in range(4)]
    assert np.array_equal(cut.matrix(), want[:, enough], equal_nan=True)


# The committed records


def record(name, part):
    return pd.DataFrame(records.read(name).metrics[part])


def row_of(frame, **where):
    found = frame[np.logical_and.reduce([frame[key] == value for key, value in where.items()])]
    assert len(found) == 1, (where, len(found))
    return found.iloc[0]


def test_records_say_what_the_issue_asks_of_the_published_tables():
    found = record("probes-tables", "tables")
    chembl = {"table": "chembl2k", "rule": "infoalign", "seed": 0}
    probe = row_of(found, **chembl, model="both")
    assert probe["test_all"] == pytest.approx(0.808, abs=2e-3)  # 41 assays, as papers count
    assert probe["molecules"] == list(published.STATED["chembl2k"])
    assert probe["assays"] + probe["dropped"] == 41
    hard, soft = (row_of(found, **chembl, model=m) for m in ("forest_hard", "forest_counts"))
    printed = row_of(
        record("probes-tables", "printed"), table="chembl2k", model="forest on fingerprints"
    )
    assert soft["test_all"] - hard["test_all"] > 0.15
    assert abs(hard["test_all"] - printed["value"]) < 0.04 < soft["test_all"] - printed["value"]
    aligned = row_of(record("probes-tables", "printed"), table="biogen", model="InfoAlign")
    best = row_of(found, table="biogen", rule="infoalign", seed=0, model="chosen")
    assert best["test_all"] < aligned["value"]  # a mean absolute error


def test_a_measured_profile_is_worth_something_on_tox21_and_an_imputed_one_is_not():
    found = record("probes-ceiling", "ceiling")
    tox = {"table": "tox21", "space": "comas_references"}
    measured = row_of(found, **tox, row="+ measured")
    assert measured["molecules"] == 501 and measured["assays"] == 11
    assert measured["gain"] > 0.02 and measured["gain_interval"][0] > 0
    imputed = row_of(found, **tox, row="+ imputed")
    assert imputed["gain_interval"][0] < 0 < imputed["gain_interval"][1]
    assert (
        row_of(found, **tox, row="cell count")["auroc"]
        < row_of(found, **tox, row="structure")["auroc"]
    )


def test_structure_alone_reaches_what_pre_training_is_printed_for():
    """Chosen inside train and valid, on the published split; both choices are in the records."""
    found = record("probes-inner", "inner")
    tried, chosen = found[found["what"] == "inner"], row_of(found, what="chosen")
    assert len(tried) == 15 == chosen["looked"]
    assert chosen["models"] == tried.loc[tried["valid"].idxmax(), "models"]
    printed = record("probes-tables", "printed")
    aligned = row_of(printed, table="chembl2k", model="InfoAlign")["value"]
    assert chosen["test_all"] > max(0.82, aligned)
    assert row_of(found, what="chosen, trained on valid, too")["test_all"] > 0.83


def test_the_planned_choice_is_level_with_infoalign_and_no_victory():
    """Folds and models fixed before the one look at the test set."""
    found = record("probes-blend", "blends")
    tried, chosen = found[found["what"] == "inner"], row_of(found, what="chosen")
    assert len(tried) == 31 == chosen["looked"]
    assert chosen["models"] == tried.loc[tried["valid"].idxmax(), "models"]
    printed = record("probes-tables", "printed")
    aligned = row_of(printed, table="chembl2k", model="InfoAlign")["value"]
    low, high = chosen["interval"]
    assert abs(chosen["test_all"] - aligned) < (high - low) / 2
    assert row_of(found, what="chosen, trained on valid, too")["test_all"] > 0.82
    first = row_of(record("probes-inner", "inner"), what="chosen")["test_all"]
    assert abs(first - chosen["test_all"]) < 0.01


def test_a_forest_is_better_on_stereoisomers_of_molecules_it_knows_and_the_probe_is_not():
    found = record("probes-tables", "stereo")
    gap = {
        model: row_of(found, model=model, part="stereoisomer known")["test_all"]
        - row_of(found, model=model, part="new")["test_all"]
        for model in ("forest_counts", "both")
    }
    assert gap["forest_counts"] > 0.03 > 0.0 > gap["both"]
    best = record("probes-tables", "tables")
    ranks = row_of(best, table="broad6k", rule="infoalign", seed=0, model="chosen")
    assert ranks["test_all"] > 0.70
