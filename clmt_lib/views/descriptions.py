"""Facts to sentences about drugs and cell lines, and a guard against sentences that know responses
(chapter 02).

The packaged tables `pathways.tsv`, `targets.tsv` and `drivers.tsv` are written in this book's own
words from textbook knowledge: what things do in a cell,
nothing of who responds to what, and nothing of the clinic.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files

import numpy as np
import pandas as pd

from clmt_lib.io import DataError

DRUG_SOURCES = ("annotation", "mechanism", "long", "name")
CELL_SOURCES = ("annotation", "drivers")
AMPLIFIED, DELETED = (
    1.5,
    -2.0,
)  # log2 of copies over the line's usual number: nearly three times as many; a quarter or fewer
# what a description must not speak of: response, its measures, and what people conclude from it
# (use in the clinic)
RESPONSE_WORDS = re.compile(
    r"\b(?:(?:hyper|chemo|in)?sensiti[vsz]\w*|resistan\w*|refractory|"
    r"respon(?:d|ds|ded|der|ders|sive|siveness)|(?:drug|treatment|clinical) responses?|"
    r"p?[ig][ci]\s?50s?|auc|efficac\w*|potent\w*|cytotoxic\w*|kills?|killed|"
    r"surviv(?:e|es|ed|al)|approv\w+|indications?|indicated (?:for|in)|prescribed|"
    r"clinical trials?|patients?|remissions?)\b",
    re.IGNORECASE,
)


def describe_drugs(drugs: pd.DataFrame, source: str = "annotation") -> list[str | None]:
    """[D] descriptions made of facts, by template; None where nothing is known.

    Parameters
    ----------
    source : "annotation" (targets and pathway), "mechanism" (the table's paragraph, else ours for a
        drug of that name),
        "long" (annotation, mechanism, then what the pathway and each family of targets do in a
        cell; what is not known is left out),
        "name" (a control: the name alone)

    Raises
    ------
    DataError
        Unknown source.
    """
    _allowed(source, DRUG_SOURCES)
    if source == "annotation":
        known = drugs["target"].notna() | drugs["pathway"].notna()
        parts = zip(
            known,
            drugs["target"].fillna("an unknown target"),
            drugs["pathway"].fillna("unknown"),
            strict=True,
        )
        return [
            f"A drug that acts on {target}, in the pathway: {pathway}." if there else None
            for there, target, pathway in parts
        ]
    if source == "name":
        return [text if isinstance(text, str) else None for text in drugs["name"]]
    if source == "mechanism":
        ours, column = mechanisms(), drugs.get("mechanism", [None] * len(drugs))
        return [
            text if isinstance(text, str) and text.strip() else ours.get(_key(name))
            for text, name in zip(column, drugs["name"], strict=True)
        ]
    return _long(drugs)


def _long(drugs):
    pathway, families = _table("pathways.tsv", "pathway"), target_families()
    facts = zip(
        describe_drugs(drugs),
        describe_drugs(drugs, "mechanism"),
        drugs["pathway"],
        drugs["target"],
        strict=True,
    )
    out = []
    for annotation, mechanism, place, target in facts:
        spelt = (
            [piece.strip().lower() for piece in target.split(",")]
            if isinstance(target, str)
            else []
        )
        about = dict.fromkeys(
            families[piece] for piece in spelt if piece in families
        )  # each family once, in the order of the targets
        parts = [annotation, mechanism, pathway.get(_key(place)), *about]
        out.append(" ".join(part.strip() for part in parts if part) or None)
    return out


def mechanisms() -> dict[str, str]:
    """Name of a real drug (lower case) -> our paragraph about its mechanism, from the packaged
    tables `oncology_drugs.tsv` and `mechanisms.tsv`.
    """
    return _table("oncology_drugs.tsv", "name", "mechanism") | _table(
        "mechanisms.tsv", "name", "mechanism"
    )


def target_families() -> dict[str, str]:
    """Target as a table spells it (lower case) -> our sentences about its family, from
    `targets.tsv`; a target in no family is not there.
    """
    return {
        spelt.lower(): row["description"]
        for row in _rows("targets.tsv")
        for spelt in row["spellings"].split("|")
    }


def drivers() -> dict[str, tuple[str, str]]:
    """Gene -> (kind, process) of well-known cancer genes, from `drivers.tsv`; kind is "oncogene",
    "suppressor" or "either".
    """
    return {row["gene"]: (row["kind"], row["process"]) for row in _rows("drivers.tsv")}


def describe_cells(
    cells: pd.DataFrame, source: str = "annotation", omics: Mapping[str, pd.DataFrame] | None = None
) -> list[str | None]:
    """[C] descriptions of lines, by template; each is made from its own line alone, nothing is
    fitted across lines.

    Parameters
    ----------
    source : "annotation" (tissue, cancer type, microsatellite status), "drivers" (the same, then
        mutated, amplified and deeply deleted driver genes and what they take part in)
    omics : for "drivers", the benchmark's tables; "mutation" and "copy_number" are read, one of
        them is enough, and a line that a table does not know gets no sentence from it

    Raises
    ------
    DataError
        Unknown source, or "drivers" without either table.
    """
    _allowed(source, CELL_SOURCES)
    plain = [_annotated(row) for row in cells.itertuples()]
    if source == "annotation":
        return plain
    if not omics or not {"mutation", "copy_number"} & set(omics):
        raise DataError(
            "texts about driver genes need the lines' omics",
            remedy="give omics=benchmark.omics, with a table mutation or copy_number",
        )
    events = driver_events(cells, omics)
    return [
        " ".join([text, *_driver_sentences(*row)]) for text, row in zip(plain, events, strict=True)
    ]


def _annotated(row):
    kind = getattr(row, "cancer_type", None)
    status = getattr(row, "msi", None)
    text = f"A cancer cell line from the tissue: {row.tissue}."
    text += f" Its cancer type: {kind}." if isinstance(kind, str) else ""
    return text + (f" Microsatellite status: {status}." if isinstance(status, str) else "")


def driver_events(
    cells: pd.DataFrame, omics: Mapping[str, pd.DataFrame]
) -> list[tuple[list[str] | None, ...]]:
    """[C] triples (mutated, amplified, deeply deleted) of lists of driver genes; None instead of a
    list where the line is not in the table.

    Mutations count in every gene of `drivers`, amplifications in oncogenes (log2 ratio of
    `AMPLIFIED` or more), deletions in suppressors (`DELETED` or less).
    """
    kind = {gene: what for gene, (what, _) in drivers().items()}
    copies = log2_ratios(omics["copy_number"]) if "copy_number" in omics else None
    tables = [
        (omics.get("mutation"), tuple(kind), lambda value: value != 0),
        (
            copies,
            [gene for gene in kind if kind[gene] == "oncogene"],
            lambda value: value >= AMPLIFIED,
        ),
        (
            copies,
            [gene for gene in kind if kind[gene] == "suppressor"],
            lambda value: value <= DELETED,
        ),
    ]
    return list(zip(*[_events(cells, *given) for given in tables], strict=True))


def _events(cells, table, genes, happened):
    if table is None:
        return [None] * len(cells)
    table = table.reindex(
        index=cells.index, columns=[gene for gene in genes if gene in table.columns]
    )
    values, names = table.to_numpy(dtype=float), np.array(table.columns, dtype=object)
    known = np.isfinite(values)
    hit = known & happened(np.where(known, values, 0.0))
    return [
        names[row].tolist() if there else None for row, there in zip(hit, known.any(1), strict=True)
    ]


def _driver_sentences(mutated, amplified, deleted):
    named = [
        ("Mutated driver genes", mutated),
        ("Amplified", amplified),
        ("Deeply deleted", deleted),
    ]
    out = ["None of the driver genes is mutated."] if mutated == [] else []
    out += [f"{what}: {', '.join(genes)}." for what, genes in named if genes]
    process = {gene: where for gene, (_, where) in drivers().items()}
    processes = dict.fromkeys(process[gene] for _, genes in named for gene in genes or [])
    return out + ([f"These genes take part in {', '.join(processes)}."] if processes else [])


def log2_ratios(copy_number: pd.DataFrame) -> pd.DataFrame:
    """[C, genes] frame of copy numbers as log2(ratio to the line's usual number), whichever of two
    common scales each line comes on.

    A line on log2(ratio + 1), as in the CCLE releases, has no negative value and its usual gene at
    1; on log2(ratio) the usual gene is at 0.
    Each line is recognised by itself: no negative value and a median above 0.75. A ratio below 1/64
    counts as 1/64.

    >>> log2_ratios(pd.DataFrame([[0.0, -2.0, 0.0], [1.0, 0.0, 2.0]])).round(2).to_numpy().tolist()
    [[0.0, -2.0, 0.0], [0.0, -6.0, 1.58]]
    """
    values = copy_number.to_numpy(dtype=float)
    known = np.isfinite(values).any(1)
    shifted = np.zeros(len(values), dtype=bool)
    shifted[known] = (np.nanmin(values[known], axis=1) >= 0) & (
        np.nanmedian(values[known], axis=1) > 0.75
    )
    ratios = np.log2(np.maximum(2.0 ** np.where(shifted[:, None], values, 1.0) - 1, 2.0**-6))
    return pd.DataFrame(
        np.where(shifted[:, None], ratios, values),
        index=copy_number.index,
        columns=copy_number.columns,
    )


def response_words(texts: Iterable[str | None]) -> list[list[str]]:
    """[n] words in each text that speak of response, sensitivity, indication or approval; a missing
    text has none.

    A description that passes can still leak in other words: it is a smoke alarm, not a proof.
    `audit.proves_blind` is one, for texts made from data.

    >>> response_words(["Lines with high HSPA5 are sensitive.", "It blocks the proteasome.", None])
    [['sensitive'], [], []]
    """
    return [RESPONSE_WORDS.findall(text) if text else [] for text in texts]


def _allowed(source, sources):
    if source not in sources:
        raise DataError(
            f"unknown text source {source!r}",
            remedy=f"use {', '.join(sources[:-1])} or {sources[-1]}",
        )


def _table(name, key, value="description"):
    return {_key(row[key]): row[value].strip() for row in _rows(name)}


def _rows(name):
    with (files("clmt_lib.data") / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def _key(name):
    return name.strip().lower() if isinstance(name, str) else None
