"""Sentences about results that stand on the pages around the chapters, each with its numbers and
the rule by which it still holds.

A person wrote the sentence; the numbers in it are read from the records at every build. `told`
refuses a sentence whose verdict the records no longer support, so prose can be read and cannot go
stale.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from clmt_lib import records
from clmt_lib.book.explorers import choose
from clmt_lib.book.plotting.style import display_name
from clmt_lib.book.plotting.textworth import who_is_told_what
from clmt_lib.io import DataError

Folder = str | Path | None
Found = tuple[dict[str, str], bool]  # the numbers of a sentence as text, and whether it holds
TGSA_RMSE = 0.877  # stated in Table 2 of TGSA's paper, on random pairs
SPLITS = {"mixed": "rmse", "cell_blind": "pcc_per_drug", "drug_blind": "pcc_per_drug"}
SIMPLER = {"mixed": "learned_kernel", "cell_blind": "kernel_omics", "drug_blind": "kernel_text"}
RUNGS: tuple[str, ...] = (
    "drug_mean",
    "cell_mean",
    "effects",
    "als",
    "lightgbm",
    "kernel_text",
    "kernel_omics",
)
RUNGS += ("learned_kernel", "clmt_published", "clmt_unaligned", "clmt", "stack")


@dataclass(frozen=True)
class Finding:
    """One sentence about results.

    Attributes
    ----------
    title : in two to five words
    sentence : MyST markdown, numbers as {name}
    page : where the evidence stands
    look : folder of the records -> (numbers, whether the sentence holds)
    """

    title: str
    sentence: str
    page: str
    look: Callable[[Folder], Found]

    def told(self, folder: Folder = None) -> str:
        """The sentence with its numbers.

        Raises
        ------
        DataError
            The records do not support it any more.
        """
        numbers, holds = self.look(folder)
        if not holds:
            raise DataError(
                f"the finding {self.title!r} no longer holds: {numbers}",
                remedy="write what the records say now into clmt_lib/book/findings.py",
            )
        return self.sentence.format(**numbers)


def gap(found: Mapping, digits: int = 3) -> str:
    """A difference with its interval.

    >>> gap({"mean": -0.021, "interval": [-0.03, -0.012]})
    '−0.021 [−0.030, −0.012]'
    """
    mean, (low, high) = found["mean"], found["interval"]
    text = f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    return text.replace("-", "−")


def _word(found: Mapping) -> str:
    """What the book's one rule (`tasks.judge`) says of a difference."""
    return found["verdict"].word


def held(
    where: tuple[str, str],
    pair: tuple[str, str],
    metric: str,
    word: str,
    folder: Folder = None,
    grid: str = "",
) -> str:
    """The difference of two models with its interval, for a sentence that says `word` of it.

    Parameters
    ----------
    where : benchmark and split
    pair : the model that the sentence is about, and the one it is compared with
    word : the verdict that the sentence tells, one of `tasks.WORDS`
    grid : of runs, where it is not the ladder's

    Raises
    ------
    DataError
        The records say another word by now, or nothing: the sentence must be written again.
    """
    found = records.difference(*where, *pair, metric, folder, grid)
    if _word(found) != word:
        raise DataError(
            f"a sentence says that {pair[0]} is {word} beside {pair[1]} ({' '.join(where)}, "
            f"{metric}); the records say {_word(found)}: {gap(found)}",
            remedy="write the sentence again",
        )
    return gap(found)


def _random_pairs(folder: Folder) -> Found:
    rung = records.ladder("tgsa", "mixed", folder).loc["learned_kernel"]
    numbers = {"rmse": f"{rung['rmse']:.3f}", "published": f"{TGSA_RMSE}"}
    return numbers, rung["rmse"] < TGSA_RMSE and rung["folds"] >= 5


def _text(folder: Folder) -> Found:
    at = ("gdsc2", "drug_blind")
    text, facts = (
        records.difference(*at, "kernel_text", other, "pcc_per_drug", folder)
        for other in ("cell_mean", "kernel_annotation")
    )
    numbers = {"gain": gap(text), "facts": gap(facts)}
    return numbers, _word(text) == "better" and _word(facts) == "no difference found"


def _alignment(folder: Folder) -> Found:
    found = {
        split: records.difference("gdsc2", split, "clmt", "clmt_unaligned", metric, folder)
        for split, metric in SPLITS.items()
    }
    numbers = {split: gap(row) for split, row in found.items()}
    return numbers, {_word(row) for row in found.values()} == {"equivalent"}


def _alignment_all(folder: Folder) -> Found:
    ways, metrics = ("clmt", "clmt_soft", "clmt_response"), ("rmse", "pcc_per_drug")
    found = {
        (split, way, metric): records.difference(
            "gdsc2", split, way, "clmt_unaligned", metric, folder
        )
        for split in SPLITS
        for way in ways
        for metric in metrics
    }
    words = [_word(row) for row in found.values()]
    most = {
        metric: max(abs(row["mean"]) for (*_, of), row in found.items() if of == metric)
        for metric in metrics
    }
    numbers = {
        "count": str(len(words)),
        "equivalent": str(words.count("equivalent")),
        "rmse": f"{most['rmse']:.3f}",
        "r": f"{most['pcc_per_drug']:.3f}",
    }
    unclear = words.count("no difference found")
    return numbers, unclear > 0 and words.count("equivalent") + unclear == len(words)


def _network(folder: Folder) -> Found:
    found = {
        split: records.difference("gdsc2", split, "clmt", SIMPLER[split], metric, folder)
        for split, metric in SPLITS.items()
    }
    numbers = {split: gap(row) for split, row in found.items()}
    return numbers, {_word(row) for row in found.values()} == {"worse"}


def _ridge_head(folder: Folder) -> Found:
    pairs = records.difference(
        "tgsa", "mixed", "kernel_head", "learned_kernel", "rmse", folder, "kernel_head"
    )
    drugs = records.difference(
        "gdsc2", "drug_blind", "kernel_head", "kernel_text", "pcc_per_drug", folder, "kernel_head"
    )
    return {"pairs": gap(pairs), "drugs": gap(drugs)}, {_word(pairs), _word(drugs)} == {"better"}


def _second_screen(folder: Folder) -> Found:
    found = records.read("reference-gdsc2", folder).metrics["new_lines"]
    model, screen = found["screen and prediction"], found["screen and screen"]
    numbers = {
        "model": f"{model['mean']:.2f}",
        "screen": f"{screen['mean']:.2f}",
        "drugs": str(model["drugs"]),
    }
    return numbers, model["interval"][0] > screen["interval"][1]


FINDINGS: dict[str, Finding] = {
    "random_pairs": Finding(
        "Random pairs need no features",
        "A ridge that knows nothing about any drug or any cell line reaches an RMSE of {rmse} on "
        "random pairs of TGSA's data, where its paper states {published} for graphs of genes and "
        "molecules {{cite}}`tgsa2022`: a good score there says little about biology.",
        "notebooks/mixed_split",
        _random_pairs,
    ),
    "text": Finding(
        "Text helps with a new drug, through its facts",
        "A sentence about target and pathway raises the {{term}}`per-drug r` of drugs that nobody "
        "has screened by {gain} over the mean of the lines; no difference was found to the same "
        "two facts without any language ({facts}).",
        "notebooks/what_text_is_worth",
        _text,
    ),
    "alignment": Finding(
        "Alignment makes no difference that matters",
        "With and without drawing the views of an entity together by contrast, the corrected "
        "network is equivalent, within a margin stated before, in three splits of GDSC2: random "
        "pairs {mixed} ln µM of RMSE, new lines {cell_blind} "
        "and new drugs {drug_blind} of per-drug r.",
        "notebooks/contrastive_alignment",
        _alignment,
    ),
    "network": Finding(
        "The network is behind simple kernels",
        "With its defects repaired and its sizes chosen again, CLMT is worse than a "
        "{{term}}`kernel ridge regression` in the same three splits: {mixed} ln µM of RMSE, "
        "{cell_blind} and {drug_blind} of per-drug r.",
        "notebooks/honest_ladder",
        _network,
    ),
    "ridge_head": Finding(
        "A network with a ridge as its head is ahead",
        "When the head is the ridge itself and only the weights of the views are learned through "
        "it, the network is better than the best kernel: {pairs} ln µM of RMSE on TGSA's random "
        "pairs, {drugs} of per-drug r for new drugs.",
        "notebooks/best_predictor",
        _ridge_head,
    ),
    "second_screen": Finding(
        "A prediction can say more than a second screen",
        "For cell lines that it never saw, the prediction agrees better with GDSC2 (per-drug r "
        "{model}) than GDSC1's own measurement of the same lines does ({screen}; {drugs} drugs): "
        "a second measurement is a reference, not a ceiling.",
        "notebooks/best_predictor",
        _second_screen,
    ),
}

# sentences that stand on one page only, where {{ finding_NAME }} puts them
IN_CHAPTERS: dict[str, Finding] = {
    "alignment_all": Finding(
        "No way of aligning makes a difference",
        "None of the {count} comparisons in the figure finds a difference: in {equivalent} of them "
        "CLMT with and without alignment are equivalent, within a margin stated before, and in the "
        "others no difference was found. The largest change is {rmse} ln µM of RMSE, and {r} of "
        "per-drug r.",
        "notebooks/contrastive_alignment",
        _alignment_all,
    ),
}


def listed(folder: Folder = None) -> str:
    """The findings as a numbered list in markdown, each with its link."""
    return "\n".join(
        f"{number}. **{finding.title}.** {finding.told(folder)} "
        f"({{doc}}`the evidence </{finding.page}>`)"
        for number, finding in enumerate(FINDINGS.values(), 1)
    )


def presets(folder: Folder = None) -> str:
    """Published, repaired and corrected CLMT on GDSC2, as rows of a markdown table."""
    names = {"clmt_published": "published", "clmt_repaired": "repaired", "clmt": "corrected"}
    frames = {split: records.ladder("gdsc2", split, folder) for split in SPLITS}
    said = {"mixed": "random pairs, RMSE", "cell_blind": "new lines, per-drug r"}
    said["drug_blind"] = "new drugs, per-drug r"
    rows = [f"| on GDSC2 | {' | '.join(names.values())} |", "|---|---|---|---|"]
    for split, metric in SPLITS.items():
        frame, cells = frames[split], []
        for name in names:
            if name not in frame.index:
                cells.append("not run")
                continue
            folds = int(frame.loc[name, "folds"])
            cells.append(f"{frame.loc[name, metric]:.3f} ({folds} fold{'s' * (folds > 1)})")
        rows.append(f"| {said[split]} | {' | '.join(cells)} |")
    return "\n".join(rows)


def ladder_picture(dataset: str = "gdsc2", split: str = "drug_blind", folder: Folder = None) -> str:
    """A ladder of `RUNGS` as an SVG for a page: best on top, dots with 95 % intervals.

    It takes its colours from the page, so it is right in light and dark, and its letters can be
    read at 390 px.
    """
    metric = SPLITS[split]
    frame = records.ladder(dataset, split, folder)
    frame = frame.loc[[name for name in RUNGS if name in frame.index]]
    if "kernel_head" not in frame.index:  # it has a grid of its own, on the same folds
        frame.loc["kernel_head"] = records.ladder(dataset, split, folder, "kernel_head").loc[
            "kernel_head"
        ]
    most = frame["folds"].max()  # a mean over fewer folds is over other test sets
    frame = frame[(frame["folds"] == most) & (frame[metric] != 0)]
    frame = frame.sort_values(metric, ascending=metric == "rmse", kind="stable")
    low, high = frame[f"{metric}_low"].min(), frame[f"{metric}_high"].max()
    left, right, top, step = 206, 468, 44, 30
    height = top + step * len(frame) + 26

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts = [
        f'<svg class="drawn" viewBox="0 0 480 {height}" role="img" '
        f'aria-label="{len(frame)} predictors by {escape(metric)}, 95 % intervals, best on top; '
        f'best: {escape(display_name(frame.index[0]))}" xmlns="http://www.w3.org/2000/svg">',
        '<text class="small" x="8" y="22">best on top</text>',
    ]
    for row, (name, told) in enumerate(frame.iterrows()):
        y, own = top + step * row + 8, str(name).startswith("clmt")
        kind = "drug" if own else "line"
        ends = [x(told[f"{metric}_{end}"]) for end in ("low", "high")]
        parts.append(f'<text x="8" y="{y + 5}">{escape(display_name(str(name)))}</text>')
        parts.append(
            f'<path class="{kind}" d="M{ends[0]:.1f} {y}H{ends[1]:.1f}"/>'
            f'<circle class="{kind}" cx="{x(told[metric]):.1f}" cy="{y}" r="6"/>'
        )
    for value in (low, high):
        anchor = "start" if value == low else "end"
        parts.append(
            f'<text class="small" x="{x(value):.0f}" y="{height - 8}" '
            f'text-anchor="{anchor}">{value:.2f}</text>'
        )
    return "".join([*parts, "</svg>"])


ASKED = {"mixed": "random pairs", "cell_blind": "new lines", "drug_blind": "new drugs"}


def ablation_explorer(folder: Folder = None) -> str:
    """What taking a part of CLMT away costs on GDSC2, one drawing a split, and a row of buttons
    that choose among them: HTML without a script, so that it works offline and by keys; on paper
    all three are there.
    """
    frame = records.study("ablations", folder)
    frame = frame[(frame["name"] == "") & (frame["dataset"] == "gdsc2")]
    frame = frame.assign(verdict=records.verdicts(frame))
    panes = {
        title: _effects(frame[frame["split"] == split], title) for split, title in ASKED.items()
    }
    return choose("ablation", panes, "Which pairs are asked for")


def _effects(rows: pd.DataFrame, title: str) -> str:
    """The differences of a study as an SVG, what costs most on top."""
    metric = rows["metric"].iloc[0]
    sign = 1 if metric == "rmse" else -1  # to the right it is always worse
    rows = rows.assign(cost=sign * rows["difference"])
    rows = rows.sort_values("cost", ascending=False, kind="stable")
    reach = 1.3 * rows["cost"].abs().max()
    left, right, top, step = 176, 468, 44, 26
    height = top + step * len(rows) + 30

    def x(cost: float) -> float:
        return left + (right - left) * (min(max(cost, -reach), reach) + reach) / (2 * reach)

    score = "RMSE" if metric == "rmse" else "per-drug r"
    parts = [
        f'<svg class="drawn" viewBox="0 0 480 {height}" role="img" '
        f'aria-label="{escape(title)}: what each change of CLMT costs in {score}, with 95 % '
        f'intervals; most on top: {escape(str(rows["variant"].iloc[0]).replace("_", " "))}" '
        'xmlns="http://www.w3.org/2000/svg">',
        f'<text class="small" x="{left}" y="22">← better</text>',
        f'<text class="small" x="{right}" y="22" text-anchor="end">worse →</text>',
        f'<path class="plain" d="M{x(0):.1f} {top - 14}V{height - 24}"/>',
    ]
    kinds = {"worse": "line", "better": "drug"}
    for place, row in enumerate(rows.itertuples()):
        y, kind = top + step * place, kinds.get(row.verdict, "plain")
        ends = sorted(x(sign * end) for end in (row.low, row.high))
        told = f"{score} {gap({'mean': row.difference, 'interval': (row.low, row.high)})}"
        parts.append(
            f"<g><title>{escape(told)}: {row.verdict}, {row.folds} folds</title>"
            f'<text x="8" y="{y + 5}">{escape(str(row.variant).replace("_", " "))}</text>'
            f'<path class="{kind}" d="M{ends[0]:.1f} {y}H{ends[1]:.1f}"/>'
            f'<circle class="{kind}" cx="{x(row.cost):.1f}" cy="{y}" r="5.5"/></g>'
        )
    for cost in (-reach, 0, reach):
        anchor = {-reach: "start", 0: "middle", reach: "end"}[cost]
        parts.append(
            f'<text class="small" x="{x(cost):.0f}" y="{height - 8}" text-anchor="{anchor}">'
            f"{sign * cost:+.2f}</text>".replace(">-", ">−").replace("+0.00", "0")
        )
    return "".join([*parts, "</svg>"])


def substitutions(folder: Folder = None) -> dict[str, str]:
    """What pages of the book may name between double braces."""
    out = {
        f"finding_{name}": finding.told(folder)
        for name, finding in (FINDINGS | IN_CHAPTERS).items()
    }
    return out | {
        "findings": listed(folder),
        "presets": presets(folder),
        "ablation_explorer": ablation_explorer(folder),
        "who_is_told_what": who_is_told_what(),
        **{f"ladder_{split}": ladder_picture("gdsc2", split, folder) for split in SPLITS},
    }


__all__ = [
    "FINDINGS",
    "IN_CHAPTERS",
    "Finding",
    "ablation_explorer",
    "gap",
    "held",
    "ladder_picture",
    "listed",
    "presets",
    "substitutions",
]
