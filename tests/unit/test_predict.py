"""Predictions for a reader's own drugs and lines: the same however they are asked for, and said
when not to believe them.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny import prepared_folder, tables

from clmt_lib import data
from clmt_lib.data.base import Side
from clmt_lib.data.response import simulated
from clmt_lib.data.response.auxiliary import other_levels, with_events
from clmt_lib.io import DataError
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.kernel_head import NEW_DRUGS, NEW_LINES, KernelHead
from clmt_lib.models.known import whole_split
from clmt_lib.models.protocol import Level, Potency
from clmt_lib.predict import USE, Predictor, parts_of, predict_responses, write_predictions
from clmt_lib.predict.entities import find_lines
from clmt_lib.predict.intervals import by_group, calibrate, conformal_quantile
from clmt_lib.predict.levels import (
    BETWEEN,
    CONSTANT,
    SAME,
    WEIGHTS,
    DrugLevels,
    described,
    joined,
)
from clmt_lib.views.molecules import normal_scores
from clmt_lib.views.omics import binary

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", seed=0, cells=60)


@pytest.fixture(scope="module")
def predictor(world):
    return Predictor.fit(world)


@pytest.fixture(scope="module")
def own_lines(world):
    """Three lines as a reader has them: other ids, tables of expression alone."""
    table = world.omics["expression"].iloc[[3, 9, 30]].astype(float) + 0.01
    return table.set_axis(["mine", "yours", "hers"])


def close(one, other):
    """Largest difference between the numbers of two frames of the same pairs."""
    keys = ["line", "drug"]
    one, other = (frame.sort_values(keys, ignore_index=True) for frame in (one, other))
    assert one[keys].equals(other[keys])
    numbers = ["ln_ic50", "lower", "upper", "percentile"]
    return float(np.abs(one[numbers].to_numpy() - other[numbers].to_numpy()).max())


def test_conformal_intervals_cover_what_is_exchangeable():
    rng = np.random.default_rng(0)
    covered = [
        rng.normal() ** 2 <= conformal_quantile(rng.normal(size=39) ** 2, 0.9) for _ in range(4000)
    ]
    assert 0.885 < np.mean(covered) < 0.925  # at least 0.9, at most 0.9 + 1 / 40
    # groups that share an error: a new group's pairs are covered where every group weighs the same
    own = []
    for _ in range(1500):
        level = rng.normal(size=31)
        size = rng.integers(1, 40, size=30)
        groups = np.repeat(np.arange(30), size)
        scores = np.abs(level[groups] + 0.1 * rng.normal(size=len(groups)))
        new = abs(level[30] + 0.1 * rng.normal())
        own.append(new <= conformal_quantile(scores, 0.8, by_group(groups)))
    assert 0.78 < np.mean(own) < 0.86


def test_each_drug_and_tissue_gets_its_own_width():
    rng = np.random.default_rng(1)
    drug, tissue = rng.integers(0, 3, 6000), rng.integers(0, 2, 6000)
    error = rng.normal(size=6000) * np.array([1.0, 2.0, 4.0])[drug] * np.array([1.0, 1.5])[tissue]
    line = rng.integers(0, 400, 6000) * 2 + tissue
    found = calibrate(error, line, drug, tissue)
    new = rng.normal(size=6000) * np.array([1.0, 2.0, 4.0])[drug] * np.array([1.0, 1.5])[tissue]
    width = found.half_width(drug.astype(str), tissue.astype(str), 0.9)
    for group in (drug, tissue):
        for one in np.unique(group):
            assert 0.87 < (np.abs(new) <= width)[group == one].mean() < 0.93


def test_the_same_from_python_a_folder_and_in_any_order_or_batch(
    predictor, world, own_lines, tmp_path
):
    drugs = [ASPIRIN, "Gemcitabine", "CCO"]
    found = predictor.predict(drugs, own_lines)
    predictor.save(tmp_path / "model")
    assert close(found, predict_responses(tmp_path / "model", drugs, own_lines)) < 1e-6
    assert close(found, predictor.predict(drugs[::-1], own_lines.iloc[::-1])) < 1e-6
    one_by_one = [
        predictor.predict([drug], own_lines.iloc[[i]]) for drug in drugs for i in range(3)
    ]
    assert close(found, pd.concat(one_by_one)) < 1e-6
    write_predictions(predictor, tmp_path / "found.csv", drugs, own_lines)
    assert close(found, pd.read_csv(tmp_path / "found.csv")) < 1e-6


def test_every_kind_of_pair_has_an_answer(predictor, own_lines, world):
    lines = world.cells.index[:2].tolist()
    for source, kinds in ((lines, ("known", "new drug")), (own_lines, ("new line", "both new"))):
        found = predictor.predict(["Gemcitabine", ASPIRIN], source)
        assert tuple(found["pair"].unique()) == kinds
        assert np.isfinite(found[["ln_ic50", "lower", "upper", "percentile"]]).all(axis=None)
        assert (found["lower"] < found["ln_ic50"]).all() and (found["use"] == USE).all()
        assert np.allclose(np.log(found["ic50_um"]), found["ln_ic50"])
    known = predictor.predict(["Gemcitabine"], lines)["ln_ic50"]
    again = predictor.predict(["Gemcitabine"], lines, as_new=True)
    assert np.isfinite(again["ln_ic50"]).all() and not np.allclose(known, again["ln_ic50"])
    assert again["note"].str.contains("does not count as a new one").all()


def test_a_genes_order_spelling_and_double_do_not_matter(predictor, own_lines):
    plain = predictor.predict(["Gemcitabine"], own_lines)
    other = own_lines.iloc[:, ::-1].rename(columns=lambda gene: f" {gene.lower()} (123)")
    assert close(plain, predictor.predict(["Gemcitabine"], other)) < 1e-6
    assert close(plain, predictor.predict(["Gemcitabine"], own_lines.T)) < 1e-6
    twice = pd.concat([own_lines, own_lines.iloc[:, :5]], axis=1)
    assert close(plain, predictor.predict(["Gemcitabine"], twice)) < 1e-6
    ids = pd.DataFrame(
        {
            "gene_id": [f"ENSG{i:011d}" for i in range(own_lines.shape[1])],
            "Symbol": own_lines.columns,
        }
    )
    ensembl = own_lines.set_axis([f"{label}.7" for label in ids["gene_id"]], axis=1)
    assert close(plain, predictor.predict(["Gemcitabine"], ensembl, genes=ids)) < 1e-6
    with pytest.raises(DataError, match="named by Ensembl ids"):
        predictor.predict(["Gemcitabine"], ensembl)
    some = predictor.predict(["Gemcitabine"], own_lines.iloc[:, ::3])
    assert some["note"].str.contains("33 % of the model's genes were given").all()
    assert np.corrcoef(some["ln_ic50"], plain["ln_ic50"])[0, 1] > 0.5


def test_raw_expression_of_one_line_is_refused(predictor, own_lines):
    raw = np.exp(own_lines + 3)
    with pytest.raises(DataError, match="raw expression of 1 line"):
        predictor.predict(["Gemcitabine"], raw.iloc[[0]])
    with pytest.raises(DataError, match="cohort of 3 lines"):
        predictor.predict(["Gemcitabine"], raw, scale="cohort")


def test_what_a_molecule_is_is_said(predictor, world):
    gemcitabine = world.drugs.loc[world.drugs["name"] == "Gemcitabine", "smiles"].iloc[0]
    line = world.cells.index[:1].tolist()

    def note(smiles):
        found = predictor.predict([smiles], line)
        return found["note"].iloc[0], found["pair"].iloc[0]

    for salt in (f"{gemcitabine}.Cl", f"[Na+].[Cl-].{gemcitabine}"):
        said, kind = note(salt)
        assert kind == "known" and "the same compound as Gemcitabine" in said
    for name in ("gemcitabine", " GEM-citabine"):
        assert note(name) == ("", "known")
    assert "a complex of Pt" in note("N[Pt](N)(Cl)Cl")[0]
    assert "largest alone" in note(f"{ASPIRIN}.CN1C=NC2=C1C(=O)N(C(=O)N2C)C")[0]
    peptide = "NCC(=O)NCC(=O)NCC(=O)NCC(=O)NCC(=O)NCC(=O)O"
    assert "a peptide" in note(peptide)[0]
    with pytest.raises(DataError, match="did you mean Gemcitabine"):
        predictor.predict(["Gemcitabin"], line)


def test_what_was_meant_is_found_or_said(predictor, own_lines, world, tmp_path):
    line = world.cells.index[:1].tolist()
    known = world.drugs.iloc[0]
    by_key = predictor.predict([known["inchikey"]], line)
    assert by_key["pair"].tolist() == ["known"]
    assert (
        by_key["ln_ic50"].tolist() == predictor.predict([known["name"]], line)["ln_ic50"].tolist()
    )
    assert "R groups" in predictor.predict(["*CCO"], line)["note"].iloc[0]
    files = {"semi.csv": "drug_name;smiles\nA;CCO\n", "tab.csv": "drug_name\tsmiles\nA\tCCO\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match="cells are separated by"):
            predictor.predict(tmp_path / name, line)
    with pytest.raises(DataError, match="given as a list"):
        predictor.predict("CCO", line)
    with pytest.raises(DataError, match="there twice, with other values"):
        predictor.predict(["CCO"], pd.concat([own_lines, own_lines + 0.1]))
    with pytest.raises(DataError, match="5 of the model's"):
        predictor.predict(["CCO"], own_lines.iloc[:, :5])
    with pytest.raises(DataError, match="did you mean Gemcitabine") as refused:
        predictor.predict(["Gemcitabin"], line)
    assert str(refused.value).count("Gemcitabine") == 1


@pytest.mark.parametrize(
    "salt",
    ["CC(=O)Oc1ccccc1C(=O)[O-].[Na+]", f"{ASPIRIN}.CC(C)N", f"{ASPIRIN}.O", f"{ASPIRIN}.[K]"],
)
def test_a_salt_is_described_as_its_parent(predictor, world, salt):
    lines = world.cells.index[:5].tolist()
    as_acid, as_salt = (
        predictor.predict(pd.DataFrame({"drug": ["x"], "smiles": [text]}), lines)
        for text in (ASPIRIN, salt)
    )
    assert close(as_acid, as_salt) == 0
    assert np.array_equal(as_acid["drug_similarity"], as_salt["drug_similarity"])
    # a counter-ion as large as a drug makes another molecule of it, and that is said
    mixed = predictor.predict([f"{ASPIRIN}.{'C' * 20}"], lines)
    alone = predictor.predict(["C" * 20], lines)
    assert np.array_equal(mixed["ln_ic50"], alone["ln_ic50"])
    assert mixed["note"].str.contains("a mixture of 2 molecules").all()
    # a metal is no counter-ion: the complex stays whole
    metal = predictor.predict(["N[Pt](N)(Cl)Cl"], lines)
    assert np.abs(metal["ln_ic50"] - predictor.predict(["N"], lines)["ln_ic50"]).max() > 1e-6


def test_an_interrupted_question_goes_on_where_it_was(predictor, world, tmp_path, monkeypatch):
    import clmt_lib.predict as room

    monkeypatch.setattr(room, "BLOCK", 1)
    drugs, lines = world.drugs.index[:4].tolist(), world.cells.index[:2].tolist()
    made, block = [], Predictor._block

    def counted(self, *given):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(given[0].ids)
        return block(self, *given)

    monkeypatch.setattr(Predictor, "_block", counted)
    path = tmp_path / "found.parquet"
    with pytest.raises(KeyboardInterrupt):
        write_predictions(predictor, path, drugs, lines)
    assert not path.exists() and len(list(tmp_path.glob("*.parts/*.parquet"))) == 2
    monkeypatch.setattr(Predictor, "_block", block)
    begun = made.copy()
    (half,) = tmp_path.glob("*.parts")
    (half / ".000002.parquet.0-1-x.part").write_bytes(b"PAR1")  # what a kill leaves: not believed
    rest = predictor.blocks(drugs, lines, skip={0, 1}.__contains__)
    again = [frame["drug"].iloc[0] for frame in rest]
    assert write_predictions(predictor, path, drugs, lines) == 8
    assert [one for (one,) in begun] + again == drugs
    assert close(pd.read_parquet(path), predictor.predict(drugs, lines)) < 1e-6
    assert not list(tmp_path.glob("*.parts"))


def test_two_processes_share_the_blocks_that_are_not_there(predictor, world, tmp_path, monkeypatch):
    import clmt_lib.predict as room

    drugs, lines = [*world.drugs.index[:3], ASPIRIN], world.cells.index[:2].tolist()
    found = predictor.predict(drugs, lines)
    monkeypatch.setattr(room, "block_size", lambda lines: 1)
    path = tmp_path / "found.csv"
    parts = tmp_path / "found.csv.parts"
    parts.mkdir()
    question = room._question(predictor, drugs, lines, {"level": 0.9, "blocks": 4})
    (parts / "question.txt").write_text(question)
    kept = found[found["drug"] == drugs[2]].assign(note="finished before")
    kept.to_parquet(parts / "000002.parquet", index=False)
    given = []

    def one_by_one(jobs, work, shares, bar):
        for share in shares:
            given.append(list(room._write_blocks(*work, share)))

    monkeypatch.setattr(room, "_in_processes", one_by_one)
    assert write_predictions(predictor, path, drugs, lines, jobs=2, level=0.9) == 8
    again = pd.read_csv(path, dtype={"drug": str, "line": str})
    assert given == [[0, 3], [1]] and close(found, again) < 1e-6
    assert (again.loc[again["drug"] == drugs[2], "note"] == "finished before").all()


def test_processes_of_their_own_give_the_same(predictor, world, tmp_path):
    lines = world.cells.index[:2].tolist()
    drugs = ["CCO", ASPIRIN, *["CCN"] * 500]  # two blocks
    path = tmp_path / "found.parquet"
    assert write_predictions(predictor, path, drugs, lines, jobs=2) == 1004
    assert close(pd.read_parquet(path), predictor.predict(drugs, lines)) < 1e-6


def test_lines_that_lack_a_view_are_known_and_do_not_teach_the_model_of_new_lines(world, tmp_path):
    lines = world.sides[0]
    there = np.arange(len(lines)) >= 10
    hits = np.random.default_rng(0).random((len(lines), 9)) < 0.3
    events = pd.DataFrame(hits.astype(np.float32), lines.ids, [f"event {i}" for i in range(9)])
    some = np.arange(len(lines)) != 1
    present = {"expression": there, "events": some}
    partial = replace(lines, views={**lines.views, "events": events}, present=present)
    predictor = Predictor.fit(world.with_sides(partial))
    assert predictor.known.shape == world.shape
    assert predictor.line.known.cells.index.equals(world.cells.index[10:])
    # lines without expression are answered by the model that was fitted on such lines, too
    assert predictor.bare.known.cells.index.equals(world.cells.index)
    new = find_lines(world.cells.index[[0, 1, 12]].tolist(), predictor.known, None, as_new=True)
    rows, joint = predictor._new_rows(new), predictor.known.extended(new.side)
    at, every = len(lines) + np.arange(3), np.arange(world.shape[1])
    by_bare, by_line = (m.new_table(joint, at, every) for m in (predictor.bare, predictor.line))
    assert np.allclose(rows, np.vstack([by_bare[:2], by_line[2:]]))
    assert not np.allclose(rows, by_line)
    split = whole_split(world, "cell_blind")
    z, target = binary(events, np.flatnonzero(some)), per_drug_targets(world, split)[0]
    weight = np.sqrt(((z[some].T @ np.nan_to_num(target)[some] / some.sum()) ** 2).mean(1))
    z = z * weight / np.sqrt((weight**2).mean())
    gap = ((z[:, None] - z[None]) ** 2).sum(2)
    width = np.median(gap[np.ix_(some, some)][np.triu_indices(some.sum(), 1)])
    expected = np.exp(-gap / width) * np.outer(some, some)
    kernel = predictor.bare._problem(predictor.known, split, True).kernels["events"]
    assert np.allclose(kernel, expected)
    asked = world.cells.index[[0, 12]].tolist()
    found = predictor.predict(["Gemcitabine", ASPIRIN], asked)
    assert np.isfinite(found["ln_ic50"]).all() and set(found["pair"]) == {"known", "new drug"}
    new = predictor.predict(["Gemcitabine", ASPIRIN], asked, as_new=True)
    assert np.isfinite(new["ln_ic50"]).all() and set(new["pair"]) == {"both new"}
    assert new["missing_views"].tolist() == ["expression", "", "expression", ""]
    assert new["note"].str.contains("no expression").tolist() == [True, False, True, False]
    predictor.save(tmp_path / "model")
    assert (
        close(
            new, predict_responses(tmp_path / "model", ["Gemcitabine", ASPIRIN], asked, as_new=True)
        )
        < 1e-6
    )


def test_events_are_joined_by_id(tmp_path):
    folder = prepared_folder(tmp_path / "folder")
    benchmark = data.load("gdsc2", folder=folder)
    assert with_events(benchmark, folder) is benchmark  # no such table
    own = pd.to_numeric(benchmark.cells["cosmic_id"]).astype(int).tolist()
    table = pd.DataFrame({"COSMIC_ID": [own[2], 999, own[0]], "TISSUE_FACTOR": "x"})
    table.assign(hit=[1, 0, 1], gain=[0, 1, 1]).to_parquet(folder / "gdsc/mobem_v17.parquet")
    side = with_events(benchmark, folder).sides[0]
    assert side.has("events").tolist() == [i in (0, 2) for i in range(len(own))]
    assert side.views["events"].iloc[[0, 1, 2]].to_numpy().tolist() == [[1, 1], [0, 0], [1, 0]]


def some_drugs(world, count):
    """The world without the last drugs, and these as new ones."""
    gone = world.drugs.index[-count:]
    left = ~np.isin(world.pairs[:, 1], world.drugs.index.get_indexer(gone))
    return np.flatnonzero(left), world.drugs.index.get_indexer(gone)


def test_what_is_learnt_of_drugs_carries_over_to_a_line_with_the_same_responses(world):
    rows, new = some_drugs(world, 8)
    split = whole_split(world, "drug_blind")
    model = KernelHead(**{**NEW_DRUGS, "steps": 2})
    model.fit(world, type(split)(**{**vars(split), "train": rows}))
    assert model.constants["share"] != 0
    states = model.carried(world, new, np.zeros((model.known.shape[1], 1)))[0].T
    lines = world.cells.index.get_indexer(model.known.cells.index)
    assert np.allclose(states, model.new_table(world, lines, new), atol=1e-8)
    model.constants["share"] = np.array(0.0)  # what a line's own genes add does not carry over
    problem = model._problem(model.known, whole_split(model.known, "drug_blind"))
    profiles = problem.offset[:, None] + problem.spread[:, None] * problem.target
    expected = model.new_table(world, lines, new)
    known, further = model.carried(world, new, profiles)
    assert np.allclose(known.T, expected, atol=1e-8)
    assert np.allclose(further.T, expected, atol=1e-8)


def test_a_line_without_a_view_is_predicted_by_the_kernels_of_what_it_has(world):
    lines = world.sides[0]
    train, new = np.flatnonzero(world.pairs[:, 0] >= 5), np.arange(5)
    split = whole_split(world, "cell_blind")
    model = KernelHead(**{**NEW_LINES, "steps": 1})
    model.fit(world, type(split)(**{**vars(split), "train": train}))
    ids = pd.Index([f"new {i}" for i in new])
    frame = lines.frame.iloc[new].set_axis(ids)
    views = {view: table.iloc[new].set_axis(ids) for view, table in lines.views.items()}
    none = np.zeros(5, dtype=bool)
    few = Side("cell", frame, views=views, present={"mutation": none, "copy_number": none})
    joint = world.extended(few)
    found = model.new_table(joint, len(lines) + new, np.arange(world.n_drugs))
    # by hand: every group of modes solved with the kernels that are left
    problem = model._problem(model.known.extended(few), whole_split(model.known, "cell_blind"))
    n, expected = len(problem.known), 0.0
    left = [name for name in problem.kernels if name not in ("mutation", "copies")]
    place = {name: i for i, name in enumerate(problem.kernels)}
    scores, modes = model._modes(problem)
    for group, (score, mode) in enumerate(zip(scores, modes, strict=True)):
        weights = np.exp(model.constants["log_weight"][group])
        k = sum(weights[place[name]] * problem.kernels[name] for name in left)
        system = k[:n, :n] + np.exp(model.constants["log_ridge"][group]) * np.eye(n)
        expected = expected + k[n:, :n] @ np.linalg.solve(system, score @ mode)
    assert np.allclose(found, problem.offset + problem.spread * expected, atol=1e-8)
    whole = world.extended(Side("cell", frame, views=views))
    full = model.new_table(whole, len(lines) + new, np.arange(world.n_drugs))
    again = model.predict(np.argwhere(np.ones((5, world.n_drugs), bool)))
    assert np.allclose(full.ravel(), again, atol=1e-8)  # nothing is missing: as always
    assert not np.allclose(found, full)


def test_descriptors_count_twice_beside_text_and_fingerprint(world):
    every = np.arange(world.n_drugs)
    plain, told = Level()._kernel(world, every), Potency()._kernel(world, every)
    one = np.eye(world.n_drugs, dtype=bool)
    # on the diagonal all views are 1: 0.3 + 2 + 0.5, however many views share the 2
    assert np.allclose(plain[one], 2.8) and np.allclose(told[one], 2.8)
    views = (plain - told) * 2  # text and fingerprint weigh 1 each, then 1/2: a half is descriptors
    assert np.ptp(views[~one]) > 0.1
    bare = world.with_frames(drug=world.drugs.assign(smiles=None))
    assert np.isfinite(Potency()._kernel(bare, every)).all()


def test_levels_are_those_of_a_gaussian_process_over_drugs_and_screens(predictor):
    """The kernel written out pair by pair, and its ridge found by leaving out for real."""
    facts = described(predictor.known.sides[1])
    drugs = np.arange(12)
    level = np.random.default_rng(0).normal(size=18)
    compound = np.array([*range(12), 0, 1, 20, 21, 22, 23])  # two are known to another screen, too
    screen = np.repeat([0, 1], [12, 6])
    known = joined(facts[drugs], facts[np.array([0, 1, 14, 15, 16, 17])])
    made = DrugLevels.fit(known, level, compound, screen, ridges=(0.2, 0.8))
    plain = sum(WEIGHTS.values()) + CONSTANT
    k = made.kernel(known)
    k[np.diag_indices(18)] = plain
    for i in range(18):
        for j in range(18):
            k[i, j] += SAME * (compound[i] == compound[j])
            k[i, j] *= 1 if screen[i] == screen[j] else BETWEEN
    mean = np.array([level[:12].mean(), level[12:].mean()])[screen]
    errors = {}
    for ridge in (0.2, 0.8):
        left = []
        for one in range(12):
            rest = np.flatnonzero(compound != compound[one])
            system = k[np.ix_(rest, rest)] + ridge * np.eye(len(rest))
            said = k[one, rest] @ np.linalg.solve(system, (level - mean)[rest])
            left.append((level - mean)[one] - said)
        errors[ridge] = np.sqrt(np.mean(np.square(left)))
    assert made.ridge == min(errors, key=errors.get)
    assert abs(made.press - errors[made.ridge]) < 1e-5
    asked = facts[np.array([13, 18])]
    weight = np.linalg.solve(k + made.ridge * np.eye(18), level - mean)
    across = np.where(screen == 0, 1.0, BETWEEN)
    expected = level[:12].mean() + (made.kernel(asked) * across) @ weight
    assert np.allclose(made.predict(asked), expected)
    # an equal fingerprint, text and list weigh what is written
    alone = made.kernel(facts[np.array([3])])[0]
    assert np.argmax(alone) == 3 and alone[3] <= plain + 1e-9


@pytest.mark.parametrize("n", [300, 60])
def test_normal_scores_are_those_of_scikit_learn(n):
    from sklearn.preprocessing import QuantileTransformer

    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=500), rng.poisson(2, 500), np.full(500, 3.0)])
    scale = QuantileTransformer(
        n_quantiles=min(200, n), output_distribution="normal", subsample=None
    )
    expected = np.clip(scale.fit(x[:n]).transform(x), -3, 3)
    expected[:, 2] = 0.0  # constant there
    assert np.abs(normal_scores(x, np.arange(n)) - expected).max() < 1e-6


def test_the_table_of_trust_is_counted_from_what_was_held_out(predictor):
    known, said = predictor.known, predictor.out_of_fold["new line"]
    trust = predictor.trust("drug")
    assert set(trust.index) == set(known.sides[1].ids) and trust["r"].is_monotonic_decreasing
    for j in (0, 7):
        at = np.flatnonzero(known.pairs[:, 1] == j)
        y, found = known.y[at], said[known.pairs[at, 0], j].astype(float)
        own = trust.loc[str(known.sides[1].ids[j])]
        assert np.isclose(own["r"], np.corrcoef(y, found)[0, 1])
        assert np.isclose(own["rmse"], np.sqrt(np.mean((y - found) ** 2))) and own["lines"] == len(
            y
        )
    tissue = known.sides[0].frame["tissue"]
    assert predictor.trust("tissue")["lines"].to_dict() == tissue.value_counts().to_dict()
    with pytest.raises(DataError, match="ask for drug or tissue"):
        predictor.trust("gene")


def test_a_mechanism_is_shared_where_a_target_of_another_compound_is(predictor):
    drugs, told = predictor.known.sides[1].frame, predictor.by_mechanism()
    for label in told.index[:20]:
        own = set(drugs.loc[label, "target"].split(", "))
        other = drugs[drugs["compound"] != drugs.loc[label, "compound"]]["target"].dropna()
        best = max(len(own & set(t.split(", "))) / len(own | set(t.split(", "))) for t in other)
        assert np.isclose(told.loc[label, "shared"], best)


def test_predict_prints_how_far_known_drugs_in_new_lines_can_be_trusted(
    predictor, own_lines, tmp_path, capsys
):
    from clmt_lib.cli import main

    predictor.save(tmp_path / "model")
    own_lines.rename_axis("line").to_csv(tmp_path / "lines.csv")
    asked = ["predict", str(tmp_path / "model"), "--lines", str(tmp_path / "lines.csv")]
    assert main([*asked, "--out", str(tmp_path / "found.csv")]) == 0
    said = capsys.readouterr()
    said = said.out + said.err
    best = predictor.trust("drug")["name"].iloc[0]
    assert "measured while lines were held out" in said and best in said
    assert "the best and the worst 6 of" in said


def test_what_other_screens_say_of_what_is_held_out_is_held_out_too():
    """Another screen's responses to one compound, and of one line, are changed: what was said of
    their parts while they were held out does not move.
    """
    drugs = list(dict.fromkeys(simulated.facts()["name"]))[:45]
    world = data.load("simulated", cells=40, drugs=drugs)  # it is fitted three times
    drugs = world.drugs.reset_index(drop=True)
    facts = drugs[["name", "smiles", "inchikey", "target", "pathway"]]
    line, table = str(world.cells.index[0]), pd.DataFrame(world.matrix(), world.cells.index)

    def elsewhere(table):
        def read(without):
            level = table.drop(index=list(without)).mean().to_numpy()
            return facts.assign(screen="other", max_concentration_um=np.nan, level=level)

        return read

    of_drug, of_line = table.copy(), table.copy()
    of_drug[0] = 50.0
    of_line.loc[line] += np.linspace(0, 500, table.shape[1])
    one, two, three = (
        Predictor.fit(world, others=elsewhere(part)) for part in (table, of_drug, of_line)
    )
    line_part, drug_part = parts_of(one.known, 0)
    same = drug_part == drug_part[0]
    for kind in ("new drug", "both new"):
        a, b = (fitted.out_of_fold[kind] for fitted in (one, two))
        assert np.array_equal(a[:, same], b[:, same], equal_nan=True)
        assert not np.allclose(a[:, ~same], b[:, ~same], equal_nan=True)
    same = line_part == line_part[one.known.sides[0].ids.get_loc(line)]
    a, b = (fitted.out_of_fold["both new"] for fitted in (one, three))
    assert np.array_equal(a[same], b[same], equal_nan=True)
    assert not np.allclose(a[~same], b[~same], equal_nan=True)
    name = drugs["name"].iloc[0]
    said = two.predict([name], world.cells.index[:2].tolist(), as_new=True)
    assert said["note"].str.contains("its level follows what was measured by other").all()


@pytest.fixture
def other_screens(tmp_path):
    """A prepared folder with two other screens and lists of what is kept back; where a response of
    that is, stands the number that the reader of the fixture asks for.
    """

    def make(kept_back: float):
        root = prepared_folder(tmp_path / f"folder {kept_back}")
        made = tables()
        cells, drugs = made["cells"], made["drugs"]
        away = {"lines": cells.index[:3], "drugs": drugs.index[drugs["name"] == "indole"]}
        pd.DataFrame({"COSMIC_ID": away["lines"].astype(int)}).to_csv(
            root / "withheld_lines.csv", index=False
        )
        pd.DataFrame({"DRUG_ID": away["drugs"].astype(int), "drug_name": "indole"}).to_csv(
            root / "withheld_drugs.csv", index=False
        )
        rng = np.random.default_rng(0)
        grid = pd.MultiIndex.from_product([cells.index, drugs.index]).to_frame(index=False)
        one = grid.set_axis(["COSMIC_ID", "DRUG_ID"], axis=1)
        one["LN_IC50"] = rng.normal(size=len(one))
        hidden = one["COSMIC_ID"].isin(away["lines"]) | one["DRUG_ID"].isin(away["drugs"])
        one.loc[hidden, "LN_IC50"] = kept_back
        one.astype({"COSMIC_ID": int, "DRUG_ID": int}).to_parquet(
            root / "gdsc/response_gdsc1_v17.parquet"
        )
        # compounds of the other screen: one of the kept-back drug under another name, as a salt
        structures = {"Benzene": "c1ccccc1", "azaindene": "c1ccc2[nH]ccc2c1.Cl", "new": "CCCCO"}
        (root / "ctrp").mkdir()
        pd.DataFrame(
            {
                "master_cpd_id": [1, 2, 3],
                "cpd_name": list(structures),
                "cpd_smiles": list(structures.values()),
                "gene_symbol_of_protein_target": ["TP53", None, "EGFR;KRAS"],
                "target_or_activity_of_compound": "x",
                "top_test_conc_umol": [1.0, 10.0, 100.0],
            }
        ).to_parquet(root / "ctrp/compounds.parquet")
        two = pd.MultiIndex.from_product([cells["depmap_id"], structures]).to_frame(index=False)
        two = two.set_axis(["DEPMAP_ID", "compound"], axis=1)
        two["LN_IC50"] = rng.normal(size=len(two))
        hidden = two["DEPMAP_ID"].isin(cells.loc[away["lines"], "depmap_id"])
        two.loc[hidden | (two["compound"] == "azaindene"), "LN_IC50"] = kept_back
        two.to_parquet(root / "ctrp/response_ctrp_ic50.parquet")
        return root

    return make


def test_no_response_of_what_is_kept_back_is_read_from_any_screen(other_screens):
    root = other_screens(0.0)
    plain, changed = other_levels(root), other_levels(other_screens(1e6))
    pd.testing.assert_frame_equal(plain, changed)
    assert set(plain["screen"]) == {"GDSC1", "CTRP"}
    assert not plain["name"].isin(["indole", "azaindene"]).any()
    two = plain[plain["screen"] == "CTRP"].set_index("name")
    assert list(two.index) == ["Benzene", "new"]
    assert two["max_concentration_um"].tolist() == [1.0, 100.0]
    # nobody's response was missing: the level is the mean over the lines that are left
    table = pd.read_parquet(other_screens(5.0) / "ctrp/response_ctrp_ic50.parquet")
    left = table[~table["DEPMAP_ID"].isin(sorted(table["DEPMAP_ID"].unique())[:3])]
    means = left.groupby("compound")["LN_IC50"].mean()
    assert np.allclose(two["level"], means[list(two.index)])
    # lines that are held out are left out as well, in both screens
    cells = tables()["cells"]
    others = other_levels(other_screens(2e6), cells.index[3:5])
    away = cells["depmap_id"].iloc[:5]
    means = table[~table["DEPMAP_ID"].isin(away)].groupby("compound")["LN_IC50"].mean()
    two = others[others["screen"] == "CTRP"].set_index("name")
    assert np.allclose(two["level"], means[list(two.index)])
    one = [part[part["screen"] == "GDSC1"]["level"] for part in (plain, others)]
    assert (one[0] != one[1]).all()


def test_a_folder_without_other_screens_tells_no_level(tmp_path):
    found = other_levels(prepared_folder(tmp_path / "folder"))
    assert len(found) == 0 and "level" in found
