"""A small invented benchmark for the tests of data, splits and audit: as tables, as `DrugResponse`,
and as a prepared folder.
"""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd

from clmt_lib.data import Benchmark, DrugResponse, Side, load
from clmt_lib.data.grouping import group_compounds
from clmt_lib.data.response.base import drug_side
from clmt_lib.data.response.gdsc import RESPONSE_COLUMNS

STRUCTURES = {  # simple molecules, each with a ring system of its own (but for the last three)
    "benzene": "c1ccccc1",
    "pyridine": "c1ccncc1",
    "naphthalene": "c1ccc2ccccc2c1",
    "indole": "c1ccc2[nH]ccc2c1",
    "furan": "c1ccoc1",
    "thiophene": "c1ccsc1",
    "cyclohexane": "C1CCCCC1",
    "morpholine": "C1COCCN1",
    "quinoline": "c1ccc2ncccc2c1",
    "imidazole": "c1c[nH]cn1",
    "purine": "c1ncc2[nH]cnc2n1",
    "toluene": "Cc1ccccc1",
    "ethanol": "CCO",
    "unknown": None,
}


@functools.lru_cache(4)
def real(name):
    """A real benchmark (it needs CLMT_DATA), read once by the tests of a process."""
    return load(name)


def few_trees(monkeypatch, trees=20):
    """Let the stack boost this many trees on coarser features: what it boosts on is the same, and
    so are its leaks. Finding 255 weighted quantiles of a feature takes a third of a second.
    """
    from sklearn import ensemble

    whole = ensemble.HistGradientBoostingRegressor
    less = {"max_iter": trees, "max_bins": 32}
    few = functools.wraps(whole)(lambda **settings: whole(**{**settings, **less}))
    monkeypatch.setattr(ensemble, "HistGradientBoostingRegressor", few)


GENES = ["TP53", "KRAS", "BRAF", "EGFR", "MYC", "PTEN"]


def tables(lines=21, tissues=7, seed=0):
    """Cells, drugs, omics and responses by id. Drug 1001 is measured again as 1002: one compound,
    two ids.
    """
    rng = np.random.default_rng(seed)
    cosmic = [str(9001 + i) for i in range(lines)]
    cells = pd.DataFrame(
        {
            "name": [f"LINE-{i}" for i in range(lines)],
            "tissue": [f"tissue {i % tissues}" for i in range(lines)],
            "cancer_type": "a cancer",
            "msi": "MSS",
            "sanger_model_id": [f"SIDM{i:05}" for i in range(lines)],
            "depmap_id": [f"ACH-{i:06}" for i in range(lines)],
            "cosmic_id": cosmic,
            "rrid": [f"CVCL_{i:04}" for i in range(lines)],
        },
        index=cosmic,
    )
    names = ["benzene", *STRUCTURES]
    drugs = pd.DataFrame(
        {
            "name": names,
            "smiles": [STRUCTURES[name] for name in names],
            "inchikey": None,
            "target": "EGFR, KRAS",
            "pathway": "a pathway",
            "pubchem_cid": None,
        }
    )
    drugs["target"], drugs["pathway"] = (
        [f"{what} {max(0, i - 1) % 12}" for i in range(len(drugs))]
        for what in ("TARGET", "pathway")
    )  # the first two ids are one compound
    drugs.index = [str(1001 + i) for i in range(len(names))]
    drugs["compound"] = group_compounds(drugs)
    omics = {
        "expression": pd.DataFrame(rng.normal(size=(lines, 6)), cosmic, GENES),
        "mutation": pd.DataFrame(rng.integers(0, 2, (lines, 6)), cosmic, GENES),
        "copy_number": pd.DataFrame(rng.normal(size=(lines, 6)), cosmic, GENES),
    }
    responses = pd.DataFrame(
        [(c, d) for c in cosmic for d in drugs.index], columns=["cell", "drug"]
    )
    responses["ln_ic50"] = rng.normal(2.0, 2.0, len(responses)).round(4)
    return {"cells": cells, "drugs": drugs, "omics": omics, "responses": responses}


def benchmark(**options):
    """The tables as a validated `DrugResponse` named "tiny"."""
    return DrugResponse.from_tables("tiny", **tables(**options))


def affinity(proteins=13, seed=0):
    """Proteins x drugs named "affinity", complete: P0 and P1 have one sequence, drugs 1001 and 1002
    one compound.
    """
    rng = np.random.default_rng(seed)
    ids = [f"P{i}" for i in range(proteins)]
    sequence = ["MKV" + "ACDEFGHIKLMNPQRSTVWY"[: max(i, 1)] for i in range(proteins)]
    frame = pd.DataFrame(
        {"name": ids, "family": [f"family {i % 7}" for i in range(proteins)], "sequence": sequence},
        index=ids,
    )
    one = Side(
        "protein",
        frame,
        views={"sequence": frame["sequence"]},
        keys={"sequence": "sequence", "family": "family"},
        identity="sequence",
    )
    drugs = tables()["drugs"][["name", "smiles", "inchikey", "compound"]]
    values = pd.DataFrame([(p, d) for p in ids for d in drugs.index], columns=["protein", "drug"])
    values["y"] = rng.uniform(5, 10, len(values)).round(3)
    values.loc[::3, "y"] = 5.0
    about = {"task": "affinity", "target": "pkd", "units": "-log10 M", "simulated": True}
    return Benchmark.from_ids(
        "affinity",
        (one, drug_side(drugs)),
        values.assign(censored=values["y"] == 5.0),
        within=(0, 15),
        **about,
    )


def gaps(shape, share, groups, seed):
    """A table of any shape with a `share` of its pairs measured, its rows of `groups` kinds."""
    rng = np.random.default_rng(seed)
    rows, columns = (
        Side(name, pd.DataFrame({"name": "x"}, [f"{name}{i}" for i in range(n)]))
        for name, n in zip(("row", "column"), shape)
    )
    kinds = np.append(np.arange(groups), rng.integers(0, groups, shape[0]))[: shape[0]]
    rows = replace(rows, keys={"kind": kinds})
    there = rng.random(shape) < share
    there[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = True
    pairs = np.argwhere(there)
    none = np.zeros(len(pairs), dtype=bool)
    return Benchmark("gaps", (rows, columns), pairs, rng.normal(size=len(pairs)), none)


def renamed(world, lines=(), drugs=()):
    """The benchmark with other ids for some lines and drugs: to a model, new ones."""
    frames = {}
    for name, frame, rows in (("cell", world.cells, lines), ("drug", world.drugs, drugs)):
        labels = frame.index.to_numpy(object).copy()
        labels[list(rows)] = [f"new {label}" for label in labels[list(rows)]]
        frames[name] = frame.set_axis(labels)
    omics = {name: table.set_axis(frames["cell"].index) for name, table in world.omics.items()}
    return world.with_views(cell=omics).with_frames(**frames)


def prepared_folder(root, responses="parquet"):
    """Write the tables as a prepared folder (`gdsc/`, `ids/`), the responses in the official
    layout; return the root.
    """
    made = tables()
    (root / "gdsc").mkdir(parents=True)
    (root / "ids").mkdir()
    cells, drugs, omics = made["cells"], made["drugs"], made["omics"]
    ids = cells.rename(columns={"name": "model_name", "msi": "msi_status"}).rename(
        columns={k: k.upper() for k in ("sanger_model_id", "depmap_id", "cosmic_id", "rrid")}
    )
    ids.astype({"COSMIC_ID": "int64"}).to_parquet(root / "ids/cell_lines.parquet")
    table = drugs.rename(
        columns={"name": "drug_name", "inchikey": "inchikey_rdkit", "pathway": "target_pathway"}
    ).drop(columns="compound")
    table.assign(DRUG_ID=drugs.index.astype(int)).to_parquet(root / "gdsc/drugs.parquet")
    numbers = cells.index.astype(int)
    omics["expression"].assign(COSMIC_ID=numbers).to_parquet(
        root / "gdsc/expression_zscore.parquet"
    )
    pd.DataFrame({"COSMIC_ID": numbers}).to_parquet(root / "gdsc/mutation_lines.parquet")
    long = (
        omics["mutation"].stack().rename_axis(["COSMIC_ID", "symbol"]).rename("score").reset_index()
    )
    long[long["score"] != 0].astype({"COSMIC_ID": "int64"}).to_parquet(
        root / "gdsc/mutation_long.parquet"
    )
    omics["copy_number"].T.rename_axis("symbol").reset_index().to_parquet(
        root / "gdsc/cna_log2.parquet"
    )
    write_responses(official(made), root / "gdsc/response_gdsc2.parquet")
    return root


def official(made):
    """Responses in GDSC's 19 columns."""
    frame = pd.DataFrame(dict.fromkeys(RESPONSE_COLUMNS, "x"), index=made["responses"].index)
    frame["DATASET"] = "GDSC2"
    cells = made["responses"]["cell"]
    return frame.assign(
        COSMIC_ID=cells.astype(int),
        DRUG_ID=made["responses"]["drug"].astype(int),
        LN_IC50=made["responses"]["ln_ic50"],
        SANGER_MODEL_ID=cells.map(made["cells"]["sanger_model_id"]),
        CELL_LINE_NAME=cells.map(made["cells"]["name"]),
    )


def write_responses(frame, path):
    """Write by the ending of the name: .parquet, .csv or .csv.gz."""
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path
