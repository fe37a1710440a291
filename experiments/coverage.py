"""How often the intervals of a fitted predictor cover what was measured: overall, and by tissue
and drug.

    python experiments/coverage.py FOLDER [SMILES [JOBS]]

FOLDER is what `clmt fit` wrote; SMILES a large table (.csv with drug_id and smiles) whose cost is
to be measured, too, in JOBS processes. Every part of the lines (or of the compounds) was predicted
while it was held out; here its intervals are calibrated on the other parts alone, and counted. The
result is the derived record `coverage`.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib.predict import DRUG_PARTS, LINE_PARTS, Predictor, parts_of
from clmt_lib.predict.intervals import calibrate
from clmt_lib.records import store

LEVEL, DRAWS, LARGE = 0.9, 1000, 30


def share(hit: np.ndarray, group: np.ndarray, seed: int = 0) -> dict:
    """Share of True, and its 95 % interval from drawing whole groups again."""
    _, code = np.unique(group, return_inverse=True)
    count = np.bincount(code)
    hits = np.bincount(code, hit)
    drawn = np.random.default_rng(seed).integers(0, len(count), (DRAWS, len(count)))
    shares = hits[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return {
        "coverage": round(float(hit.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "groups": len(count),
        "pairs": len(hit),
    }


def covered(predictor: Predictor, kind: str) -> dict[str, np.ndarray]:
    """Whether the interval of each held-out pair covers it, and whose pair it is."""
    known = predictor.known
    row, column = known.pairs.T
    found = predictor.out_of_fold[kind][row, column].astype(float)
    asked = np.flatnonzero(np.isfinite(found))
    row, column, error = row[asked], column[asked], found[asked] - known.y[asked]
    line_part, drug_part = parts_of(known, predictor.about["seed"])
    new_drug = not kind.startswith("new line")
    part = drug_part[column] if new_drug else line_part[row]
    tissue = known.sides[0].frame["tissue"].fillna("unknown").astype(str).to_numpy()[row]
    ids = known.sides[1].ids.to_numpy()[column]
    compound = np.asarray(known.sides[1].keys["compound"])[column]
    width = np.empty(len(error))
    for own in np.unique(part):
        rest, here = part != own, part == own
        groups = compound[rest] if new_drug else None
        made = calibrate(error[rest], row[rest], ids[rest], tissue[rest], groups)
        width[here] = made.half_width(ids[here].astype(str), tissue[here], LEVEL)
    return {
        "hit": np.abs(error) <= width,
        "width": width,
        "error": error,
        "line": row,
        "drug": ids,
        "tissue": tissue,
        "compound": compound,
    }


def columns(table: pd.DataFrame) -> dict[str, list]:
    """A table as columns, rounded."""
    table = table.reset_index().round(2)
    return {name: table[name].tolist() for name in table.columns}


def large_input(folder: str, smiles: str, lines: int = 10, jobs: int = 1) -> dict:
    """What it costs to ask about a table of many SMILES in some lines: CPU seconds and peak memory
    of a process of its own.
    """
    with tempfile.TemporaryDirectory() as place:
        known = Predictor.load(folder).known.sides[0].ids[:lines]
        asked = Path(place) / "lines.csv"
        pd.DataFrame({"line": known}).to_csv(asked, index=False)
        answer = Path(place) / "answers.parquet"
        command = [sys.executable, "-m", "clmt_lib", "predict", folder, "--drugs", smiles]
        command += ["--lines", str(asked), "--out", str(answer), "--jobs", str(jobs)]
        began = time.perf_counter()
        subprocess.run(command, check=True)
        wall, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        pairs = len(pd.read_parquet(answer, columns=["drug"]))
    return {
        "smiles": pairs // lines,
        "lines": lines,
        "jobs": jobs,
        "cpu_seconds": round(used.ru_utime + used.ru_stime),
        "wall_seconds": round(wall),
        "peak_memory_mb": round(used.ru_maxrss / 1024),
    }


def main(folder: str, large: str | None = None, jobs: str = "1") -> None:
    """Write the derived record `coverage`."""
    predictor = Predictor.load(folder)
    out: dict = {}
    for kind in predictor.out_of_fold:
        found = covered(predictor, kind)
        new_drug = not kind.startswith("new line")
        group = found["compound"] if new_drug else found["line"]
        one = share(found["hit"], group)
        one["half_width"] = round(float(np.median(found["width"])), 3)
        one["rmse"] = round(float(np.sqrt((found["error"] ** 2).mean())), 4)
        one["accuracy"] = predictor.calibration[kind].error
        by_drug = {d: found["hit"][found["drug"] == d].mean() for d in np.unique(found["drug"])}
        inside = [0.87 <= hit <= 0.93 for hit in by_drug.values()]
        one["drugs_within"] = round(float(np.mean(inside)), 4)
        if kind == "new line":
            trust = predictor.trust("drug")
            trust["coverage"] = pd.Series({str(d): hit for d, hit in by_drug.items()})
            tissue = predictor.trust("tissue")
            tables = {"by_drug": columns(trust), "by_tissue": columns(tissue)}
        one["by_tissue"] = {}
        for tissue in np.unique(found["tissue"]):
            here = found["tissue"] == tissue
            if len(np.unique(found["line"][here])) >= LARGE:
                group_here = found["compound" if new_drug else "line"][here]
                one["by_tissue"][str(tissue)] = share(found["hit"][here], group_here)
        out[kind] = one
        print(kind, {key: value for key, value in one.items() if key != "by_tissue"})
        for tissue, value in one["by_tissue"].items():
            print("   ", tissue, value)
    told = predictor.by_mechanism()
    part = np.where(told["shared"] == 0, "no target shared", "a target shared")
    groups = told.groupby(part)
    tables["by_mechanism"] = groups.mean().round(3).T.to_dict()
    for name, count in groups.size().items():
        tables["by_mechanism"][str(name)]["drugs"] = int(count)
    out["trust"] = tables
    if large is not None:
        out["large input"] = large_input(folder, large, jobs=int(jobs))
    elif store.derived("coverage"):  # what was measured stays until it is measured again
        out["large input"] = store.read("coverage").metrics["large input"]
    parts = {
        "config": {"level": LEVEL, "line_parts": LINE_PARTS, "drug_parts": DRUG_PARTS},
        "metrics": out,
        "provenance": predictor.about,
    }
    store.write_derived("coverage", parts)


if __name__ == "__main__":
    main(*sys.argv[1:4])
