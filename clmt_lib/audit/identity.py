"""One thing under two names: compounds and lines that are the same although the tables call them
different.
"""

import numpy as np
import pandas as pd

from clmt_lib.audit.report import Finding

REGISTRY_IDS = ("sanger_model_id", "depmap_id", "cosmic_id", "rrid")
SALT_ELEMENTS = {
    1,
    3,
    5,
    6,
    7,
    8,
    9,
    11,
    12,
    14,
    15,
    16,
    17,
    19,
    20,
    34,
    35,
    53,
}  # a metal centre is no salt: without it the drug (platinum) is gone


def _evidence(index, columns):
    """Long frame (row, key, value) of what could show two entities to be one; several values in one
    cell are split at ';'.
    """
    parts = []
    for key, values in columns.items():
        values = (
            pd.Series(list(values), index=range(len(index)))
            .dropna()
            .astype(str)
            .str.split(";")
            .explode()
            .str.strip()
        )
        values = values[values != ""]
        parts.append(pd.DataFrame({"row": values.index, "key": key, "value": values.to_numpy()}))
    return pd.concat(parts, ignore_index=True).drop_duplicates()


def _twins(evidence, label):
    """{(row, row): [keys]} of entities that share evidence while their labels say they are
    different.
    """
    found = {}
    for (key, _), group in evidence.groupby(["key", "value"], sort=False):
        rows = group["row"].to_numpy()
        for one in range(len(rows)):
            for other in rows[one + 1 :]:
                if label[rows[one]] != label[other]:
                    keys = found.setdefault((int(rows[one]), int(other)), [])
                    keys.append(key)
    return found


def joined(label, pairs):
    """[n] labels as integers, with those of each pair made one."""
    label = pd.factorize(np.asarray(label, dtype=object))[0]
    for one, other in pairs:
        label[label == label[other]] = label[one]
    return label


def _stripped(names):
    return (
        names.astype(str).str.lower().str.replace(r"[^a-z0-9]", "", regex=True).where(names.notna())
    )


def parent_key(smiles):
    """First InChIKey block of the uncharged parent of a structure, so that a salt and its free base
    agree; None where there is none.

    >>> parent_key("CC(=O)Oc1ccccc1C(=O)O") == parent_key("CC(=O)Oc1ccccc1C(=O)[O-].[Na+]")
    True
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.MolStandardize import rdMolStandardize

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles) if isinstance(smiles, str) else None
        if molecule is None or not molecule.GetNumAtoms():
            return None
        if {atom.GetAtomicNum() for atom in molecule.GetAtoms()} <= SALT_ELEMENTS:
            molecule = rdMolStandardize.Uncharger().uncharge(
                rdMolStandardize.LargestFragmentChooser(preferOrganic=True).choose(molecule)
            )
        return Chem.MolToInchiKey(molecule).split("-")[0] or None


def drug_twins(benchmark):
    """{(row, row): [what they share]} of drugs with different `compound` labels that are one
    compound: name, parent structure or InChIKey block.
    """
    drugs = benchmark.drugs
    columns = {
        "name": _stripped(drugs["name"]),
        "parent structure": [parent_key(smiles) for smiles in drugs["smiles"]],
    }
    if "inchikey" in drugs:
        columns["first InChIKey block"] = (
            drugs["inchikey"].astype("str").str.extract("^([^-]+)", expand=False)
        )
    return _twins(_evidence(drugs.index, columns), drugs["compound"].to_numpy())


def cell_twins(benchmark):
    """Pairs of ids that are one line, and pairs that only share a name (their registry ids differ)."""
    cells = benchmark.cells
    known = [key for key in REGISTRY_IDS if key in cells]
    columns = {"name": _stripped(cells["name"]), **{key: cells[key] for key in known}}
    if "expression" in benchmark.omics:
        columns["expression profile"] = [
            row.tobytes().hex() for row in benchmark.omics["expression"].to_numpy()
        ]
    twins = _twins(_evidence(cells.index, columns), np.arange(len(cells)))
    namesakes = {}
    for pair, keys in list(twins.items()):
        one, other = (cells.iloc[row] for row in pair)
        if keys == ["name"] and any(
            pd.notna(one[key]) and pd.notna(other[key]) and one[key] != other[key] for key in known
        ):
            namesakes[pair] = twins.pop(pair)
    return twins, namesakes


def compounds(benchmark):
    """Findings: one compound under two labels."""
    drugs = benchmark.drugs
    for (one, other), keys in drug_twins(benchmark).items():
        names = [
            f"{drugs['name'].iloc[row]!r} (id {drugs.index[row]}, compound "
            f"{drugs['compound'].iloc[row]!r})"
            for row in (one, other)
        ]
        yield Finding(
            "one compound under two names",
            f"drugs of {benchmark.name}",
            f"{names[0]} and {names[1]} share {', '.join(keys)}",
            "give them one value of `compound`",
        )


def lines(benchmark):
    """Findings: one line under two ids; as a note, two lines under one name."""
    cells, where = benchmark.cells, f"cells of {benchmark.name}"
    twins, namesakes = cell_twins(benchmark)
    for note, pairs in ((False, twins), (True, namesakes)):
        for (one, other), keys in pairs.items():
            names = " and ".join(
                f"{cells['name'].iloc[row]!r} (id {cells.index[row]})" for row in (one, other)
            )
            if note:
                yield Finding(
                    "two lines of one name",
                    where,
                    f"{names} have different registry ids",
                    "join tables of lines by id, never by name",
                    note=True,
                )
            else:
                yield Finding(
                    "one line under two ids",
                    where,
                    f"{names} share {', '.join(keys)}",
                    "keep one id, or give both one row",
                )
