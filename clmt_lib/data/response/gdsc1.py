"""GDSC1, release v17: ln IC50 of an older assay (Iorio et al. 2016), with the drugs and omics of
the prepared GDSC tables.
"""

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib.data.base import TEST_PART, Benchmark, Partition
from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.response.gdsc import LICENCE, read_cells, read_drugs, read_omics, read_scales
from clmt_lib.data.response.joins import assemble, complete_lines, joined_pairs, whole
from clmt_lib.io import locate, numbers, read_table

SOURCE = (
    "GDSC1 (release v17) ln IC50; expression z-scores, mutations and copy number of the "
    "same lines; Cell Model Passports"
)

CLDR_DRUGS = (  # the test drugs of CLDR (Li et al. 2024), named in the authors' code
    "Belinostat XMD8-85 GSK319347A Tamoxifen QL-XII-47 IOX2 Piperlongumine PF-562271 Y-39983 "
    "Alectinib Ponatinib TAK-715 JW-7-24-1 Vinblastine GW-2580 Zibotentan Cytarabine "
    "5-Fluorouracil Navitoclax Rucaparib JNK-9L Pelitinib"
).split() + ["Sepantronium bromide"]
WARM_FOLDS, COLD_FOLDS = 9, 10  # one part of validation to eight of training, as there; to nine
DEALT = 171  # the authors' seed


def load(
    folder: str | os.PathLike | None = None,
    responses: str | os.PathLike | None = None,
    complete: bool = True,
) -> DrugResponse:
    """GDSC1 with expression, binary mutation, log2 copy number, structures, targets and pathways,
    joined by COSMIC id and GDSC drug id.

    Kinds of split, besides the library's own: published (CLDR's 23 test drugs, validation on random
    pairs of the others, as in its authors' code) and published_cold (the same test drugs,
    validation on whole compounds), where all 23 are there.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    responses : another file with COSMIC_ID, DRUG_ID and LN_IC50
    complete : keep only lines with all three omics and drugs with a structure; otherwise drugs
        without a structure stay

    Returns
    -------
    DrugResponse named "gdsc1"; ids are COSMIC ids and GDSC drug ids, as strings.

    Raises
    ------
    DataError
        From `locate`, `read_table` and `DrugResponse.from_tables`; an id that is not a whole
        number, a line under two ids.
    """
    folder = locate(folder)
    path = responses or folder / "gdsc/response_gdsc1_v17.parquet"
    table = read_table(path, ["COSMIC_ID", "DRUG_ID", "LN_IC50"]).reset_index(drop=True)
    pairs = pd.DataFrame(
        {
            "cell": whole(table, "COSMIC_ID", path),
            "drug": whole(table, "DRUG_ID", path),
            "ln_ic50": numbers(table, "LN_IC50", path, whole=False),
        }
    )
    drugs, omics = read_drugs(folder), read_omics(folder)
    if complete:
        drugs = drugs[drugs["smiles"].notna()]
    pairs = joined_pairs(pairs, complete_lines(omics), drugs.index, path)
    made = assemble(
        "gdsc1",
        folder,
        read_cells(folder, "COSMIC_ID", _models(folder)),
        drugs.loc[sorted(pairs["drug"].unique(), key=int)],
        omics,
        pairs,
        path=path,
        drug_file="gdsc/drugs.parquet",
        omics_folder="gdsc",
        order=int,
        scales=read_scales(folder / "gdsc"),
        licence=LICENCE,
        source=SOURCE,
    )
    return replace(made, partitions=cldr_partitions(made))


def cldr_partitions(benchmark: Benchmark) -> dict[str, Partition]:
    """CLDR's test drugs as published splits, none where one of the 23 names is missing.

    All ids of a compound with such a name are the test set. The other pairs are dealt at random
    into nine parts (published), or by whole compounds into ten (published_cold).
    """
    drugs = benchmark.sides[1]
    names = drugs.frame["name"].str.casefold()
    wanted = {name.casefold() for name in CLDR_DRUGS}
    if wanted - set(names):
        return {}
    compound = drugs.keys[drugs.identity]
    held_out = np.isin(compound, compound[names.isin(wanted)])
    rng = np.random.default_rng(DEALT)
    rest = ~held_out[benchmark.pairs[:, 1]]
    warm = np.full(len(benchmark), TEST_PART)
    warm[rest] = rng.permutation(int(rest.sum())) % WARM_FOLDS
    others = rng.permutation(np.unique(compound[~held_out]))
    part_of = dict(zip(others, np.arange(len(others)) % COLD_FOLDS, strict=True))
    by_drug = np.array([part_of.get(name, TEST_PART) for name in compound])
    cold = by_drug[benchmark.pairs[:, 1]]
    source = "Li et al. 2024 (CLDR): 23 drugs named in the code"
    return {
        "published": Partition(warm, WARM_FOLDS, source),
        "published_cold": Partition(cold, COLD_FOLDS, source),
    }


def _models(folder: Path) -> Collection[str]:
    """Sanger model ids of GDSC2's lines, where it is there: v17 names lines by COSMIC id alone, and
    one id may stand for two lines of the table.
    """
    path = folder / "gdsc/response_gdsc2.parquet"
    return (
        read_table(path, ["SANGER_MODEL_ID"])["SANGER_MODEL_ID"].unique() if path.exists() else ()
    )
