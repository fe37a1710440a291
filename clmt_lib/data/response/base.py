"""`DrugResponse`: the aligned tables of one benchmark, validated once, at the door (chapter 01)."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from clmt_lib.io import DataError, require_columns

CELL_COLUMNS = ("name", "tissue")
DRUG_COLUMNS = ("name", "compound", "smiles", "target", "pathway")
LARGEST_LN_UM = 15.0  # e^15 uM is 3 mol/l: no screen reports it
# a larger share of responses on one extreme value is a pile of bounds, not of measurements
PILED_UP = 0.05


@dataclass(frozen=True)
class Target:
    """What a benchmark's responses are: their units, the values they can take, and which end of the
    scale a sensitive line is at.
    """

    units: str
    low: float
    high: float
    sensitive: str  # "low" or "high"


TARGETS = {
    "ln_ic50": Target("ln(uM)", -LARGEST_LN_UM, LARGEST_LN_UM, "low"),
    "act_area": Target("activity area over 8 doses", 0.0, 8.0, "high"),
    "auc": Target("area under the dose-response curve, about 0 to 30", 0.0, 30.0, "low"),
}


@dataclass(frozen=True)
class DrugResponse:
    """Cell lines, drugs, omics and responses, aligned by position. Born in `data`, never changed
    afterwards.

    Attributes
    ----------
    cells : [C] frame indexed by cell-line id, with at least `name`, `tissue`
    drugs : [D] frame indexed by drug id, with at least `name`, `compound`, `smiles` (may be
        missing), `target`, `pathway`
    omics : name -> [C, genes] float32 frame with the index of `cells`
    responses : [pairs] frame of `cell`, `drug` (positions) and `ln_ic50` (ln uM), one row a pair;
        where the data say so, also `censored` (bool): the value is a bound
    target : what the responses are, a key of `TARGETS`. Whatever it is, models read it from the
        column `ln_ic50`, or better from `y`
    """

    name: str
    cells: pd.DataFrame
    drugs: pd.DataFrame
    omics: dict = field(repr=False)
    responses: pd.DataFrame = field(repr=False)
    licence: str = ""
    source: str = ""
    simulated: bool = False
    target: str = "ln_ic50"

    @classmethod
    def from_tables(
        cls,
        name,
        cells,
        drugs,
        omics,
        responses,
        *,
        file=None,
        units=None,
        trust_units=False,
        target="ln_ic50",
        **about,
    ):
        """Validate tables that name entities by id, and align them.

        Parameters
        ----------
        cells, drugs : frames indexed by unique id
        omics : name -> [C, genes] frame indexed by cell id (any order)
        responses : frame with columns `cell`, `drug` (ids), the target's, and where some values are
            bounds ("above 8 uM"), `censored` (bool)
        target : name of the response column, a key of `TARGETS`
        units : those of the target; for ln_ic50 also "uM", to have the natural logarithm taken here
        trust_units : accept a large table without a single value below 1 uM
        file : where the tables came from, for messages: one path, or one for each of "cells",
            "drugs", "responses" and the omics.
            Rows are counted by the frame's own integer index, so a filtered table still names the
            row of its file (the header is row 1).

        Raises
        ------
        DataError
            Empty table, missing column, id that is not text, duplicate id or pair, id in one table
            only, unknown target or units, value not finite, wrong unit,
            bounds that no column `censored` calls so, unparsable SMILES.
        """
        files = (
            file
            if isinstance(file, dict)
            else dict.fromkeys(["cells", "drugs", "responses", *omics], file)
        )
        require_columns(cells.columns, CELL_COLUMNS, files.get("cells"))
        require_columns(drugs.columns, DRUG_COLUMNS, files.get("drugs"))
        if target not in TARGETS:
            raise DataError(
                f"unknown target {target!r}", remedy=f"use one of: {', '.join(TARGETS)}"
            )
        require_columns(responses.columns, ("cell", "drug", target), files.get("responses"))
        for what, index in (("cell", cells.index), ("drug", drugs.index)):
            _check_ids(what, index, files.get(f"{what}s"))
        responses = _check_responses(responses, target, units, trust_units, files.get("responses"))
        aligned = {
            kind: _align(kind, table, cells.index, files.get(kind)) for kind, table in omics.items()
        }
        check_smiles(drugs, files.get("drugs"))
        pairs = pd.DataFrame(
            {
                "cell": _positions("cell", responses["cell"], cells.index, files.get("responses")),
                "drug": _positions("drug", responses["drug"], drugs.index, files.get("responses")),
                "ln_ic50": responses["ln_ic50"].to_numpy(np.float64),
            }
        )
        if "censored" in responses:
            pairs["censored"] = responses["censored"].to_numpy(bool)
        return cls(
            name,
            cells.rename_axis("cell"),
            drugs.rename_axis("drug"),
            aligned,
            pairs,
            target=target,
            **about,
        )

    def __len__(self):
        return len(self.responses)

    @property
    def n_cells(self):
        """Number of cell lines, C."""
        return len(self.cells)

    @property
    def n_drugs(self):
        """Number of drug ids, D (a compound may have several)."""
        return len(self.drugs)

    @cached_property
    def checksum(self):
        """First 16 hexadecimal digits of a SHA-256 over every table: the same data always gives the
        same.
        """
        digest = hashlib.sha256(self.name.encode())
        for frame in (self.cells, self.drugs):
            digest.update("\x1f".join([*frame.index, *frame.columns]).encode())
            digest.update(
                "\x1f".join(frame.astype("str").fillna("").to_numpy().ravel().tolist()).encode()
            )
        for kind in sorted(self.omics):
            digest.update("\x1f".join([kind, *self.omics[kind].columns]).encode())
            digest.update(np.ascontiguousarray(self.omics[kind].to_numpy(np.float32)).tobytes())
        for column in ("cell", "drug"):
            digest.update(self.responses[column].to_numpy(np.int64).tobytes())
        digest.update(self.responses["ln_ic50"].to_numpy(np.float64).tobytes())
        if self.target != "ln_ic50":
            digest.update(self.target.encode())
        if "censored" in self.responses:
            digest.update(self.censored.tobytes())
        return digest.hexdigest()[:16]

    @property
    def pairs(self):
        """[pairs, 2] positions (cell, drug)."""
        return self.responses[["cell", "drug"]].to_numpy(np.int64)

    @property
    def y(self):
        """[pairs] ln IC50 in ln uM, or the `target` in its `units`."""
        return self.responses["ln_ic50"].to_numpy(np.float64)

    @property
    def units(self):
        """Units of the responses."""
        return TARGETS[self.target].units

    @property
    def censored(self):
        """[pairs] bool: the value is a bound (the IC50 lies beyond the doses tried), not a
        measurement. All False where the data do not say.
        """
        known = "censored" in self.responses
        return (
            self.responses["censored"].to_numpy(bool) if known else np.zeros(len(self), dtype=bool)
        )

    def matrix(self, positions=None):
        """[C, D] ln IC50 in ln uM, NaN where not measured (or not among `positions` of
        `responses`).
        """
        rows = self.responses if positions is None else self.responses.iloc[positions]
        out = np.full((self.n_cells, self.n_drugs), np.nan)
        out[rows["cell"], rows["drug"]] = rows["ln_ic50"]
        return out

    def describe(self):
        """One row of a table: lines, drugs, compounds, pairs, density, checksum."""
        row = {
            "benchmark": self.name,
            "lines": self.n_cells,
            "drugs": self.n_drugs,
            "compounds": int(self.drugs["compound"].nunique()),
            "pairs": len(self),
            "density": round(len(self) / (self.n_cells * self.n_drugs), 3),
            "checksum": self.checksum,
        }
        more = {} if self.target == "ln_ic50" else {"target": self.target}
        return (
            row
            | more
            | ({"censored": round(float(self.censored.mean()), 3)} if self.censored.any() else {})
        )


def group_compounds(drugs):
    """Compound of each drug id: ids that share a lower-case name or the first InChIKey block (the
    skeleton, so salts and stereoisomers too).

    Parameters
    ----------
    drugs : [D] frame with `name` and, where known, `inchikey`

    Returns
    -------
    [D] series of compound names (that of the group's first row).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    names = drugs["name"].str.strip().str.lower()
    blocks = drugs["inchikey"].astype("str").str.extract("^([^-]+)", expand=False)
    keys, rows = (
        pd.factorize(pd.concat([names, "key " + blocks]))[0],
        np.tile(np.arange(len(drugs)), 2),
    )
    known = keys >= 0
    link = coo_matrix(
        (np.ones(known.sum()), (rows[known], keys[known])), shape=(len(drugs), keys.max() + 1)
    )
    group = connected_components(link @ link.T, directed=False)[1]
    first = drugs["name"].groupby(group).first()
    return pd.Series(first.to_numpy()[group], index=drugs.index, name="compound")


def _check_ids(what, index, file):
    if not len(index):
        raise DataError(f"empty table of {what}s", file=file, remedy="check the file it came from")
    if index.hasnans:
        raise DataError(
            f"{what} without an id",
            file=file,
            row=int(np.flatnonzero(index.isna())[0]) + 1,
            remedy="give every row an id",
        )
    strange = next((row for row, label in enumerate(index) if not isinstance(label, str)), None)
    if strange is not None:
        raise DataError(
            f"{what} id {index[strange]!r} is not text",
            file=file,
            row=strange + 1,
            remedy="make them text: frame.index = frame.index.astype(str)",
        )
    if not index.is_unique:
        row = int(np.flatnonzero(index.duplicated())[0])
        raise DataError(
            f"duplicate {what} id {index[row]!r}",
            file=file,
            row=row + 1,
            remedy="keep one row for each id",
        )


def _row(table, position, file):
    """Row to name in a message: by the frame's own numbering where it has one; the header of a file
    is its row 1.
    """
    label = table.index[position]
    return int(label if pd.api.types.is_integer_dtype(table.index) else position) + (
        2 if file else 1
    )


def _check_responses(responses, target, units, trust_units, file):
    """The responses with the target in its own units, in the column `ln_ic50`, and `censored` as
    booleans; or the first thing wrong with them.
    """
    if responses.empty:
        raise DataError("empty table of responses", file=file, remedy="check the file it came from")
    allowed = ("ln(uM)", "uM") if target == "ln_ic50" else (TARGETS[target].units,)
    if units not in (None, *allowed):
        raise DataError(f"unknown units {units!r}", file=file, remedy=f"use {' or '.join(allowed)}")
    y = pd.to_numeric(responses[target], errors="coerce").to_numpy(np.float64)
    if units == "uM" and (y <= 0).any():
        raise DataError(
            "concentration not above zero",
            file=file,
            row=_row(responses, np.flatnonzero(y <= 0)[0], file),
            remedy="an IC50 in uM is positive: check the units",
        )
    y = np.log(y) if units == "uM" else y
    if not np.isfinite(y).all():
        row = int(np.flatnonzero(~np.isfinite(y))[0])
        raise DataError(
            f"response {responses[target].iloc[row]!r} is not a finite number",
            file=file,
            row=_row(responses, row, file),
            remedy="drop the pair or measure it again",
        )
    (_check_ln_um if target == "ln_ic50" else _check_range)(responses, y, target, trust_units, file)
    twice = responses.duplicated(["cell", "drug"])
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        pair = tuple(responses[["cell", "drug"]].iloc[row])
        raise DataError(
            f"duplicate pair {pair}",
            file=file,
            row=_row(responses, row, file),
            remedy="average replicates or keep one",
        )
    return _check_bounds(responses, y, target, file)


def _check_ln_um(responses, y, target, trust_units, file):
    large, positive = (
        np.abs(y) > LARGEST_LN_UM,
        not trust_units and len(y) >= 100 and responses["drug"].nunique() >= 5 and (y > 0).all(),
    )
    if large.any() or positive:
        row = int(np.flatnonzero(large)[0]) if large.any() else 0
        raise DataError(
            f"response {y[row]:g} looks like uM, not ln(uM)"
            if (y > 0).all()
            else f"response {y[row]:g} is out of range for ln(uM)",
            file=file,
            row=_row(responses, row, file),
            remedy="take the natural logarithm, or say units='uM'"
            + (" (trust_units=True if it is ln(uM) after all)" if positive else ""),
        )


def _check_range(responses, y, target, trust_units, file):
    about = TARGETS[target]
    outside = (y < about.low) | (y > about.high)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"response {y[row]:g} is out of range for {target} ({about.low:g} to {about.high:g})",
            file=file,
            row=_row(responses, row, file),
            remedy=f"give {about.units}",
        )
    if not trust_units and target == "auc" and len(y) >= 100 and y.max() <= 1:
        raise DataError(
            "no response above 1: this looks like an area scaled to 0-1",
            file=file,
            row=_row(responses, 0, file),
            remedy=f"give {about.units} (trust_units=True if it is so after all)",
        )


def _check_bounds(responses, y, target, file):
    """`censored` as booleans where it is given; where it is not, a pile of equal extreme values is
    refused.
    """
    if "censored" in responses:
        said = responses["censored"]
        wrong = ~said.isin([True, False]).to_numpy()
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"censored is {said.iloc[row]!r}",
                file=file,
                row=_row(responses, row, file),
                remedy="say true (the value is a bound) or false (it was measured)",
            )
        return responses.assign(ln_ic50=y, censored=said.astype(bool))
    for end in (y.max(), y.min()):
        pile = y == end
        if target == "ln_ic50" and len(y) >= 100 and PILED_UP < pile.mean() < 1:
            row = int(np.flatnonzero(pile)[0])
            raise DataError(
                f"{pile.sum()} of {len(y)} responses are exactly {end:g} ({np.exp(end):g} uM): "
                "bounds, not measurements",
                file=file,
                row=_row(responses, row, file),
                remedy="add a column `censored`, true for these (false in every row if they "
                "were measured after all)",
            )
    return responses.assign(ln_ic50=y)


def _positions(what, ids, index, file):
    found = index.get_indexer(ids)
    if (found < 0).any():
        row = int(np.flatnonzero(found < 0)[0])
        raise DataError(
            f"{what} {ids.iloc[row]!r} has a response but no row in the table of {what}s",
            file=file,
            row=_row(ids, row, file),
            remedy=f"add it to the {what}s or drop its responses",
        )
    return found.astype(np.int64)


def _align(kind, table, index, file):
    missing = index.difference(table.index)
    if len(missing):
        raise DataError(
            f"cell {missing[0]!r} (and {len(missing) - 1} more) has no row of {kind}",
            file=file,
            remedy=f"add its {kind}, or drop the line",
        )
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise DataError(
            f"cell {twice!r} has two rows of {kind}", file=file, remedy="keep one row for each line"
        )
    try:
        aligned = table.loc[index].astype(np.float32)
    except ValueError as error:
        raise DataError(
            f"{kind} holds something that is not a number ({error})",
            file=file,
            remedy="keep only numbers, one column a gene",
        ) from None
    bad = ~np.isfinite(aligned.to_numpy())
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{kind} of cell {index[row]!r}, gene {aligned.columns[column]!r} is not finite",
            file=file,
            remedy="impute it or drop the gene",
        )
    return aligned


def check_smiles(drugs, file=None):
    """Raise `DataError` for the first SMILES of the table that RDKit cannot read. A missing one is
    allowed.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        for row, (drug, smiles) in enumerate(drugs["smiles"].items(), start=2 if file else 1):
            if isinstance(smiles, str) and Chem.MolFromSmiles(smiles) is None:
                raise DataError(
                    f"drug {drug!r}: SMILES {smiles!r} cannot be parsed",
                    file=file,
                    row=row,
                    remedy="correct it, or leave it empty: a missing structure is allowed",
                )
