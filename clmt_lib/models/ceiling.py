"""What a measured profile tells of a label that structure does not, and how much of it is left when
the profile has to be predicted: the same probe on several sets of features, out of fold (chapter
profiles).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.profiles.matching import follow, matching
from clmt_lib.data.splits import Split, folds_of, make_split
from clmt_lib.io import DataError
from clmt_lib.models.imputation import fit_components, impute, impute_donors
from clmt_lib.models.profiles import Profiles, ProfilesConfig
from clmt_lib.views.molecules import tanimoto

ROWS = ("structure", "+ measured", "+ imputed", "+ aligned", "measured", "cell count")
CELL_COUNT = ("cell_count", "Rel_Cell_Count", "Induction")  # names of the features
Structure = Callable[[Benchmark, Split], np.ndarray]


def ceiling(
    benchmark: Benchmark,
    space: str,
    seed: int = 0,
    *,
    encoder: ProfilesConfig | None = None,
    components: int = 30,
    strength: float = 0.03,
    structure: Structure | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Out-of-fold scores of labels by structure, by structure with a profile, and by less.

    Folds hold out scaffolds. Only molecules that were measured in `space` are asked about; but
    profiles of all molecules outside the test scaffolds serve imputation and alignment. A profile
    is imputed for a training molecule, too, from those of other scaffolds, so that the probe learns
    how much an imputed profile is worth.

    Parameters
    ----------
    benchmark : molecules x assays whose molecules have the views "fingerprint" and `space`
    seed : of the folds
    encoder : of the aligned features; None leaves them out
    components : principal components kept of the space
    strength : inverse ridge of the logistic regression (C)
    structure : (benchmark, split) -> [molecules, features] of "structure"; None takes the bits

    Returns
    -------
    ([n] positions of the pairs that were asked about, row of `ROWS` -> [n] scores)

    Raises
    ------
    DataError
        The molecules lack a view, or an assay has labels of one class in a training set.
    """
    side = benchmark.sides[0]
    for view in ("fingerprint", space):
        if view not in side.views:
            raise DataError(
                f"the molecules have no {view!r}", remedy=f"there is {', '.join(side.views)}"
            )
    asked = np.flatnonzero(side.has(space)[benchmark.pairs[:, 0]])
    scores: dict[str, np.ndarray] = {}
    for fold in range(folds_of("scaffold_blind")):
        split = make_split(benchmark, "scaffold_blind", seed, fold)
        found = features(benchmark, split, space, encoder, components, structure)
        test = np.intersect1d(split.test, asked)
        train = np.intersect1d(np.concatenate([split.train, split.valid]), asked)
        for name, x in found.items():
            row = scores.setdefault(name, np.full(len(benchmark), np.nan))
            row[test] = _probe(benchmark, x, train, test, strength)
    return asked, {name: row[asked] for name, row in scores.items()}


def features(
    benchmark: Benchmark,
    split: Split,
    space: str,
    encoder: ProfilesConfig | None = None,
    components: int = 30,
    structure: Structure | None = None,
) -> dict[str, np.ndarray]:
    """Row of `ROWS` -> [molecules, features]; nothing is fitted on profiles of test scaffolds, nor
    on any label. Rows that have no measured profile hold zeros where one is asked for.
    """
    side = benchmark.sides[0]
    table = matching(side, [space])
    cut = follow(split, benchmark, table)
    donors = np.unique(table.pairs[np.concatenate([cut.train, cut.valid]), 0])
    values, there = side.views[space].to_numpy(np.float64), side.has(space)
    how = fit_components(values[donors], components)
    measured = np.zeros((len(side), len(how.scale)))
    measured[there] = how(values[there])
    bits = np.asarray(side.views["fingerprint"], dtype=np.float64)
    among, between = tanimoto(bits[donors], bits[donors]), tanimoto(bits, bits[donors])
    imputed = impute(measured[donors], among, between)
    imputed[donors] = impute_donors(measured[donors], among, side.keys["scaffold"][donors])
    plain = bits - bits[donors].mean(0) if structure is None else structure(benchmark, split)
    blocks = {
        "structure": [plain],
        "+ measured": [plain, measured],
        "+ imputed": [plain, _scaled(imputed, donors)],
        "measured": [measured],
    }
    if encoder is not None:
        model = Profiles(encoder).fit(table, cut)
        blocks["+ aligned"] = [plain, _scaled(model.features(), donors)]
    names = list(side.views[space].columns)
    counts = [names.index(name) for name in CELL_COUNT if name in names]
    if counts:
        blocks["cell count"] = [_scaled(values[:, counts], donors)]
    return {name: np.hstack(blocks[name]) for name in ROWS if name in blocks}


def _scaled(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Less the mean, by the deviation of some rows; a constant column is zero there."""
    spread = x[rows].std(0)
    return (x - x[rows].mean(0)) / np.where(spread > 1e-9, spread, np.inf)


def _probe(
    benchmark: Any, x: np.ndarray, train: np.ndarray, test: np.ndarray, strength: float
) -> np.ndarray:
    """[test] scores of one logistic regression an assay."""
    from sklearn.linear_model import LogisticRegression

    (row, column), out = benchmark.pairs.T, np.full(len(test), np.nan)
    x, row = _rotated(x, row[np.concatenate([train, test])], row)
    for assay in np.unique(column[test]):
        here, asked = train[column[train] == assay], column[test] == assay
        y = benchmark.y[here]
        if len(np.unique(y)) < 2:
            raise DataError(
                f"assay {benchmark.sides[1].ids[assay]!r} has labels of one class in training",
                remedy="leave it out, or ask for fewer folds",
            )
        model = LogisticRegression(C=strength, max_iter=300).fit(x[row[here]], y)
        # less the mean over training molecules: folds are pooled, and an intercept that is high
        # because few of the active ones are left to be tested would turn a useless row around
        middle = model.decision_function(x[row[here]]).mean()
        out[asked] = model.decision_function(x[row[test[asked]]]) - middle
    return out


def _rotated(x: np.ndarray, used: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([m, at most m] the used rows of x in coordinates of their own span, [pairs] their places).

    A penalty on squared weights does not see a rotation, and molecules are fewer than features.
    """
    rows = np.unique(used)
    part = x[rows]
    if len(rows) < x.shape[1]:
        size, vectors = np.linalg.eigh(part @ part.T)
        part = vectors * np.sqrt(np.maximum(size, 0))
    return part, np.clip(np.searchsorted(rows, row), 0, len(rows) - 1)


def gains(
    benchmark: Benchmark, asked: np.ndarray, scores: Mapping[str, np.ndarray], draws: int = 1000
) -> dict[str, dict[str, Any]]:
    """Mean AUROC over assays of every row, and what it has over structure, with intervals by
    molecule.

    Parameters
    ----------
    asked, scores : from `ceiling`

    Returns
    -------
    row -> {"auroc", "gain", "interval" of the gain}
    """
    from clmt_lib.tasks import bootstrap_of, evaluate, interval, of

    task, pairs, y = of(benchmark), benchmark.pairs[asked], benchmark.y[asked]
    metric = task.usual.format(row=task.sides[0], column=task.sides[1])
    groups = dict(zip(task.sides, pairs.T, strict=True))
    boot, out = bootstrap_of(benchmark, draws), {}
    drawn = {name: boot.statistics(pairs, y, p, [metric])[metric] for name, p in scores.items()}
    value = {
        name: evaluate(y, p, groups, [metric], task.fewest)[metric] for name, p in scores.items()
    }
    for name in scores:
        out[name] = {
            "auroc": value[name],
            "gain": value[name] - value["structure"],
            "interval": interval(drawn[name] - drawn["structure"]),
        }
    return out
