"""Many runs: a grid file, and running what is missing of it."""

import json
import time
from pathlib import Path

from clmt_lib import data
from clmt_lib.config import Grid, load
from clmt_lib.records.runs import RunConfig, run

REMEDY = "see experiments/grid.yaml"


def read_grid(path: str | Path) -> list[RunConfig]:
    """Configurations named by a grid file, the first fold and seed of every split first.

    The file is YAML: `runs:` a list of {dataset, split, seeds, folds, models, settings?, options?,
    last?}; rows with `last: true` come after all others. `anchors:` may name lists for YAML's & and
    *.

    Raises
    ------
    DataError
        Unreadable file, or a row with a missing or unknown key or a wrong value.
    """
    rows = load(Grid, path, "grid", REMEDY).runs
    early, late = (
        [
            RunConfig(row.dataset, row.split, model, seed, fold, row.settings, row.options)
            for row in rows
            if row.last == last
            for seed in row.seeds
            for fold in row.folds
            for model in row.models
        ]
        for last in (False, True)
    )
    return sorted(early, key=lambda c: c.fold + c.seed) + late  # stable: within a round, the file's


def run_grid(configs, folder=None, *, share=(0, 1), draws=False, device="auto", say=print):
    """Run what is missing of many configurations, one after the other; a failed run is reported and
    does not stop the rest.

    Parameters
    ----------
    share : (i, n): this process takes every n-th configuration from the i-th, so n processes divide
        the work
    draws : a record that came without its bootstrap draws is run again

    Returns
    -------
    list of (config, error) of the runs that failed.
    """
    failed, loaded, mine = [], {}, configs[share[0] :: share[1]]
    for number, config in enumerate(mine, start=1):
        key = (config.dataset, json.dumps(config.options, sort_keys=True))
        start = time.perf_counter()
        try:
            if key not in loaded:
                loaded[key] = data.load(config.dataset, **config.options)
            record = run(config, folder, draws=draws, device=device, benchmark=loaded[key])
        except (
            ValueError,
            ArithmeticError,
            RuntimeError,
            MemoryError,
            OSError,
            TypeError,
        ) as error:
            failed.append((config, error))
            say(f"[{number}/{len(mine)}] FAILED {config}: {error}")
            continue
        found = record.metrics["test"]
        say(
            f"[{number}/{len(mine)}] {record.path.name}: rmse {found['rmse']:.3f}, per-drug r "
            f"{found['pcc_per_drug'] or 0:.3f} ({time.perf_counter() - start:.1f} s)"
        )
    return failed
