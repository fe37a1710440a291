"""Measured profiles: Cell Painting and gene expression of molecules, each feature space its own.

Sources: Cell Painting of the Max Planck Institute Dortmund (COMAS), of Dahlin et al. 2023 (cell
injury), of Wawer et al. 2014 and Bray et al. 2017, one plate of the LINCS pilot; expression of the
Connectivity Map (build 02) and of L1000. Spaces are never mixed: a molecule has the profile of a
space, or it is missing there. Replicates stay beside the mean over them.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from clmt_lib.data.base import Benchmark, Side, shown
from clmt_lib.data.grouping import KEY, check_smiles, molecule_side, skeletons
from clmt_lib.io import DataError, locate, read_table

CLIP = 20.0  # robust Z-scores of COMAS reach +-4,500 where the deviation of controls is tiny
CLIP_STANDARDISED = 6.0
FEWEST_INSTANCES = 30  # of the Connectivity Map that list a gene, for it to be a feature
CONSTANT = 1e-9  # a deviation below this is no deviation
FACTS = (
    "plate",
    "well",
    "dose_um",
    "cell_line",
    "hours",
    "replicate",
    "library",
    "cell_count",
    "induction",
    "label",
)


@dataclass(frozen=True)
class Space:
    """Where a feature space is kept, and which columns of its table say what.

    Attributes
    ----------
    part, file : folder of the prepared tables and file in it
    about : in words
    first : features are this column and all after it ("" : those of `prefix` and `also`)
    prefix, also, never : features by how their names begin; further ones; those that are none
    smiles : column of the structure
    facts : fact of a measurement (one of `FACTS`) -> its column; a text "=U2OS" is a constant
    factor : what a dose is multiplied with to be in uM
    vehicle : (column, value) of untreated wells, which are left out
    subtract : whether the mean of the untreated wells is taken off (levels, not differences)
    lists : columns of up- and down-regulated genes, instead of features
    limit : values beyond +-this are clipped
    """

    part: str
    file: str
    about: str
    first: str = ""
    prefix: str = ""
    also: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    smiles: str = "smiles"
    facts: Mapping[str, str] = field(default_factory=dict)
    factor: float = 1.0
    vehicle: tuple[str, str] | None = None
    subtract: bool = False
    lists: tuple[str, str] | None = None
    limit: float = CLIP


_COMAS = {
    "dose_um": "Conc_uM",
    "cell_count": "Rel_Cell_Count",
    "induction": "Induction",
    "well": "Well_Id",
    "cell_line": "=U2OS",
}
_CLUSTERS = ("Cluster_High", "Cluster_Sim")  # the nearest cluster's name and similarity
SPACES = {
    "comas_profiles": Space(
        "morphology",
        "comas_profiles_579.parquet",
        "Cell Painting, 579 features, U2OS (COMAS)",
        prefix="Median_",
        smiles="Smiles",
        facts={**_COMAS, "library": "source_set", "replicate": "Run"},
    ),
    "comas_references": Space(
        "morphology",
        "comas_references_subprofile_similarity.parquet",
        "Cell Painting as similarity to 13 clusters, induction and cell count (COMAS)",
        prefix="Cluster_",
        never=_CLUSTERS,
        also=("Induction", "Rel_Cell_Count"),
        smiles="Smiles",
        facts={**_COMAS, "replicate": "Batch_No"},
        limit=np.inf,  # shares in %
    ),
    "cell_injury": Space(
        "morphology",
        "cell_injury_holdout_wells.parquet",
        "Cell Painting of cytotoxic compounds, U2OS (Dahlin et al. 2023)",
        first="Cells_AreaShape_Area",
        facts={
            "plate": "plate",
            "well": "well",
            "dose_um": "conc_uM",
            "cell_line": "cell_line",
            "hours": "treatment_h",
            "cell_count": "relative_well_cellcount",
            "label": "injury_type",
        },
        vehicle=("control_type", "Negative"),
    ),
    "lincs_pilot": Space(
        "morphology",
        "lincs_pilot1_A549_SQ00015054.parquet",
        "Cell Painting, one plate of A549 (LINCS pilot)",
        first="Cells_AreaShape_Compactness",
        facts={
            "plate": "Metadata_Plate",
            "well": "Metadata_Well",
            "dose_um": "Metadata_mmoles_per_liter",
            "cell_line": "Metadata_cell_id",
            "label": "Metadata_moa",
        },
        vehicle=("Metadata_pert_type", "control"),
    ),
    "cdrp": Space(
        "morphology",
        "cdrp_cmea_162.parquet",
        "Cell Painting, U2OS (Wawer et al. 2014)",
        first="Cells_AreaShape_Area",
        facts={"cell_line": "=U2OS"},
    ),
    "bray": Space(
        "morphology",
        "bray2017_chavan_dili41.parquet",
        "Cell Painting, means of 41 drugs, U2OS (Bray et al. 2017)",
        first="Cells_AreaShape_Area",
        facts={"cell_line": "=U2OS", "label": "hepatotoxicity"},
    ),
    "cmap": Space(
        "expression",
        "cmap_build02_top100.parquet",
        "genes among the 100 most up- and down-regulated (Connectivity Map)",
        facts={"dose_um": "conc_M", "cell_line": "cell_line", "replicate": "replicate"},
        factor=1e6,
        lists=("up_genes", "down_genes"),
    ),
    "l1000": Space(
        "expression",
        "l1000_cmea_162.parquet",
        "L1000 signatures, 978 landmark genes",
        first="PSME1",
    ),
    "l1000_direction": Space(
        "expression",
        "l1000_sep_cd_first100.parquet",
        "L1000 characteristic directions, 978 landmark genes",
        first="PSME1",
    ),
    "l1000_kinase": Space(
        "expression",
        "l1000_level3_LJP005_A375_24h.parquet",
        "L1000, plate LJP005 of A375, less its vehicle wells",
        first="PSME1",
        facts={
            "plate": "det_plate",
            "well": "det_well",
            "dose_um": "pert_dose",
            "cell_line": "cell_id",
        },
        vehicle=("pert_type", "ctl_vehicle"),
        subtract=True,
    ),
    "l1000_lines": Space(
        "expression",
        "l1000_level5_cmapR_3drugs.parquet",
        "L1000 of three drugs in 65 cell lines",
        first="PSME1",
        facts={"cell_line": "cell_id", "replicate": "sig_id"},
    ),
}


@dataclass(frozen=True, eq=False)
class Measurements:
    """Every measurement of one feature space, replicates and doses apart.

    Attributes
    ----------
    table : [rows, features] float32, or signed lists of genes as a sparse matrix of -1 and +1
    features : [features] names
    molecule : [rows] positions of molecules in the side
    facts : [rows] frame with the columns of `FACTS`, missing where a source does not say
    centre : [cell lines, features] taken off each row, by `line` [rows]; None takes nothing off
    clipped : share of values that were beyond +-`CLIP`
    left_out : rows of the source without an InChIKey, and untreated wells
    """

    table: np.ndarray | sp.csr_matrix
    features: pd.Index
    molecule: np.ndarray
    facts: pd.DataFrame
    centre: np.ndarray | None = None
    line: np.ndarray | None = None
    clipped: float = 0.0
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.molecule)

    def dense(self, rows: np.ndarray | None = None) -> np.ndarray:
        """[rows, features] float32 values, centred per cell line where the space is."""
        rows = np.arange(len(self)) if rows is None else np.asarray(rows)
        part: Any = self.table[rows]
        values = np.asarray(part.todense() if sp.issparse(part) else part, dtype=np.float32)
        if self.centre is None or self.line is None:
            return values
        return values - self.centre[self.line[rows]]

    def mean(self, molecules: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean of each molecule over its measurements.

        Parameters
        ----------
        molecules : how many there are

        Returns
        -------
        ([molecules, features] float32, zeros where there is none; [molecules] bool, measured)
        """
        count = np.bincount(self.molecule, minlength=molecules)
        share = sp.csr_matrix(
            (1 / count[self.molecule], (self.molecule, np.arange(len(self)))),
            shape=(molecules, len(self)),
        )
        sums: Any = share @ self.table
        out = np.asarray(sums.todense() if sp.issparse(sums) else sums, dtype=np.float32)
        if self.centre is not None and self.line is not None:
            lines = sp.csr_matrix(
                (np.ones(len(self)), (np.arange(len(self)), self.line)),
                shape=(len(self), len(self.centre)),
            )
            out -= np.asarray((share @ lines).todense(), dtype=np.float32) @ self.centre
        return out, count > 0


@dataclass(frozen=True, eq=False)
class Profiles:
    """A side of molecules whose views are feature spaces, and the measurements behind them.

    Attributes
    ----------
    side : molecules by InChIKey connectivity; each view is a frame [n, features] of means over a
        molecule's measurements (zeros where missing, and `side.has(space)` says so)
    measurements : space -> `Measurements`
    """

    side: Side
    measurements: Mapping[str, Measurements]

    def __len__(self) -> int:
        return len(self.side)

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the feature spaces."""
        return tuple(self.measurements)

    def known(self, space: str) -> np.ndarray:
        """[n] bool: which molecules were measured in a space."""
        return self.side.has(space)

    def values(self, space: str) -> np.ndarray:
        """[n, features] float32 means over a molecule's measurements; zeros where missing."""
        return self.side.views[space].to_numpy()

    def standardised(self, space: str, train: np.ndarray) -> np.ndarray:
        """[n, features] float64 with mean 0 and deviation 1 over the training molecules that have
        the profile, clipped at +-6; zeros where missing and in a feature that is constant there.

        Parameters
        ----------
        train : positions of molecules

        Raises
        ------
        DataError
            No training molecule has the profile.
        """
        return standardise(self.values(space).astype(np.float64), self.known(space), train)

    def fact(self, space: str, name: str) -> np.ndarray:
        """[n] what the first measurement of each molecule says ("library", "cell_line"); None where
        there is none.
        """
        data = self.measurements[space]
        first = pd.Series(data.facts[name].to_numpy(dtype=object)).groupby(data.molecule).first()
        out = np.full(len(self), None, dtype=object)
        out[first.index.to_numpy()] = first.to_numpy()
        return out

    def cell_count(self) -> tuple[np.ndarray, np.ndarray]:
        """([n, 2] relative cell count in % and induction in %, means over a molecule's COMAS
        measurements; [n] bool, known).
        """
        parts = [
            data.facts[["cell_count", "induction"]].assign(molecule=data.molecule)
            for data in self.measurements.values()
            if data.facts["induction"].notna().all()
        ]
        if not parts:
            return np.zeros((len(self), 2)), np.zeros(len(self), dtype=bool)
        mean = pd.concat(parts).astype(float).groupby("molecule").mean().reindex(range(len(self)))
        return mean.fillna(0.0).to_numpy(), mean.notna().all(axis=1).to_numpy()

    def positions(self, ids: Iterable[str]) -> np.ndarray:
        """[m] positions of molecules by id; -1 where they have no profile at all."""
        return self.side.ids.get_indexer(list(ids))

    def describe(self) -> pd.DataFrame:
        """A row a space: molecules, measurements, features, share clipped, rows left out."""
        return pd.DataFrame(
            {
                space: {
                    "about": SPACES[space].about if space in SPACES else "",
                    "molecules": int(self.known(space).sum()),
                    "measurements": len(data),
                    "features": len(data.features),
                    "clipped": round(data.clipped, 5),
                    "left out": data.left_out,
                }
                for space, data in self.measurements.items()
            }
        ).T


def standardise(
    values: np.ndarray, known: np.ndarray, train: np.ndarray, limit: float = CLIP_STANDARDISED
) -> np.ndarray:
    """[n, features] with mean 0 and deviation 1 over the known training rows, clipped; zeros where
    not known, and in features that are constant among those rows.

    Raises
    ------
    DataError
        No training row is known.

    Examples
    --------
    >>> x = np.array([[1.0, 5.0], [3.0, 5.0], [9.0, 5.0], [0.0, 0.0]])
    >>> standardise(x, np.array([True, True, True, False]), np.array([0, 1])).tolist()
    [[-1.0, 0.0], [1.0, 0.0], [6.0, 0.0], [0.0, 0.0]]
    """
    rows = np.asarray(train)[known[train]]
    if not len(rows):
        raise DataError(
            "no training molecule has the profile", remedy="use another space or another split"
        )
    mean, deviation = values[rows].mean(0), values[rows].std(0)
    constant = deviation < CONSTANT
    out = (values - mean) / np.where(constant, 1.0, deviation)
    out[:, constant] = 0.0
    return np.where(known[:, None], np.clip(out, -limit, limit), 0.0)


def load(folder: str | os.PathLike | None = None, spaces: Iterable[str] | None = None) -> Profiles:
    """Read feature spaces into one side of molecules.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    spaces : names in `SPACES`; None takes all

    Raises
    ------
    DataError
        Unknown space; from `locate` and `read_table`; a feature that is no finite number, a key
        that is no InChIKey, a structure that cannot be read, a gene both up and down.
    """
    names = list(SPACES) if spaces is None else list(spaces)
    unknown = [name for name in names if name not in SPACES]
    if unknown or not names:
        raise DataError(
            f"unknown feature space {unknown[0]!r}" if unknown else "no feature space",
            remedy=f"use some of: {', '.join(SPACES)}",
        )
    read = {name: _read(name, folder) for name in names}
    first = pd.concat(
        [table[["molecule", "name", "smiles", "inchikey"]] for table, *_ in read.values()]
    )
    first = first[~first["molecule"].duplicated()].set_index("molecule")
    n, views, present, measurements = len(first), {}, {}, {}
    for name, (about, values, features, left_out, clipped) in read.items():
        molecule = first.index.get_indexer(about["molecule"])
        centre, line = None, None
        if SPACES[name].lists:
            line, lines = pd.factorize(about["cell_line"])
            centre = np.stack(
                [
                    np.asarray(values[line == code].mean(0, dtype=np.float64)).ravel()
                    for code in range(len(lines))
                ]
            ).astype(np.float32)
        facts = about[list(FACTS)].reset_index(drop=True)
        data = Measurements(values, features, molecule, facts, centre, line, clipped, left_out)
        table, known = data.mean(n)
        views[name] = pd.DataFrame(table, first.index, features)
        present[name], measurements[name] = known, data
    side = molecule_side(first, views=views, present=present)
    return Profiles(side, measurements)


def beside(benchmark: Benchmark, found: Profiles, spaces: Iterable[str]) -> Benchmark:
    """A label table whose molecules have the profiles that were measured of them, together with all
    other molecules that have one: nobody has labels of those, but their profiles teach.

    Parameters
    ----------
    benchmark : molecules x assays, molecules by connectivity
    found : profiles
    spaces : feature spaces that become views, present or missing

    Raises
    ------
    DataError
        No molecule of the table has a profile of these spaces.
    """
    spaces = list(spaces)
    known = np.any([found.known(space) for space in spaces], axis=0)
    both = found.side.frame[known].drop(columns="name").reset_index()
    own = benchmark.sides[0].frame
    if not own.index.isin(both["molecule"]).any():
        raise DataError(
            f"no molecule of {benchmark.name} has a profile of {', '.join(spaces)}",
            remedy="load the table with molecules='connectivity'",
        )
    more = both[~both["molecule"].isin(own.index)].set_index("molecule")
    frame = pd.concat([own, more.assign(name=more.index)]).rename_axis("molecule")
    at = found.positions(frame.index)
    views, present = {}, {}
    for space in spaces:
        present[space] = (at >= 0) & found.known(space)[at]
        values = np.where(present[space][:, None], found.values(space)[at], 0.0)
        columns = found.side.views[space].columns
        views[space] = pd.DataFrame(values.astype(np.float32), frame.index, columns)
    sides = molecule_side(frame, views, present), benchmark.sides[1]
    return replace(benchmark, sides=sides)


def _read(name: str, folder: Any) -> tuple[pd.DataFrame, Any, pd.Index, int, float]:
    """(frame of molecule, name, smiles, inchikey and facts; values; features; rows left out; share
    clipped) of one space.
    """
    space = SPACES[name]
    path = locate(folder, space.part) / space.file
    table = read_table(path).reset_index(drop=True)
    wanted = [space.smiles, *(column for column in space.facts.values() if column[:1] != "=")]
    wanted += [*(space.lists or ()), *([space.first] if space.first else space.also)]
    wanted += [space.vehicle[0]] if space.vehicle else []
    missing = [column for column in wanted if column not in table]
    if missing:
        raise DataError(
            f"missing column {missing[0]!r}", file=path, row=1, remedy="fetch the table again"
        )
    if "inchikey" not in table:
        table["inchikey"] = [_inchikey(smiles) for smiles in table[space.smiles]]
    vehicle = (
        (table[space.vehicle[0]] == space.vehicle[1]).fillna(False).to_numpy(dtype=bool)
        if space.vehicle
        else np.zeros(len(table), dtype=bool)
    )
    keep = table["inchikey"].notna().to_numpy() & ~vehicle
    strange = table["inchikey"].notna() & ~table["inchikey"].astype("str").str.fullmatch(KEY)
    if strange.any():
        row = int(strange.idxmax())
        raise DataError(
            f"{table.loc[row, 'inchikey']!r} is no InChIKey",
            file=path,
            row=row + 2,
            remedy="compute it from the structure, or leave it empty to leave the row out",
        )
    if space.lists:  # a signature is centred within its cell line
        keep &= table[space.facts["cell_line"]].notna().to_numpy()
    if not keep.any():
        raise DataError(
            "no row of a known molecule", file=path, remedy="give an InChIKey, or fetch it again"
        )
    if space.lists:
        values, features, clipped = *_signed(table[keep], space.lists, path), 0.0
    else:
        values, features, clipped = _features(table, space, keep, vehicle, path)
    about = _facts(table[keep], space)
    structures = about.loc[~about["molecule"].duplicated(), "smiles"].to_frame()
    check_smiles(structures.set_index(structures.index + 2), path)
    return about.reset_index(drop=True), values, features, int((~keep).sum()), clipped


def _facts(table: pd.DataFrame, space: Space) -> pd.DataFrame:
    named = next(
        (
            c
            for c in ("Trivial_Name", "pert_name", "pert_iname", "drug_name", "compound_name")
            if c in table
        ),
        None,
    )
    key = table["inchikey"].astype("str")
    out = pd.DataFrame({"molecule": skeletons(key), "inchikey": key, "smiles": table[space.smiles]})
    names = out["molecule"] if named is None else table[named].astype("object")
    out["name"] = names.where(names.notna(), out["molecule"]).astype(str)
    for fact in FACTS:
        column = space.facts.get(fact, "")
        if column.startswith("="):
            out[fact] = column[1:]
        else:
            out[fact] = table[column].astype("object") if column else None
    if "dose_um" in space.facts:
        out["dose_um"] = pd.to_numeric(out["dose_um"], errors="coerce") * space.factor
    return out


def _features(
    table: pd.DataFrame, space: Space, keep: np.ndarray, vehicle: np.ndarray, path: Path
) -> tuple[np.ndarray, pd.Index, float]:
    """([rows kept, features] float32, names, share clipped)."""
    if space.first:
        columns = list(table.columns[list(table.columns).index(space.first) :])
        columns = [column for column in columns if column != "inchikey"]
    else:
        columns = [c for c in table if c.startswith(space.prefix) and c not in space.never]
        columns += list(space.also)
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(values) & (keep | vehicle)[:, None]
    if wrong.any():
        row, column = map(int, np.argwhere(wrong)[0])
        raise DataError(
            f"{columns[column]} is {shown(table[columns[column]], row)}",
            file=path,
            row=row + 2,
            remedy="give a number, or leave the row out",
        )
    if space.subtract:
        if not vehicle.any():
            raise DataError(
                "no untreated well",
                file=path,
                remedy="a level says nothing without wells of the vehicle: add them",
            )
        values = values - values[vehicle].mean(0)
    values = values[keep]
    clipped = float((np.abs(values) > space.limit).mean())
    within = np.clip(values, -space.limit, space.limit)
    return within.astype(np.float32), pd.Index(columns), clipped


def _signed(
    table: pd.DataFrame, lists: tuple[str, str], path: Path
) -> tuple[sp.csr_matrix, pd.Index]:
    """([instances, genes] +1 where up, -1 where down; genes that enough instances list)."""
    rows, genes, signs = [], [], []
    for sign, column in ((1.0, lists[0]), (-1.0, lists[1])):
        listed = table[column].fillna("").str.split()
        size = listed.str.len().to_numpy()
        rows.append(np.repeat(np.arange(len(table)), size))
        genes.append(np.concatenate([np.asarray(names, dtype=object) for names in listed]))
        signs.append(np.full(size.sum(), sign))
    code, names = pd.factorize(np.concatenate(genes), sort=True)
    row, signed = np.concatenate(rows), np.concatenate(signs)
    twice = pd.Series(row * len(names) + code).duplicated().to_numpy()
    if twice.any():
        at = int(np.flatnonzero(twice)[0])
        raise DataError(
            f"gene {names[code[at]]!r} is listed twice",
            file=path,
            row=int(table.index[row[at]]) + 2,
            remedy="a gene is up or down, once",
        )
    enough = np.bincount(code, minlength=len(names)) >= FEWEST_INSTANCES
    matrix = sp.csr_matrix((signed, (row, code)), shape=(len(table), len(names)), dtype=np.float32)
    return matrix[:, np.flatnonzero(enough)], pd.Index(names[enough])


def _inchikey(smiles: object) -> str | None:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles) if isinstance(smiles, str) else None
        return Chem.MolToInchiKey(molecule) or None if molecule is not None else None
