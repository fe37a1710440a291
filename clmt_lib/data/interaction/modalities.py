"""What is known of compounds and proteins besides structure and sequence: mechanism words,
captions, assays, expression, function texts, kinase families.

Few entities have them: a view says by `present` which. All come from tables made for other
purposes (Drug Repurposing Hub, ChEBI-20, ToxCast, Tox21, CMap build 02, UniProt, GO), joined by
InChIKey skeleton or by gene, so what is there tells something of the entity by itself.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side, shown
from clmt_lib.data.grouping import check_keys, skeletons
from clmt_lib.io import DataError, locate, read_table, require_columns

FEWEST_COMPOUNDS = 100  # of CMap's 1,056 that name a gene before the gene is a feature


def with_modalities(
    benchmark: Benchmark, modalities: str = "all", folder: str | os.PathLike | None = None
) -> Benchmark:
    """Proteins x drugs with everything else that is known of them, and in `source` of how many.

    Drugs get the views `mechanism` (words of the Drug Repurposing Hub, "MEK inhibitor"), `caption`
    (ChEBI's text), `assay` ([n, 617] ToxCast calls, NaN where not tried), `tox21` ([n, 12], the
    same) and `expression` ([n, genes]: how often a gene was among the 100 most raised, less how
    often among the 100 most lowered, over CMap's instances of the compound), and the column
    `target` (genes that the Hub names). Proteins get the columns `group` and `family` of kinases,
    and the view `function` (GO terms of the gene) where they have no text yet. Each view has a
    `present` mask.

    Parameters
    ----------
    modalities : "all", or "none" to change nothing
    folder : prepared tables, whose parts are `dti`, `text`, `probing` and `expression`

    Raises
    ------
    DataError
        Another word; a table that is missing or lacks a column; something that is no InChIKey, no
        call, no caption, no list of genes; a gene in two rows that differ.
    """
    if modalities == "none":
        return benchmark
    if modalities != "all":
        raise DataError(f"unknown modalities {modalities!r}", remedy="use all or none")
    proteins, drugs = benchmark.sides
    sides = _known_proteins(proteins, folder), _known_drugs(drugs, folder)
    said = [
        f"of {len(side):,} {side.name}s "
        + ", ".join(f"{count:,} have {name}" for name, count in _counts(side).items())
        for side in sides
    ]
    return replace(benchmark.with_sides(*sides), source="; ".join([benchmark.source, *said]))


def _counts(side: Side) -> dict[str, int]:
    """Modality, or column that tells more -> of how many entities it is known."""
    views = {view: int(side.has(view).sum()) for view in sorted(side.present)}
    columns = [name for name in ("group", "target") if name in side.frame]
    return views | {name: int(side.frame[name].notna().sum()) for name in columns}


def _known_drugs(side: Side, folder: str | os.PathLike | None) -> Side:
    """Drugs with the modalities of compounds."""
    key = skeletons(side.frame["inchikey"])  # [n] missing where there is no structure
    text, probing = locate(folder, "text"), locate(folder, "probing")
    hub = _keyed(text / "repurposing_hub_20200324.parquet", ["moa", "target"])
    mechanism, target = (_words(hub, column, key) for column in ("moa", "target"))
    path = text / "chebi20_val_test.parquet"
    captions = _keyed(path, ["description"])
    _none_empty(captions["description"], path, "a caption")
    caption = captions.groupby(skeletons(captions["inchikey"]))["description"].first()
    assay = _calls(probing / "toxcast617.parquet", key)
    tox21 = _calls(probing / "tox21.parquet", key)
    path = locate(folder, "expression") / "cmap_build02_top100.parquet"
    expression = _expression(path, key)
    views: dict[str, Any] = {
        "mechanism": mechanism.str.replace(", ", "; ").fillna(""),
        "caption": key.map(caption).fillna("").astype("str"),
        "assay": assay,
        "tox21": tox21,
        "expression": expression,
    }
    present = {
        "mechanism": mechanism.notna().to_numpy(),
        "caption": key.isin(caption.index).to_numpy(),
        "assay": assay.notna().any(axis=1).to_numpy(),
        "tox21": tox21.notna().any(axis=1).to_numpy(),
        "expression": (expression != 0).any(axis=1).to_numpy(),
    }
    return replace(
        side,
        frame=side.frame.assign(target=target),
        views={**side.views, **views},
        present={**side.present, **present},
    )


def _keyed(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """A table of compounds with these columns, as text (None: all, as they are) and their
    InChIKeys.
    """
    table = read_table(path) if columns is None else _text(path, ["inchikey", *columns])
    require_columns(table.columns, ["inchikey"], path)
    check_keys(table["inchikey"], path)
    return table


def _text(path: Path, columns: list[str]) -> pd.DataFrame:
    """A table with these columns, as text whatever it holds."""
    return read_table(path, columns).astype("str")


def _none_empty(cells: pd.Series, path: Path, what: str) -> None:
    """Raise where a cell is empty."""
    empty = np.flatnonzero(cells.isna() | (cells.astype("str").str.strip() == ""))
    if empty.size:
        raise DataError(
            f"{what} is empty",
            file=path,
            row=int(empty[0]) + 2,
            remedy="give it, or drop the row",
        )


def _words(hub: pd.DataFrame, column: str, key: pd.Series) -> pd.Series:
    """[n] what the Hub lists for each compound, "a, b" in alphabetical order, missing where it has
    nothing.
    """
    rows = hub[hub[column].notna()]
    lists = rows[column].str.split("|").groupby(skeletons(rows["inchikey"])).sum()
    joined = lists.map(lambda names: ", ".join(sorted({name.strip() for name in names} - {""})))
    return key.map(joined[joined != ""]).astype(object)


def _calls(path: Path, key: pd.Series) -> pd.DataFrame:
    """[n, assays] float32 mean call of each compound in a table of assays, NaN where not tried."""
    table = _keyed(path)
    assays = [name for name in table.columns if name not in ("smiles", "inchikey")]
    calls = table[assays].apply(pd.to_numeric, errors="coerce").astype("float32")
    for name in assays:
        strange = ~calls[name].isin([0, 1]) & table[name].notna()
        if strange.any():
            row = int(strange.idxmax())
            raise DataError(
                f"{name} is {shown(table[name], row)}",
                file=path,
                row=row + 2,
                remedy="a call is 0, 1 or empty",
            )
    mean = calls.groupby(skeletons(table["inchikey"])).mean()
    return mean.reindex(key.to_numpy()).set_axis(key.index)


def _expression(path: Path, key: pd.Series) -> pd.DataFrame:
    """[n, genes] float32 share of a compound's instances that raise a gene, less the share that
    lower it; zeros for a compound without an instance.
    """
    table = _keyed(path, ["up_genes", "down_genes"])
    for column in ("up_genes", "down_genes"):
        _none_empty(table[column], path, f"{column!r}")
    table = table[table["inchikey"].notna()]
    compound, names = pd.factorize(skeletons(table["inchikey"]))
    rows, signs, genes = [], [], []
    for column, sign in (("up_genes", 1.0), ("down_genes", -1.0)):
        for row, words in zip(compound, table[column].str.split(), strict=True):
            rows += [row] * len(words)
            signs += [sign] * len(words)
            genes += words
    code, gene_names = pd.factorize(np.array(genes), sort=True)
    seen = pd.DataFrame({"row": rows, "gene": code}).drop_duplicates()
    kept = np.flatnonzero(
        np.bincount(seen["gene"], minlength=len(gene_names)) >= min(FEWEST_COMPOUNDS, len(names))
    )
    place = np.full(len(gene_names), -1)
    place[kept] = np.arange(len(kept))
    total = np.zeros((len(names), len(kept)), dtype=np.float32)
    some = place[code] >= 0
    np.add.at(total, (np.array(rows)[some], place[code][some]), np.array(signs)[some])
    total /= np.bincount(compound)[:, None]
    out = pd.DataFrame(total, index=names, columns=gene_names[kept])
    return out.reindex(key.to_numpy()).fillna(np.float32(0)).set_axis(key.index)


def _known_proteins(side: Side, folder: str | os.PathLike | None) -> Side:
    """Proteins with kinase group and family, and GO terms as text where they have no other."""
    path = locate(folder, "dti") / "human_kinase_uniprot_text.parquet"
    kinases = _text(path, ["uniprot", "group", "family"])
    for column in kinases:
        _none_empty(kinases[column], path, f"{column!r}")
    kinases = kinases.drop_duplicates("uniprot")  # of several kinase domains the first
    accession = side.frame["uniprot"] if "uniprot" in side.frame else side.frame["name"]
    known = kinases.set_index("uniprot").reindex(accession.to_numpy()).set_axis(side.ids)
    frame = side.frame.assign(group=known["group"], family=known["family"])
    if "function" in side.views:
        return replace(side, frame=frame)
    columns = ["go_biological_process", "go_molecular_function", "go_cellular_component"]
    path = locate(folder, "text") / "human_gene_go_annotations.parquet"
    go = _text(path, ["gene", *columns]).drop_duplicates()
    _none_empty(go["gene"], path, "'gene'")
    twice = go["gene"].duplicated()
    if twice.any():
        row = twice.idxmax()
        raise DataError(
            f"gene {go.at[row, 'gene']!r} has two rows that differ",
            file=path,
            row=int(row) + 2,
            remedy="keep one of them",
        )
    terms = go[columns].fillna("").agg(" ".join, axis=1).str.strip().set_axis(go["gene"])
    text = frame["gene"].map(terms[terms != ""])
    return replace(
        side,
        frame=frame,
        views={**side.views, "function": text.fillna("").astype("str")},
        present={**side.present, "function": text.notna().to_numpy()},
    )
