"""`DrugResponse`: the aligned tables of one benchmark, validated once, at the door (chapter 01)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side, check_ids, row_of
from clmt_lib.data.grouping import check_smiles, pathway_groups, scaffold_groups, target_groups
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


@dataclass(frozen=True, eq=False, repr=False)
class DrugResponse(Benchmark):
    """Cell lines x drugs: omics of the lines, structures and annotation of the drugs, and how each
    line responded to each drug. `from_tables` is its validated door.

    Attributes
    ----------
    sides : "cell" (views: the omics; key: tissue) and "drug" (keys: scaffold, target, pathway; ids
        of one compound are one and the same)
    target : what `y` is, a key of `TARGETS`
    """

    @classmethod
    def from_tables(
        cls,
        name: str,
        cells: pd.DataFrame,
        drugs: pd.DataFrame,
        omics: Mapping[str, pd.DataFrame],
        responses: pd.DataFrame,
        *,
        file: Any = None,
        units: str | None = None,
        trust_units: bool = False,
        target: str = "ln_ic50",
        scales: Mapping[str, pd.DataFrame] | None = None,
        partial: bool = False,
        **about: Any,
    ) -> Self:
        """Validate tables that name entities by id, and align them.

        Parameters
        ----------
        cells : [C] frame indexed by unique id, with at least `name`, `tissue`
        drugs : [D] frame indexed by unique id, with at least `name`, `compound`, `smiles` (may be
            missing), `target`, `pathway`
        omics : name -> [C, genes] frame indexed by cell id (any order)
        responses : frame with columns `cell`, `drug` (ids), the target's, and where some values are
            bounds ("above 8 uM"), `censored` (bool)
        target : name of the response column, a key of `TARGETS`
        units : those of the target; for ln_ic50 also "uM", to have the natural logarithm taken here
        trust_units : accept a large table without a single value below 1 uM
        scales : omics name -> what its values were standardised by, see `Side`
        partial : a line may lack some of the omics; its row is zeros, and `present` says so
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
            check_ids(what, index, files.get(f"{what}s"))
        values = _check_responses(responses, target, units, trust_units, files.get("responses"))
        present = {}
        for kind, table in omics.items() if partial else ():
            present[kind] = cells.index.isin(table.index)
            omics = {**omics, kind: table.reindex(table.index.union(cells.index), fill_value=0.0)}
        aligned = {
            kind: _align(kind, table, cells.index, files.get(kind)) for kind, table in omics.items()
        }
        check_smiles(drugs, files.get("drugs"))
        return cls.from_ids(
            name,
            (cell_side(cells, aligned, scales, present), drug_side(drugs)),
            values,
            file=files.get("responses"),
            target=target,
            task="response",
            units=TARGETS[target].units,
            **about,
        )

    @property
    def cells(self) -> pd.DataFrame:
        """[C] facts about the cell lines, indexed by id."""
        return self.sides[0].frame

    @property
    def drugs(self) -> pd.DataFrame:
        """[D] facts about the drugs, indexed by id."""
        return self.sides[1].frame

    @property
    def omics(self) -> Mapping[str, Any]:
        """Name -> [C, genes] float32 frame with the index of `cells`."""
        return self.sides[0].views

    @property
    def n_cells(self) -> int:
        """Number of cell lines, C."""
        return len(self.sides[0])

    @property
    def n_drugs(self) -> int:
        """Number of drug ids, D (a compound may have several)."""
        return len(self.sides[1])

    @cached_property
    def responses(self) -> pd.DataFrame:
        """[pairs] frame of `cell`, `drug` (positions), `y` and `censored`, one row a pair: a copy
        to read, `dataclasses.replace(benchmark, y=...)` makes a benchmark with other responses.
        """
        cell, drug = self.pairs.T
        return pd.DataFrame(
            {"cell": cell, "drug": drug, "y": self.y, "censored": self.censored}, copy=True
        )

    def describe(self) -> dict[str, Any]:
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
        return row | more | self._bounds()


def cell_side(
    cells: pd.DataFrame,
    omics: Mapping[str, pd.DataFrame] | None = None,
    scales: Mapping[str, pd.DataFrame] | None = None,
    present: Mapping[str, np.ndarray] | None = None,
) -> Side:
    """Cell lines as a side: omics [C, genes] as views, grouped by tissue."""
    return Side(
        "cell",
        cells.rename_axis("cell"),
        views={} if omics is None else omics,
        present={} if present is None else present,
        keys={"tissue": "tissue"} if "tissue" in cells else {},
        scales={} if scales is None else scales,
    )


def drug_side(drugs: pd.DataFrame) -> Side:
    """Drugs as a side: ids of one compound are one and the same; keys are what is known of them."""
    keys = {
        "compound": ("compound", "compound"),
        "scaffold": ("smiles", scaffold_groups),
        "target": ("target", target_groups),
        "pathway": ("pathway", pathway_groups),
    }
    known = {key: rule for key, (column, rule) in keys.items() if column in drugs}
    identity = "compound" if "compound" in drugs else ""
    return Side("drug", drugs.rename_axis("drug"), keys=known, identity=identity)


def _check_responses(
    responses: pd.DataFrame, target: str, units: str | None, trust_units: bool, file: Any
) -> pd.DataFrame:
    """The responses with the target in its own units, in the column `y`, and `censored` as
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
            row=row_of(responses, np.flatnonzero(y <= 0)[0], file),
            remedy="an IC50 in uM is positive: check the units",
        )
    y = np.log(y) if units == "uM" else y
    if not np.isfinite(y).all():
        row = int(np.flatnonzero(~np.isfinite(y))[0])
        raise DataError(
            f"response {responses[target].iloc[row]!r} is not a finite number",
            file=file,
            row=row_of(responses, row, file),
            remedy="drop the pair or measure it again",
        )
    (_check_ln_um if target == "ln_ic50" else _check_range)(responses, y, target, trust_units, file)
    return _check_bounds(responses, y, target, file)


def _check_ln_um(
    responses: pd.DataFrame, y: np.ndarray, target: str, trust_units: bool, file: Any
) -> None:
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
            row=row_of(responses, row, file),
            remedy="take the natural logarithm, or say units='uM'"
            + (" (trust_units=True if it is ln(uM) after all)" if positive else ""),
        )


def _check_range(
    responses: pd.DataFrame, y: np.ndarray, target: str, trust_units: bool, file: Any
) -> None:
    about = TARGETS[target]
    outside = (y < about.low) | (y > about.high)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"response {y[row]:g} is out of range for {target} ({about.low:g} to {about.high:g})",
            file=file,
            row=row_of(responses, row, file),
            remedy=f"give {about.units}",
        )
    if not trust_units and target == "auc" and len(y) >= 100 and y.max() <= 1:
        raise DataError(
            "no response above 1: this looks like an area scaled to 0-1",
            file=file,
            row=row_of(responses, 0, file),
            remedy=f"give {about.units} (trust_units=True if it is so after all)",
        )


def _check_bounds(responses: pd.DataFrame, y: np.ndarray, target: str, file: Any) -> pd.DataFrame:
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
                row=row_of(responses, row, file),
                remedy="say true (the value is a bound) or false (it was measured)",
            )
        return responses.assign(y=y, censored=said.astype(bool))
    for end in (y.max(), y.min()):
        pile = y == end
        if target == "ln_ic50" and len(y) >= 100 and PILED_UP < pile.mean() < 1:
            row = int(np.flatnonzero(pile)[0])
            raise DataError(
                f"{pile.sum()} of {len(y)} responses are exactly {end:g} ({np.exp(end):g} uM): "
                "bounds, not measurements",
                file=file,
                row=row_of(responses, row, file),
                remedy="add a column `censored`, true for these (false in every row if they "
                "were measured after all)",
            )
    return responses.assign(y=y)


def _align(kind: str, table: pd.DataFrame, index: pd.Index, file: Any) -> pd.DataFrame:
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
