"""The leak detector: finds what a split, a transform, a graph or an auxiliary target knows of the
test set, and names it (chapters 01 and 08).

Two kinds of proof. `audit` reads what objects declare (`fitted_on`, edges, positions) and compares
it with the split. `proves_blind` believes nobody:
it fits again in worlds that differ only in the test set, and compares every fitted bit.
"""

from typing import Any

from clmt_lib.audit import checks, identity
from clmt_lib.audit.blind import (
    corrupt_views,
    permute_facts,
    permute_test_responses,
    proves_blind,
    replace_test_responses,
    state_difference,
    unseen,
)
from clmt_lib.audit.report import Audit, Auxiliary, Finding, LeakError
from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split

__all__ = [
    "Audit",
    "Auxiliary",
    "Finding",
    "LeakError",
    "audit",
    "corrupt_views",
    "permute_facts",
    "permute_test_responses",
    "proves_blind",
    "replace_test_responses",
    "state_difference",
    "unseen",
]


def audit(
    benchmark: Benchmark,
    split: Split | None = None,
    *,
    transforms: Any = (),
    graph_edges: Any = None,
    auxiliary: Any = None,
) -> Audit:
    """Check a benchmark, and with a `split` also what was fitted for it.

    Parameters
    ----------
    split : Split or None. Without one, only the benchmark is checked.
    transforms : object(s) with `fitted_on`, positions of entities of the first side (of another
        where they say so: `entity = "drug"`)
    graph_edges : [2, E] response edges (row, column); or a mapping (or HeteroData) from (source,
        relation, target) to [2, E] edges
    auxiliary : object(s) with `fitted_on`, positions into `pairs` (see `Auxiliary`)

    Returns
    -------
    Audit. `fitted_on` and edges are taken at their word; `proves_blind` is the proof that needs no
    trust.

    Raises
    ------
    ValueError
        Something fitted was given without a split to compare it with.
    """
    transforms, auxiliary = checks.listed(transforms), checks.listed(auxiliary)
    rows, columns = benchmark.sides
    twins = [
        *identity.same_things(benchmark, columns),
        *identity.same_things(benchmark, rows),
        *checks.bounds(benchmark),
    ]
    about = tuple(f"{identity.one_of(side)}s" for side in (columns, rows))
    about += ("bounds",) if benchmark.censored.any() else ()
    if split is None:
        if transforms or auxiliary or graph_edges is not None:
            raise ValueError(
                "a transform, graph or auxiliary target can only be audited together with its split"
            )
        return Audit(benchmark.name, about, tuple(twins))
    subject, done = (
        f"{benchmark.name}, {split.kind} seed {split.seed} fold {split.fold}",
        [*about, "split"],
    )
    if any(checks.has_molecules(side) for side in benchmark.sides):
        done.append("connectivities and scaffolds")
    broken = list(checks.broken_split(benchmark, split))
    if any(
        finding.kind == "wrong data" for finding in broken
    ):  # positions mean nothing: every further answer would be noise
        return Audit(subject, tuple(done), (*twins, *broken))
    found = [
        *twins,
        *broken,
        *checks.broken_promise(benchmark, split),
        *checks.shared_structures(benchmark, split),
        *checks.replicates(benchmark, split),
    ]
    for what, check, things in (
        ("transform", checks.transform, transforms),
        ("graph", checks.graph, () if graph_edges is None else (graph_edges,)),
        ("auxiliary target", checks.auxiliary, auxiliary),
    ):
        for thing in things:
            done.append(f"{what} {checks.name_of(thing)}" if what != "graph" else what)
            found += check(benchmark, split, thing)
    return Audit(subject, tuple(done), tuple(found))
