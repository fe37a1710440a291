"""How often the intervals of a fitted predictor cover what was measured: overall, and by tissue
and drug.

    python experiments/coverage.py FOLDER

FOLDER is what `clmt fit` wrote. Every part of the lines (or of the compounds) was predicted while
it was held out; here its intervals are calibrated on the other parts alone, and counted. The result
is the derived record `coverage`.
"""

import sys

import numpy as np

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


def main(folder: str) -> None:
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
        by_drug = [found["hit"][found["drug"] == d].mean() for d in np.unique(found["drug"])]
        one["drugs_within"] = round(float(np.mean([0.87 <= h <= 0.93 for h in by_drug])), 4)
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
    parts = {
        "config": {"level": LEVEL, "line_parts": LINE_PARTS, "drug_parts": DRUG_PARTS},
        "metrics": out,
        "provenance": predictor.about,
    }
    store.write_derived("coverage", parts)


if __name__ == "__main__":
    main(sys.argv[1])
