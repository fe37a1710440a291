"""The ledger: what was claimed, what we measured, and a verdict that a rule computes (chapter 09).

`experiments/configs/ledger.yaml` lists claims, each with one or more tests that name records;
`ledger` looks the records up. Nobody types a verdict: when the records change, it changes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib import tasks
from clmt_lib.config import CLAIM_TESTS, Claim, Ledger, load, read_claim
from clmt_lib.data.splits import KINDS
from clmt_lib.io import DataError
from clmt_lib.records.store import home, read
from clmt_lib.records.studies import study, verdicts
from clmt_lib.records.summaries import difference, ladder
from clmt_lib.tasks import ENOUGH
from clmt_lib.tasks.metrics import REPORTED

COLD_FOLDS = 5  # of the splits in which a drug, a protein or both are new
VERDICTS = ("reproduced", "partly", "not", "not testable", "open")
NOTHING = "no difference found"
REMEDY = "see `read_ledger` and experiments/configs/ledger.yaml"
AT = ("dataset", "split", "metric")
EVIDENCE = (
    "id",
    "test",
    "dataset",
    "split",
    "metric",
    "what",
    "against",
    "claimed",
    "mean",
    "low",
    "high",
    "folds",
    "outcome",
    "why",
)


def read_ledger(
    path: str | Path | None = None, folder: str | Path | None = None
) -> tuple[list[Claim], dict[str, str]]:
    """(claims, sources) of a ledger file; sources: citation key -> short name.

    The file is YAML with `sources` and `claims`; a claim has the keys `id, title, claim, by, where,
    tests`, and each test is one of

    * `compare: "a - b"` with dataset, split, metric, `expect: better` or `not better`, and `grid`
      where it is not the main one: the paired difference of two rungs;
    * `reach: model` with dataset, split, metric, value: does our model reach a published value?
    * `clear_of: model` with dataset, split, metric, `values: {who: value}`: are published values
      clear of what our model reaches?
    * `easier: model` with dataset, metric, `splits: [a, b, ...]`: is each split easier than the
      next, intervals apart?
    * `study: name` with dataset, split, variants, `expect: worse, better or different`, and maybe
      `name` of the row and `sound: rung` that the study's base must reach;
    * `modality: name` with split and `expect: better or worse`: what a modality adds to a ridge on
      sequence and structure of Davis, from the derived record `interactions`;
    * `world: variant` with `against` another, `expect: better or worse`, and maybe `withheld:
      true`: squared errors on new drugs of the invented worlds, paired, from the record
      `umme-world`; with half of the modalities withheld at test;
    * `fact: tests/unit/file.py::test` with `holds: true or false`: what that test of ours shows of
      the claim;
    * `untestable: reason`.

    The first three may say `other: why` where the claim is about other data, pairs or models than
    ours: such a test holds by half at most, and cannot refute.

    Parameters
    ----------
    path : the file; None takes `ledger.yaml` beside the folder of the records

    Raises
    ------
    DataError
        Unreadable file, missing or unknown key, wrong type, unknown source, or two claims of one
        id.
    """
    path = Path(path) if path else home(folder) / "configs" / "ledger.yaml"
    found = load(Ledger, path, "ledger", REMEDY)
    claims = [check_claim(claim, found.sources, path) for claim in found.claims]
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        raise DataError(
            f"two claims with the id {max(ids, key=ids.count)!r}",
            file=path,
            remedy="give each an id of its own",
        )
    return claims, found.sources


def check_claim(
    claim: Any, sources: Iterable[str] = ("here",), path: str | Path | None = None
) -> Claim:
    """Claim from a dictionary. Raises DataError where it has not exactly the keys of a claim, or a
    test is not one of those of `read_ledger`.
    """
    claim = read_claim(claim, path, REMEDY)
    if claim.by not in sources:
        raise DataError(
            f"claim {claim.id!r}: by {claim.by!r}",
            file=path,
            remedy=f"use a key of sources: {', '.join(sources)}",
        )
    for test in claim.tests:
        splits = test.get("splits", [test.get("split", "mixed")])
        unknown = [split for split in splits if split not in (*KINDS, *INTERACTION_KINDS)]
        if test.get("metric", "rmse") not in REPORTED or unknown or len(splits) == 0:
            raise DataError(
                f"claim {claim.id!r}: metric {test.get('metric')!r}, splits {splits}",
                file=path,
                remedy=f"metrics: {', '.join(REPORTED)}; splits: {', '.join(KINDS)}",
            )
        if "easier" in test and len(splits) < 2:
            raise DataError(
                f"claim {claim.id!r}: nothing is easier than itself",
                file=path,
                remedy="give two splits or more, the easier first",
            )
    return claim


def direction(low: float, high: float, metric: str = "rmse") -> str:
    """Where an interval of a difference lies (a lower RMSE is better, a higher correlation is).

    >>> direction(-0.02, -0.01), direction(-0.02, 0.01), direction(-0.02, -0.01, "pcc_per_drug")
    ('better', 'no difference found', 'worse')
    """
    word = tasks.judge((low, high), ENOUGH, metric).word
    return NOTHING if word == "equivalent" else word


def decide(
    low: float, high: float, folds: float, metric: str = "rmse", expect: str = "better"
) -> str:
    """Outcome of a comparison from the interval of its difference and its number of folds:
    eq-09-outcome.

    >>> decide(-0.02, -0.01, 5), decide(-0.02, 0.01, 5), decide(-0.02, -0.01, 1)
    ('holds', 'fails', 'half')
    >>> decide(-0.02, 0.01, 1), decide(0.01, 0.02, 1)
    ('open', 'fails')
    """
    where = direction(low, high, metric)
    return _decided((where == "better") == (expect == "better"), folds, where, where == NOTHING)[
        "outcome"
    ]


def prediction_interval(mean: float, sd: float, n: float, level: float = 0.95) -> list[float]:
    """[low, high] that one more split should fall into, from mean and (population) standard
    deviation of `n` splits, taken as normal: eq-09-one-more.
    """
    from scipy.special import stdtrit

    reach = stdtrit(n - 1, (1 + level) / 2) * sd * (n / (n - 1)) ** 0.5 * (1 + 1 / n) ** 0.5
    return [mean - reach, mean + reach]


def evidence(
    claims: Iterable[Claim], folder: str | Path | None = None, root: str | Path | None = None
) -> pd.DataFrame:
    """Frame with one row a test and the columns of `EVIDENCE`; `outcome` is holds, half, fails,
    open (too little, or not run) or cannot, and `why` says it in words.
    """
    rows, reader = [], RecordReader(folder, root)
    for claim in claims:
        for test in claim.tests:
            kind = next(kind for kind in CLAIM_TESTS if kind in test)
            about = {"id": claim.id, "test": kind, **{key: test[key] for key in AT if key in test}}
            found = LOOK[kind](test, reader)
            rows += [{**about, **row} for row in (found if isinstance(found, list) else [found])]
    return pd.DataFrame(rows, columns=list(EVIDENCE))


def ledger(path: str | Path | None = None, folder: str | Path | None = None) -> pd.DataFrame:
    """Frame with one row a claim: id, title, claim, by, where, verdict, why, folds (fewest of the
    tests decided), decided and tests (how many).

    The verdict is a rule's (eq-09-verdict): *reproduced* where every test holds in full, *not*
    where none holds, *partly* between; tests still open or impossible do not count, but
    keep a claim from being reproduced; where no test is decided, *not testable* if one never can
    be, else *open*, and `why` says what to run.

    Raises
    ------
    DataError
        As `read_ledger`.
    """
    path = Path(path) if path else home(folder) / "configs" / "ledger.yaml"
    claims, _ = read_ledger(path)
    found = evidence(claims, folder, path.resolve().parents[2])
    rows = []
    for claim in claims:
        tests = found[found["id"] == claim.id]
        decided = tests[tests["outcome"].isin(["holds", "half", "fails"])]
        about = {key: getattr(claim, key) for key in ("id", "title", "claim", "by", "where")}
        about |= {
            "verdict": verdict(tests["outcome"]),
            "why": "; ".join(dict.fromkeys(tests["why"])),
        }
        rows.append(
            about | {"folds": decided["folds"].min(), "decided": len(decided), "tests": len(tests)}
        )
    return pd.DataFrame(rows).set_index("id")


def verdict(outcomes: Iterable[str]) -> str:
    """One of `VERDICTS` from the outcomes of a claim's tests.

    >>> verdict(["holds", "holds"]), verdict(["holds", "fails"]), verdict(["fails", "open"])
    ('reproduced', 'partly', 'not')
    >>> verdict(["half"]), verdict(["open", "cannot"]), verdict(["open"])
    ('partly', 'not testable', 'open')
    """
    outcomes = list(outcomes)
    if not set(outcomes) & {"holds", "half", "fails"}:
        return "not testable" if "cannot" in outcomes else "open"
    if set(outcomes) == {"holds"}:
        return "reproduced"
    return "partly" if set(outcomes) & {"holds", "half"} else "not"


class RecordReader:
    """The records of a folder, each table made once; `root` is where the tests of facts lie."""

    def __init__(self, folder: str | Path | None, root: str | Path | None) -> None:
        self.folder, self.root = folder, Path(root or ".")
        self.tables: dict = {}

    def study(self, name: str) -> pd.DataFrame:
        """What `study` gives, with a column `verdict`."""
        if name not in self.tables:
            frame = study(name, self.folder)
            self.tables[name] = frame.assign(verdict=verdicts(frame))
        return self.tables[name]

    def rung(
        self, dataset: str, split: str, model: str, metric: str
    ) -> tuple[float, list[float], list[float] | None, float] | None:
        """(mean, [low, high] over new lines and drugs, [low, high] of one more split or None,
        folds) of a rung; None where it is not in.
        """
        where = dataset, split
        if where not in self.tables:
            try:
                self.tables[where] = ladder(dataset, split, self.folder)
            except DataError:
                self.tables[where] = None
        if self.tables[where] is None or model not in self.tables[where].index:
            return None
        row = self.tables[where].loc[model]
        folds = row["folds"]
        again = (
            prediction_interval(row[metric], row[f"{metric}_sd"], folds)
            if folds >= ENOUGH
            else None
        )
        return row[metric], [row[f"{metric}_low"], row[f"{metric}_high"]], again, folds


def _missing(who, command, **about):
    return {**about, "outcome": "open", "why": f"{who} not run yet: {command}"}


def _decided(holds, folds, why, nothing=False, command=None):
    """outcome and why; on few folds nothing found is open, and what holds holds by half."""
    if folds >= ENOUGH:
        return {"outcome": "holds" if holds else "fails", "why": why}
    if nothing:
        return {
            "outcome": "open",
            "why": f"{why}, on {folds:.0f} of the {ENOUGH} folds that would say something; for "
            f"more: {command or GRID}",
        }
    return {
        "outcome": "half" if holds else "fails",
        "why": f"{why}, on {folds:.0f} fold{'' if folds == 1 else 's'} only",
    }


INTERACTION_KINDS = ("published", "published_refit", "compound_blind", "protein_blind")
GRID = "clmt run --grid experiments/configs/grid.yaml, then clmt report"


def _compare(test, reader):
    (a, b), grid = test["compare"].split(" - "), test.get("grid", "")
    command = (
        GRID
        if not grid
        else (
            f"clmt run --grid experiments/configs/{grid}.yaml, then clmt report --grid "
            f"experiments/configs/{grid}.yaml"
        )
    )
    try:
        gap = difference(test["dataset"], test["split"], a, b, test["metric"], reader.folder, grid)
    except DataError:
        return _missing(f"{a} or {b}", command, what=a, against=b)
    low, high = gap["interval"]
    where, word = direction(low, high, test["metric"]), gap["verdict"]
    holds = (where == "better") == (test["expect"] == "better")
    said = where if word.word == "too few folds" else str(word)
    about = {
        "what": a,
        "against": b,
        "mean": gap["mean"],
        "low": low,
        "high": high,
        "folds": gap["folds"],
    }
    return _other(about | _decided(holds, gap["folds"], said, where == NOTHING, command), test)


def _reach(test, reader):
    found, about = (
        reader.rung(test["dataset"], test["split"], test["reach"], test["metric"]),
        {"what": test["reach"], "claimed": test["value"]},
    )
    if found is None:
        return _missing(test["reach"], GRID, **about)
    mean, entities, again, folds = found
    low, high = entities if again is None or "other" in test else again
    where = direction(low - test["value"], high - test["value"], test["metric"])
    why = {
        "better": "ours is better",
        NOTHING: "the value lies in our interval",
        "worse": "ours does not reach it",
    }[where]
    out = (
        about
        | {"mean": mean, "low": low, "high": high, "folds": folds}
        | _decided(where != "worse", folds, why)
    )
    return _other(out, test)


def _other(row, test):
    """What was measured under other conditions supports a claim by half, and cannot refute it."""
    if "other" not in test or row["outcome"] == "open":
        return row
    return row | {
        "outcome": "cannot" if row["outcome"] == "fails" else "half",
        "why": f"{row['why']}; {test['other']}",
    }


def _clear_of(test, reader):
    found, rows = reader.rung(test["dataset"], test["split"], test["clear_of"], test["metric"]), []
    for who, value in test["values"].items():
        about = {"what": who, "against": test["clear_of"], "claimed": float(value)}
        if found is None:
            rows.append(_missing(test["clear_of"], GRID, **about))
            continue
        mean, entities, again, folds = found
        low, high = entities if again is None or "other" in test else again
        where = direction(value - high, value - low, test["metric"])
        why = {
            "better": "clear of ours",
            NOTHING: "within our interval",
            "worse": "ours is clear of it",
        }[where]
        rows.append(
            _other(
                about
                | {"mean": mean, "low": low, "high": high, "folds": folds}
                | _decided(where == "better", folds, why, where == NOTHING),
                test,
            )
        )
    return rows


def _easier(test, reader):
    rows = []
    for split, harder in zip(test["splits"], test["splits"][1:], strict=False):
        about, pair = (
            {"what": split, "against": harder},
            [
                reader.rung(test["dataset"], s, test["easier"], test["metric"])
                for s in (split, harder)
            ],
        )
        if None in pair:
            rows.append(_missing(test["easier"], GRID, **about))
            continue
        (a, (low, high), _, n), (b, (low_b, high_b), _, n_b) = pair
        where = direction(low - high_b, high - low_b, test["metric"])
        why = {
            "better": "easier, intervals apart",
            NOTHING: "intervals overlap",
            "worse": "harder, intervals apart",
        }[where]
        rows.append(
            about
            | {"mean": a - b, "low": low - high_b, "high": high - low_b, "folds": min(n, n_b)}
            | _decided(where == "better", min(n, n_b), why, where == NOTHING)
        )
    return rows


def _study(test, reader):
    frame, command = (
        reader.study(test["study"]),
        f"clmt study experiments/configs/studies/{test['study']}.yaml",
    )
    here = frame[
        (frame["dataset"] == test["dataset"])
        & (frame["split"] == test["split"])
        & (frame["name"] == test.get("name", ""))
    ].set_index("variant")
    out = []
    for variant in test["variants"]:
        about = {"what": variant, "against": "base"}
        if variant not in here.index:
            out.append(_missing(variant, command, **about))
            continue
        row = here.loc[variant]
        about |= {
            "metric": row["metric"],
            "mean": row["difference"],
            "low": row["low"],
            "high": row["high"],
            "folds": row["folds"],
        }
        where = direction(row["low"], row["high"], row["metric"])
        quiet = where == NOTHING
        holds = where == test["expect"] or (test["expect"] == "different" and not quiet)
        why = where
        if row["verdict"] == NOTHING:
            why = str(tasks.Verdict(NOTHING, row["low"], row["high"], row["smallest"]))
        elif row["verdict"] == "equivalent":
            why = "equivalent"
        out.append(
            about
            | (
                (_unsound(test, row, reader) if quiet and not holds else None)
                or _decided(holds, row["folds"], why, quiet, command)
            )
        )
    return out


def _unsound(test, row, reader):
    """Nothing found acquits nothing where the study's base has not learnt what a rung knows; None
    where it has, or nobody asked.
    """
    rung = "sound" in test and reader.rung(
        test["dataset"], test["split"], test["sound"], row["metric"]
    )
    if (
        not rung
        or direction(row["base"] - rung[0], row["base"] - rung[0], row["metric"]) != "worse"
    ):
        return None
    return {
        "outcome": "cannot",
        "why": f"the base of the study has not learnt what {test['sound']} knows, so "
        "nothing found acquits nothing",
    }


def _modality(test, reader):
    command, about = "python experiments/interactions.py", {"what": test["modality"]}
    about |= {"against": "base", "dataset": "davis", "metric": "mse"}
    try:
        rows = read("interactions", reader.folder).metrics["modalities"]
    except DataError:
        return _missing(test["modality"], command, **about)
    here = [r for r in rows if (r["variant"], r["split"]) == (test["modality"], test["split"])]
    if not here:
        return _missing(test["modality"], command, **about)
    row = here[0]
    where = direction(row["low"], row["high"])
    about |= {"mean": row["change"], "low": row["low"], "high": row["high"], "folds": COLD_FOLDS}
    return about | _decided(where == test["expect"], COLD_FOLDS, where, where == NOTHING, command)


def _world(test, reader):
    command = "python experiments/umme.py world"
    about = {"what": test["world"], "against": test["against"], "metric": "mse"}
    about |= {"dataset": "interactions", "split": "drug_blind"}
    if test.get("withheld"):
        about["what"] += ", half withheld"
    try:
        gaps = world_gaps(test["world"], test["against"], test.get("withheld"), reader.folder)
    except DataError:
        return _missing(test["world"], command, **about)
    if len(gaps) < ENOUGH:
        return _missing(test["world"], command, **about)
    low, high = tasks.luck(gaps)
    verdict = tasks.judge((low, high), gaps, "mse")
    about |= {"mean": float(gaps.mean()), "low": low, "high": high, "folds": len(gaps)}
    quiet = verdict.word == NOTHING
    return about | _decided(verdict.word == test["expect"], len(gaps), str(verdict), quiet, command)


def world_gaps(
    variant: str, against: str, withheld: bool = False, folder: str | Path | None = None
) -> np.ndarray:
    """[worlds] squared error on new drugs, variant less `against`, in every invented world that
    has both (the record `umme-world`; the worlds with a barcode left out).
    """
    frame = pd.DataFrame(read("umme-world", folder).metrics["rows"])
    frame[["truth", "seed", "variant"]] = frame["key"].str.split("/", n=2, expand=True).to_numpy()
    frame = frame[frame["truth"] != "barcode"]
    values = "mse_half" if withheld else "mse"
    table = frame.pivot(index=["truth", "seed"], columns="variant", values=values)
    return (table[variant] - table[against]).dropna().to_numpy()


def _fact(test, reader):
    file, name = test["fact"].split("::")
    path = reader.root / file
    if not path.is_file() or f"def {name}(" not in path.read_text(encoding="utf-8"):
        return {
            "what": test["fact"],
            "outcome": "cannot",
            "why": f"the test {test['fact']} is not there",
        }
    return {
        "what": test["fact"],
        "outcome": "holds" if test["holds"] else "fails",
        "why": f"shown by our test {name}",
    }


def _untestable(test, _):
    return {"outcome": "cannot", "why": test["untestable"]}


LOOK = {
    "compare": _compare,
    "reach": _reach,
    "clear_of": _clear_of,
    "easier": _easier,
    "study": _study,
    "modality": _modality,
    "world": _world,
    "fact": _fact,
    "untestable": _untestable,
}
