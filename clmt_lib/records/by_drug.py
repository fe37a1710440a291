"""Drug by drug: the per-drug r of every test drug, so that a page can ask whose gain a gain is
(chapter 09b).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib import data, tasks
from clmt_lib.io import DataError
from clmt_lib.records import store
from clmt_lib.records.provenance import provenance
from clmt_lib.records.runs import RunConfig, run
from clmt_lib.records.store import Record
from clmt_lib.tasks import metrics


def summarise_drugs(
    configs: Sequence[RunConfig],
    grid: str,
    folder: str | Path | None = None,
    *,
    benchmark: data.Benchmark | None = None,
) -> Record | None:
    """Per-drug r of every test drug of the runs on one benchmark and split that are in, as the
    record `drugs-<grid>-<label>-<split>`; None where no run is.

    A row is a test drug in its fold (without its name): pathway, `twin` (whether a *training*
    compound has the very same targets and pathway) and r by model.

    Parameters
    ----------
    configs : RunConfigs that share dataset and split, one settings a model
    grid : name of the grid
    """
    first = configs[0]
    benchmark = benchmark if benchmark is not None else data.load(first.dataset, **first.options)
    rows: dict = {}
    splits: dict = {}
    for config in configs:
        if store.find(config.id(benchmark.checksum), folder) is None:
            continue
        which = config.seed, config.fold
        if which not in splits:
            splits[which] = data.make_split(benchmark, config.split, *which)
        made = run(config, folder, needs=("predictions",), benchmark=benchmark)
        every = made.predictions
        assert every is not None  # `needs` saw to it
        found = every[every["role"] == "test"]
        for drug, r in _per_drug(benchmark, found).items():
            if (*which, drug) not in rows:
                rows[*which, drug] = {
                    **_about(benchmark, splits[which], drug),
                    "seed": config.seed,
                    "fold": config.fold,
                    "r": {},
                }
            rows[*which, drug]["r"][config.model] = r
    if not rows:
        return None
    parts = {
        "config": {
            "dataset": first.dataset,
            "options": first.options,
            "split": first.split,
            "grid": grid,
            "checksum": benchmark.checksum,
        },
        "metrics": {"rows": list(rows.values())},
        "provenance": provenance(benchmark),
    }
    return store.write_derived(_name(grid, first.label, first.split), parts, folder)


def _per_drug(benchmark, found):
    """Position of each drug with enough pairs -> Pearson correlation across its lines."""
    at = found["position"].to_numpy()
    frame = pd.DataFrame(
        {"drug": benchmark.pairs[at, 1], "y": benchmark.y[at], "p": found["predicted"].to_numpy()}
    )
    return {
        drug: metrics.pearson(own["y"].to_numpy(), own["p"].to_numpy())
        for drug, own in frame.groupby("drug")
        if len(own) >= metrics.FEWEST
    }


def _about(benchmark, split, drug):
    drugs, known = benchmark.drugs, np.unique(benchmark.pairs[split.train, 1])
    facts = drugs["target"].fillna("") + " | " + drugs["pathway"].fillna("")
    told = isinstance(drugs["target"].iloc[drug], str)
    return {
        "pathway": drugs["pathway"].iloc[drug]
        if isinstance(drugs["pathway"].iloc[drug], str)
        else "unknown",
        "twin": bool(told and (facts.iloc[known] == facts.iloc[drug]).any()),
    }


def _name(grid, label, split):
    return f"drugs-{grid}-{label}-{split}"


def by_drug(dataset: str, split: str, grid: str, folder: str | Path | None = None) -> pd.DataFrame:
    """[test drugs] frame: pathway, twin, fold, seed and one column of r for each model (NaN where
    its fold is not in).

    Raises
    ------
    DataError
        No such record.
    """
    record = store.read(_name(grid, dataset, split), folder)
    rows = pd.DataFrame(record.metrics["rows"])
    return rows.drop(columns="r").join(pd.DataFrame(rows["r"].tolist(), index=rows.index))


def gain(frame: pd.DataFrame, a: str, b: str, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Mean r of model a less that of b over the drugs that both have, with an interval from drawing
    the *drugs* again: dict of mean, interval, drugs, better (a share).

    Raises
    ------
    DataError
        Fewer than two drugs in common.
    """
    if not {a, b} <= set(frame.columns) or (frame[a] - frame[b]).notna().sum() < 2:
        raise DataError(
            f"no drugs in common of {a!r} and {b!r}", remedy="run both on the same folds"
        )
    gap = (frame[a] - frame[b]).dropna().to_numpy()
    rows = np.random.default_rng(seed).integers(0, len(gap), (draws, len(gap)))
    return {
        "mean": float(gap.mean()),
        **tasks.with_interval(gap[rows].mean(1)),
        "drugs": len(gap),
        "better": float((gap > 0).mean()),
    }
