"""Studies: one base, and variants that differ from it in one thing, run on the same splits and
compared pair by pair (chapter 07).
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib import data, tasks
from clmt_lib.config import Study, StudyModel, check, load
from clmt_lib.io import DataError
from clmt_lib.records import store
from clmt_lib.records.grids import run_grid
from clmt_lib.records.provenance import provenance
from clmt_lib.records.runs import RunConfig
from clmt_lib.records.store import Record
from clmt_lib.records.summaries import Pooled, gaps_of, paired, scores_of

COLUMNS = (
    "variant",
    "dataset",
    "split",
    "metric",
    "folds",
    "base",
    "value",
    "difference",
    "low",
    "high",
    "entities",
    "smallest",
    "folds_better",
    "name",
    "options",
)
REMEDY = "see experiments/configs/studies/ablations.yaml and `read_study`"


def read_study(path: str | Path) -> list[tuple[str, RunConfig]]:
    """Runs of a study file: (variant or "base", RunConfig), seed 0 and fold 0 of everything first,
    each run once.

    The file is YAML, with
    `question:` one sentence;
    `base:` {model, settings?};
    `variants:` name -> settings that differ from the base's, or {model, settings?} for another
    model, which shares nothing with the base;
    `runs:` a list of {dataset, split, seeds, folds, variants, settings?, options?, name?}. The base
    runs on every row. A row's settings are put over the base's, the variant's over both;
    `options` go to the dataset's reader, and `name` tells rows of one dataset and split apart.

    Raises
    ------
    DataError
        Unreadable file, missing or unknown key, unknown variant, a variant that changes nothing, or
        a variant named twice for the same seed and fold.
    """
    once: dict = {}
    for variant, config, base in _plan(path):
        for name, run_config in (("base", base), (variant, config)):
            once.setdefault(json.dumps(run_config.model_dump(), sort_keys=True), (name, run_config))
    return sorted(
        once.values(), key=lambda found: found[1].seed + found[1].fold
    )  # stable: within a round, the file's order


def _plan(path):
    """(variant, its RunConfig, the base's RunConfig) for every comparison of one seed and fold, in
    the order of the file.
    """
    study, out = _checked(path), []
    for row in study.runs:
        base = _configs(row, study.base.model, {**study.base.settings, **row.settings})
        for variant in row.variants:
            change = study.variants[variant]
            if "model" in change:
                configs = _configs(row, change["model"], change.get("settings", {}))
            else:
                configs = _configs(row, study.base.model, {**base[0].settings, **change})
            if configs == base:
                raise DataError(
                    f"variant {variant!r} is the base on {row.dataset} {row.split}",
                    file=path,
                    remedy="let it change something, or leave it out of this row",
                )
            out += zip([variant] * len(base), configs, base, strict=True)
    twice = next(
        (
            key
            for key, count in Counter(
                (v, json.dumps(b.model_dump(), sort_keys=True)) for v, _, b in out
            ).items()
            if count > 1
        ),
        None,
    )
    if twice:
        where = RunConfig(**json.loads(twice[1]))
        raise DataError(
            f"{twice[0]!r} runs twice on {where.dataset} {where.split}, seed {where.seed}, fold "
            f"{where.fold}",
            file=path,
            remedy="name each variant, seed and fold once",
        )
    return out


def _configs(row, model, settings):
    return [
        RunConfig(row.dataset, row.split, model, seed, fold, settings, row.options)
        for seed in row.seeds
        for fold in row.folds
    ]


def _checked(path):
    """The study file as a `Study`, its variants checked, too."""
    study = load(Study, path, "study", REMEDY)
    for variant, change in study.variants.items():
        if variant == "base" or not change:
            raise DataError(
                f"variant {variant!r} is not a variant",
                file=path,
                remedy="give it a name other than base, and its settings as {setting: value}",
            )
        if "model" in change or "settings" in change:
            check(StudyModel, change, f"variant {variant!r}", path, REMEDY)
    for number, row in enumerate(study.runs, start=1):
        unknown = next((name for name in row.variants if name not in study.variants), None)
        if unknown is not None:
            raise DataError(
                f"row {number} of runs: unknown variant {unknown!r}",
                file=path,
                remedy=f"use some of: {', '.join(study.variants)}",
            )
    return study


def run_study(
    path: str | Path,
    folder: str | Path | None = None,
    *,
    jobs: int = 1,
    device: str = "auto",
    say: Callable[[str], None] = print,
    also: Callable[..., None] | None = None,
) -> list[tuple[RunConfig, Exception]]:
    """Run what is missing of a study; a failed run is reported and does not stop the rest.

    Parameters
    ----------
    jobs : processes that share the runs
    also : as in `run`, with one process

    Returns
    -------
    list of (config, error) of the runs that failed.
    """
    configs = [config for _, config in read_study(path)]
    return run_grid(configs, folder, jobs=jobs, device=device, say=say, also=also)


def summarise_study(
    path: str | Path,
    folder: str | Path | None = None,
    *,
    remake: bool = True,
    say: Callable[[str], None] = print,
) -> Record | None:
    """Paired differences of each variant from the base over the seeds and folds both have, with
    two-way bootstrap intervals, as the record `study-<file name>`.

    A comparison that the record already holds, made from the runs that are here or from more, is
    kept as it is. Others need bootstrap draws: a run whose draws were not kept is made again, says
    so, and must give the same metrics.

    Parameters
    ----------
    remake : False leaves out comparisons whose draws are not at hand

    Returns
    -------
    Record, or None where no variant has a finished run beside a finished base.
    """
    path, study = Path(path), _checked(path)
    loaded: dict = {}
    name = f"study-{path.stem}"
    known: dict = {}
    if store.is_derived(name, folder):
        known = {_key(row): row for row in store.read(name, folder).metrics["rows"]}
    rows, planned, left_out = [], 0, 0
    for about, pairs in _comparisons(path, study).items():
        benchmark = _benchmark(pairs[0][0], loaded)
        planned += len(pairs)
        ids = {index: _ids(pair, benchmark) for index, pair in enumerate(pairs)}
        done = [
            index
            for index, names in ids.items()
            if names and all(store.find(each, folder) for each in names)
        ]
        row = {**json.loads(about), "runs": sorted(ids[index] for index in done)}
        stored = known.get(_key(row))
        if (
            stored
            and all(names in stored["runs"] for names in row["runs"])
            and all(names in ids.values() for names in stored["runs"])
        ):
            rows.append(stored if "gaps" in stored else {**stored, **_gaps(stored, folder)})
        elif done:
            both = [pairs[index] for index in done]
            compared = _compared(both, folder, benchmark, remake, say)
            rows += [{**row, **compared, **_gaps({**row, **compared}, folder)}] if compared else []
            left_out += 0 if compared else len(done)
    if not rows:
        return None
    body = {
        "rows": rows,
        "runs": {
            "done": sum(len(row["runs"]) for row in rows),
            "planned": planned,
            "left_out": left_out,
        },
    }
    about = {
        "study": path.stem,
        "question": study.question,
        "base": study.base.model_dump(exclude_unset=True),
        "draws": tasks.DRAWS,
    }
    benchmarks = [benchmark.describe() for benchmark in loaded.values()]
    parts = {
        "config": about,
        "metrics": body,
        "provenance": provenance(None, benchmarks=benchmarks),
    }
    return store.write_derived(name, parts, folder)


def _gaps(row, folder):
    """{"gaps": metric -> variant minus base on every seed and fold}; nothing where a run of the row
    is not at hand any more.
    """
    base, variant = ([pair[which] for pair in row["runs"]] for which in (0, 1))
    found = {metric: gaps_of(variant, base, metric, folder) for metric in row["difference"]}
    if any(gaps is None for gaps in found.values()):
        return {}
    return {"gaps": {metric: gaps.round(6).tolist() for metric, gaps in found.items()}}


def _benchmark(config, loaded):
    """The benchmark of a run, loaded once."""
    key = config.dataset, json.dumps(config.options, sort_keys=True)
    if key not in loaded:
        loaded[key] = data.load(config.dataset, **config.options)
    return loaded[key]


def _ids(pair, benchmark):
    """Ids of a base's run and a variant's; None where a model is unknown: its run has failed, and
    was reported.
    """
    try:
        return [config.id(benchmark.checksum) for config in pair]
    except DataError:
        return None


def _key(row):
    """What is compared in a row of the record, whatever its runs."""
    return json.dumps(
        [row[key] for key in ("variant", "dataset", "options", "split", "name", "settings")],
        sort_keys=True,
    )


def _comparisons(path, study):
    """JSON of (variant, dataset, options, split, name, base's settings) -> [(base's config,
    variant's config) of each seed and fold].
    """
    names = {}
    for row in study.runs:
        for config in _configs(row, study.base.model, {**study.base.settings, **row.settings}):
            names.setdefault(json.dumps(config.model_dump(), sort_keys=True), row.name)
    out = {}
    for variant, config, base in _plan(path):
        name = names[json.dumps(base.model_dump(), sort_keys=True)]
        about = {
            "variant": variant,
            "dataset": base.dataset,
            "options": base.options,
            "split": base.split,
            "name": name,
            "settings": base.settings,
        }
        out.setdefault(json.dumps(about, sort_keys=True), []).append((base, config))
    return out


def _compared(pairs, folder, benchmark, remake, say):
    """Means and paired differences of one row; None where draws are missing and stay so."""
    base, variant = (
        scores_of(name, configs, folder, benchmark, remake, say)
        for name, configs in zip(("base", "variant"), zip(*pairs, strict=True), strict=True)
    )
    if not (base.drawn and variant.drawn):
        return None
    difference = paired(variant, base, Pooled(benchmark, pairs[0][0].split))
    reported = [key for key in difference if key not in ("a", "b", "folds")]
    return {
        "task": benchmark.task,
        "folds": len(pairs),
        "base": {key: float(np.mean(base.test(key))) for key in reported},
        "value": {key: float(np.mean(variant.test(key))) for key in reported},
        "difference": {key: difference[key] for key in reported},
    }


def study(name: str, folder: str | Path | None = None, metric: str | None = None) -> pd.DataFrame:
    """What a study found: one row for each variant, dataset and split (and, where the study has
    several, options and name of the row).

    Parameters
    ----------
    name : the study file's name without `.yaml`
    metric : rmse, pcc or pcc_per_drug for all rows; None takes the per-drug r where whole drugs are
        held out, else the RMSE

    Returns
    -------
    frame with the columns of `COLUMNS`: `difference` is variant minus base, [`low`, `high`] its
    95 % interval and `smallest` the effect it could have seen, by `tasks.judge`; `entities` is the
    interval of the bootstrap of lines and drugs alone, and `folds_better` counts the seeds and
    folds on which the variant was better. Empty where the study has no record.
    """
    record, rows = f"study-{name}", []
    there = store.is_derived(record, folder)
    for row in store.read(record, folder).metrics["rows"] if there else ():
        key = metric or tasks.get(row.get("task", "response")).headline(row["split"])
        gap = row["difference"][key]
        gaps = (row if "gaps" in row else _gaps(row, folder)).get("gaps", {}).get(key)
        found = tasks.judge(gap["interval"], gaps or row["folds"], key, row["base"][key])
        about = {
            **row,
            "metric": key,
            "base": row["base"][key],
            "value": row["value"][key],
            "difference": gap["mean"],
            "low": found.low,
            "high": found.high,
            "entities": gap["interval"],
            "smallest": found.smallest,
        }
        rows.append(
            {
                **about,
                "folds_better": gap["folds_better"],
                "options": json.dumps(row["options"], sort_keys=True),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def verdicts(frame: pd.DataFrame) -> pd.Series:
    """What a study's rows say: the words of `tasks.judge` (chapter 07, eq-07-verdict).

    Parameters
    ----------
    frame : as `study` gives it: low, high and metric, and where they are known folds and base

    Returns
    -------
    series with the frame's index of "better", "worse", "equivalent", "no difference found" or
    "too few folds".
    """
    found = [
        tasks.judge(
            (row["low"], row["high"]),
            int(row.get("folds", tasks.ENOUGH)),
            row["metric"],
            row.get("base", np.nan),
        ).word
        for _, row in frame.iterrows()
    ]
    return pd.Series(found, index=frame.index, name="verdict", dtype=object)
