"""From a folder of official downloads to the prepared tables the readers take (chapter 01).

Official tables come in many layouts; the prepared ones in one: COSMIC ids for lines, GDSC ids for
drugs, HGNC symbols for genes. Nothing is imputed or invented: what an optional input would have
given is reported as missing. The folder appears whole or not at all.

Two choices are made here and written down: expression is log2(TPM+1), standardised per gene over
all lines of the file (test lines included, which a strict cell-blind evaluation should say), and
the means and deviations are kept, so that a new line can be put on the same scale; copy number is
log2 of the ratio to the line's median (absolute numbers) or to diploid (DepMap's relative numbers).
"""

import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data.download import sha256_of
from clmt_lib.data.official import (
    SCALES,
    Matrix,
    copy_number_scale,
    copy_ratio,
    expression_scale,
    gene_symbols,
    read_matrix,
    read_mutations,
    to_ln_um,
)
from clmt_lib.data.response.base import LARGEST_LN_UM
from clmt_lib.data.response.gdsc import EMPTY_COPY_NUMBER, RESPONSE_COLUMNS
from clmt_lib.io import DataError, appearing, expanded, numbers, read_table, require_columns, spelt

LOWEST_RATIO = 2.0**-5  # a deleted gene has ratio 0, whose logarithm is not finite
INPUTS = {  # kind -> file names, best first
    "response": (r"GDSC2_fitted_dose_response.*\.(csv|csv\.gz|xlsx|parquet)",),
    "models": (
        r"model_list.*\.csv(\.gz)?",
        r"model\.csv(\.gz)?",
        r"(depmap_)?sample_info\.csv(\.gz)?",
    ),
    "compounds": (r"screened_comp.*\.csv",),
    "drug list": (r"drug_?list.*\.csv",),
    "structures": (r"pubchem_smiles\.(tsv|csv)", r".*smiles.*\.(tsv|csv)"),
    "expression": (
        r"rnaseq.*_tpm_.*\.csv(\.gz)?",
        r"OmicsExpression(?!.*(Count|Length|Profile)).*ProteinCodingGenes.*\.csv(\.gz)?",
        r"CCLE_expression\.csv(\.gz)?",
        r"OmicsExpression(?!.*(Count|Length|Profile)).*AllGenes.*\.csv(\.gz)?",
        r"CCLE_expression_full\.csv(\.gz)?",
        r"rnaseq_latest\.csv(\.gz)?",
    ),
    "mutations": (
        r"mutations_all.*\.csv(\.gz)?",
        r"OmicsSomaticMutations(?!Matrix|Profile).*\.csv(\.gz)?",
        r"CCLE_mutations\.csv(\.gz)?",
    ),
    "copy number": (
        r"WES_pureCN_CNV_genes_total_copy_number.*\.csv(\.gz)?",
        r"WES_pureCN_CNV_genes_(\d+|latest)\.csv(\.gz)?",
        r"(Portal)?OmicsCNGene.*\.csv(\.gz)?",
        r"OmicsAbsoluteCNGene.*\.csv(\.gz)?",
        r"CCLE_gene_cn\.csv(\.gz)?",
    ),
}
ELSEWHERE = {  # another screen's table -> what it is, and how it is read
    r"CCLE_NP24.*Drug_data.*\.csv": 'the screen of CCLE: `data.load("ccle", responses=FILE)`',
    r"(v20\.(data|meta)\..*\.txt|CTRPv2.*)": "CTRP: copy its columns into a screen (`clmt new`)",
    r"(secondary|primary)-screen.*\.csv": "PRISM: copy its columns into a screen (`clmt new`)",
    r"GDSC1_fitted_dose_response.*": "GDSC1, another screen than GDSC2: it is not mixed in",
}
NO_CID = ("", "none", "several", "not available", "n/a", "na", "-")  # words of the drug list
CID = re.compile(
    r"(?:cid\s*[:=]?\s*)?(\d{1,10})(?:\.0+)?(?:\s*[;,/|\s]\s*\d+)*"
)  # first of several
NEEDED = ("response", "models")
LARGEST_MEMBER, HIGHEST_PACKING = 20 * 10**9, 200  # of a zip file: bytes unpacked, and their share
WITHOUT = {
    "compounds": "drug names, targets and pathways are those of the response table, without "
    "synonyms",
    "drug list": "no PubChem ids except those in the table of structures",
    "structures": "no SMILES: fetch pubchem_smiles after gdsc_drug_list, or bring a table "
    "DRUG_ID (or CID), SMILES",
    "expression": "no expression table",
    "mutations": "no mutation tables",
    "copy number": "no copy-number table",
}
CELL_COLUMNS = {  # the model list's names -> ours; the readers need these
    "model_id": "SANGER_MODEL_ID",
    "COSMIC_ID": "COSMIC_ID",
    "BROAD_ID": "DEPMAP_ID",
    "RRID": "RRID",
    "model_name": "model_name",
    "tissue": "tissue",
    "cancer_type": "cancer_type",
    "msi_status": "msi_status",
}
DEPMAP_CELL_COLUMNS = {  # DepMap's names, now and until 22Q2 -> those of the model list
    "SangerModelID": "model_id",
    "COSMICID": "COSMIC_ID",
    "ModelID": "BROAD_ID",
    "CellLineName": "model_name",
    "OncotreeLineage": "tissue",
    "OncotreePrimaryDisease": "cancer_type",
    "CCLEName": "CCLE_ID",
    "Sanger_Model_ID": "model_id",
    "DepMap_ID": "BROAD_ID",
    "cell_line_name": "model_name",
    "lineage": "tissue",
    "primary_disease": "cancer_type",
    "CCLE_Name": "CCLE_ID",
}
MORE_CELL_COLUMNS = {
    "CCLE_ID": "CCLE_NAME",
    **{
        name: name
        for name in (
            "synonyms",
            "cancer_type_detail",
            "tissue_status",
            "sample_site",
            "model_type",
            "growth_properties",
            "ploidy_snp6",
            "mutational_burden",
            "gender",
            "ethnicity",
            "age_at_sampling",
            "species",
        )
    },
}


@dataclass
class Prepared:
    """What `prepare` made: the folder, its files (manifest), which input each came from, what is
    missing, what a reader should know.
    """

    folder: Path
    manifest: pd.DataFrame | None = None
    sources: dict = field(default_factory=dict)
    missing: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


def prepare(
    downloads: str | os.PathLike,
    out: str | os.PathLike,
    genes: Iterable[str] | None = None,
    scales: Mapping[str, str] | None = None,
) -> Prepared:
    """Turn a folder of official downloads (csv, csv.gz, xlsx, zip) into the prepared layout, all of
    it or nothing.

    Parameters
    ----------
    downloads : folder with at least `GDSC2_fitted_dose_response*` and the Cell Model Passports'
        `model_list*`
    out : folder to make; must not exist (or be empty). `CLMT_DATA` may then name it
    genes : symbols to keep; None keeps every gene of the omics tables
    scales : kind of input ("response", "expression", "copy number") -> what its values are (see
        `official.SCALES`), where they leave it in doubt

    Returns
    -------
    Prepared

    Raises
    ------
    DataError
        Unreadable folder, needed input missing, two files for one input, or a table that cannot be
        understood (file, row, remedy).
    """
    done = Prepared(expanded(out).absolute())
    said = _scales(scales or {})
    with appearing(done.folder) as new:
        found = _find_inputs(downloads, new / ".unpacked", done)
        lines = _cell_lines(found["models"])
        response = _response(found["response"], said.get("response"), done)
        _same_ids(lines, response, found["models"], done)
        measured = _one_model_each(lines, response, found["models"], done)
        tables = {
            "ids/cell_lines": lines,
            "gdsc/response_gdsc2": response,
            "gdsc/drugs": _drugs(found, response, done),
        }
        wanted = None if genes is None else gene_symbols(genes, "the list of genes", 1, done.notes)
        keep = None if wanted is None else frozenset(filter(None, wanted))
        if "expression" in found:
            scale = said.get("expression")
            tables |= _expression(found["expression"], measured, keep, scale, done)
        if "mutations" in found:
            tables |= _mutations(found["mutations"], measured, keep, done)
        if "copy number" in found:
            scale = said.get("copy number")
            tables["gdsc/cna_log2"] = _copy_number(
                found["copy number"], measured, keep, scale, done
            )
        _note_joins(tables, keep, done)
        shutil.rmtree(new / ".unpacked", ignore_errors=True)
        _write(new, tables, done)
    return done


def _scales(scales: Mapping[str, str]) -> dict[str, str]:
    """The scales that were said, by kind of input; raises DataError for an unknown one."""
    said = {kind.replace("_", " "): scale for kind, scale in scales.items()}
    for kind, scale in said.items():
        if scale not in SCALES.get(kind, ()):
            allowed = "; ".join(f"{name}: {', '.join(values)}" for name, values in SCALES.items())
            raise DataError(f"unknown scale {kind}={scale}", remedy=f"use one of: {allowed}")
    return said


def _one_model_each(
    lines: pd.DataFrame, response: pd.DataFrame, path: Path, done: Prepared
) -> pd.DataFrame:
    """The lines, with one model for each COSMIC id: where the model list gives an id to several,
    the one that the responses name.
    """
    known = lines[lines["COSMIC_ID"].notna()]
    models = known.groupby("COSMIC_ID")["SANGER_MODEL_ID"].nunique()
    shared = set(models.index[models > 1])
    named = set(response["SANGER_MODEL_ID"].dropna().astype(str).str.strip())
    drop = []
    for cosmic in sorted(shared & set(response["COSMIC_ID"])):
        rows = known[known["COSMIC_ID"] == cosmic]
        meant = rows[rows["SANGER_MODEL_ID"].isin(named)]
        if meant["SANGER_MODEL_ID"].nunique() != 1:
            both = " and ".join(sorted(rows["SANGER_MODEL_ID"].unique()))
            raise DataError(
                f"COSMIC_ID {cosmic} is that of {both}, and the responses do not say which",
                file=path,
                row=int(rows.index[1]) + 2,
                remedy="leave the id to one of them",
            )
        other = rows[~rows["SANGER_MODEL_ID"].isin(named)]
        drop += list(other.index)
        done.notes.append(
            f"COSMIC_ID {cosmic} has two models in {path.name}: "
            f"{meant['SANGER_MODEL_ID'].iloc[0]}, which the responses name, is taken, not "
            f"{', '.join(sorted(other['SANGER_MODEL_ID'].unique()))}"
        )
    return lines.drop(index=drop)


def _same_ids(lines: pd.DataFrame, response: pd.DataFrame, path: Path, done: Prepared) -> None:
    """Say which screened models have another COSMIC id in the model list; raises DataError where
    that is more than one in ten (and more than two).
    """
    known = lines[["SANGER_MODEL_ID", "COSMIC_ID"]].dropna()
    listed = known.groupby("SANGER_MODEL_ID")["COSMIC_ID"].agg(set)
    asked = response[["SANGER_MODEL_ID", "COSMIC_ID"]].dropna().drop_duplicates()
    asked = asked[asked["SANGER_MODEL_ID"].isin(listed.index)]
    other = [
        f"{model} is {cosmic} in the responses and {min(listed[model])} in the model list"
        for model, cosmic in zip(asked["SANGER_MODEL_ID"], asked["COSMIC_ID"], strict=True)
        if cosmic not in listed[model]
    ]
    if len(other) > max(2, len(asked) // 10):
        raise DataError(
            f"{len(other)} of {len(asked)} models have other COSMIC ids than in the responses: "
            f"{other[0]}",
            file=path,
            remedy="a column of one of the tables is in another order than its rows: fetch both "
            "again",
        )
    if other:
        done.notes.append(f"{len(other)} models have another COSMIC id: {'; '.join(other[:3])}")


def _note_joins(tables: Mapping[str, pd.DataFrame], keep: Collection[str] | None, done: Prepared):
    """Say how much of the responses has everything that the readers join, and what is lost."""
    response, drugs = tables["gdsc/response_gdsc2"], tables["gdsc/drugs"]
    structured = set(drugs.loc[drugs["smiles"].notna(), "DRUG_ID"])
    omics = {}
    if "gdsc/expression_zscore" in tables:
        omics["expression"] = set(tables["gdsc/expression_zscore"]["COSMIC_ID"])
    if "gdsc/mutation_lines" in tables:
        omics["mutations"] = set(tables["gdsc/mutation_lines"]["COSMIC_ID"])
    if "gdsc/cna_log2" in tables:
        columns = tables["gdsc/cna_log2"].columns
        omics["copy number"] = {int(name) for name in columns if str(name).isdigit()}
    screened = list(dict.fromkeys(response["COSMIC_ID"]))
    for kind, known in [*omics.items(), ("a structure", structured)]:
        asked = screened if kind in omics else list(dict.fromkeys(response["DRUG_ID"]))
        lost = [str(one) for one in asked if one not in known]
        what = "screened lines" if kind in omics else "screened drugs"
        more = f"; without, for example, {', '.join(lost[:3])}" if lost else ""
        done.notes.append(f"{len(asked) - len(lost)} of {len(asked)} {what} have {kind}{more}")
    full = response["DRUG_ID"].isin(structured)
    for known in omics.values():
        full &= response["COSMIC_ID"].isin(known)
    missing = {"expression", "mutations", "copy number"} - set(omics)
    usable = 0 if missing else int(full.sum())
    done.notes.append(
        f"{usable} of {len(response)} responses have all omics and a structure"
        + (f" (no {', no '.join(sorted(missing))})" if missing else "")
    )
    if not usable and not missing and "structures" in done.sources:
        raise DataError(
            f"no response has all omics and a structure: {'; '.join(done.notes[-5:-1])}",
            file=done.folder,
            remedy="use responses, model list, omics and structures that name the same lines and "
            "drugs",
        )
    _note_genes(tables, done)
    if keep is not None:
        for kind, name in (("expression", "expression_scale"), ("copy number", "cna_log2")):
            table = tables.get(f"gdsc/{name}")
            lost = sorted(set(keep) - set(table["symbol"])) if table is not None else []
            if lost:
                done.notes.append(
                    f"{len(lost)} of {len(keep)} wanted genes are not in the {kind} table: "
                    f"{', '.join(lost[:3])}"
                )


def _note_genes(tables: Mapping[str, pd.DataFrame], done: Prepared) -> None:
    """Say how many genes of the expression table the other omics know."""
    if "gdsc/expression_scale" not in tables:
        return
    genes = list(tables["gdsc/expression_scale"]["symbol"])
    for kind, name in (("mutations", "mutation_genes"), ("copy number", "cna_log2")):
        if f"gdsc/{name}" not in tables:
            continue
        known = set(tables[f"gdsc/{name}"]["symbol"])
        lost = [gene for gene in genes if gene not in known]
        more = f"; not, for example, {', '.join(lost[:3])}" if lost else ""
        done.notes.append(
            f"{len(genes) - len(lost)} of {len(genes)} genes of expression are among the "
            f"{len(known)} of {kind}{more}"
        )


def drug_cids(folder: str | os.PathLike) -> dict[int, int]:
    """PubChem ids named by the GDSC drug list in a folder of downloads, GDSC drug id -> CID (for
    `pubchem_smiles`).

    Raises
    ------
    DataError
        No drug list there, or one without the columns.
    """
    path = _pick(_listing(folder), "drug list")
    if path is None:
        raise DataError(
            "no GDSC drug list (Drug_list*.csv) here",
            file=folder,
            remedy="fetch gdsc_drug_list into this folder first",
        )
    return _read_drug_list(path, [])


# Finding the inputs


def _listing(folder: str | os.PathLike) -> list[Path]:
    try:
        return sorted(path for path in expanded(folder).iterdir() if path.is_file())
    except OSError as error:
        raise DataError(
            f"folder of downloads cannot be read ({error.strerror})",
            file=folder,
            remedy="name an existing folder that you may read (chmod u+rx); `clmt data fetch` "
            "fills one",
        ) from None


def _pick(files: list[Path], kind: str) -> Path | None:
    """The file for one input, or None; two files of one layout are a question for the reader."""
    for pattern in INPUTS[kind]:
        hits = [path for path in files if re.fullmatch(pattern, path.name, re.IGNORECASE)]
        if len({sha256_of(path) for path in hits}) == 1:
            return hits[0]  # copies of one file
        if len(hits) > 1:
            raise DataError(
                f"two files for {kind}: {', '.join(path.name for path in hits)}",
                file=hits[0].parent,
                remedy="keep the one you mean in the folder, and move the other out of it",
            )
        if hits:
            return hits[0]
    return None


def _find_inputs(downloads: str | os.PathLike, unpacked: Path, done: Prepared) -> dict[str, Path]:
    listed = _listing(downloads)
    files = [path for path in listed if _is_input(path.name)]
    for path in files:
        if not os.access(path, os.R_OK):
            raise DataError(
                "file cannot be read",
                file=path,
                remedy="give yourself permission to read it (chmod u+r)",
            )
    files += [
        member
        for path in files
        if path.suffix.lower() == ".zip"
        for member in _unpack(path, unpacked)
    ]
    picked = {kind: _pick(files, kind) for kind in INPUTS}
    found = {kind: path for kind, path in picked.items() if path is not None}
    for kind in NEEDED:
        if kind not in found:
            there = ", ".join(path.name for path in listed[:8]) or "nothing"
            raise DataError(
                f"no file for {kind}: a name like {INPUTS[kind][0]} (there: {there})",
                file=downloads,
                remedy="`clmt data list` names the official file; `clmt data fetch` gets it",
            )
    passed = sorted(
        {path.name for path in [*listed, *files] if path.suffix.lower() != ".zip"}
        - {path.name for path in found.values()}
    )
    if passed:
        done.notes.append(f"files passed over: {', '.join(passed)}")
    for pattern, what in ELSEWHERE.items():
        named = [name for name in passed if re.fullmatch(pattern, name, re.IGNORECASE)]
        done.notes += [f"{named[0]} is of {what}"] if named else []
    done.sources = {
        kind: {"file": path.name, "sha256": sha256_of(path)} for kind, path in found.items()
    }
    done.missing = {kind: text for kind, text in WITHOUT.items() if kind not in found}
    return found


def _is_input(name: str) -> bool:
    if name.startswith((".", "~$")):  # what a system or an office program leaves beside a file
        return False
    patterns = [pattern for kind in INPUTS.values() for pattern in kind]
    return name.lower().endswith(".zip") or any(
        re.fullmatch(pattern, name, re.IGNORECASE) for pattern in patterns
    )


def _unpack(path: Path, folder: Path) -> list[Path]:
    """The members of a zip file that are inputs, unpacked into `folder` under their bare names."""
    out: list[Path] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                target = folder / Path(member.filename).name
                if not _is_input(target.name):
                    continue
                size, packed = member.file_size, max(member.compress_size, 1)
                if size > LARGEST_MEMBER or (size > 10**8 and size / packed > HIGHEST_PACKING):
                    raise DataError(
                        f"{member.filename} would unpack to {size / 1e9:.1f} GB",
                        file=path,
                        remedy="no official table is that large: fetch the file again",
                    )
                if target.exists():
                    raise DataError(
                        f"two members are called {target.name}",
                        file=path,
                        remedy="unpack it and keep the one you mean",
                    )
                folder.mkdir(exist_ok=True)
                with archive.open(member) as source, open(target, "wb") as copy:
                    shutil.copyfileobj(source, copy)
                out.append(target)
    except (RuntimeError, NotImplementedError) as error:  # a password, a method zipfile lacks
        locked = "password" in str(error)
        raise DataError(
            "zip is encrypted" if locked else f"zip cannot be unpacked here ({error})",
            file=path,
            remedy="unpack it with its password, and give the files"
            if locked
            else "unpack it with another program, and give the files",
        ) from None
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"broken zip ({error})",
            file=path,
            remedy="the file is cut short or not zip: fetch it again",
        ) from None
    return out


# Tables of ids, responses and drugs


def _read(path: Path, columns: Collection[str] | None = None, **options: Any) -> pd.DataFrame:
    """`read_table`, and the first sheet of an xlsx file."""
    if path.suffix.lower() != ".xlsx":
        return read_table(path, columns, **options)
    try:
        frame = pd.read_excel(path, engine="openpyxl")
    except ImportError:
        raise DataError(
            "reading xlsx needs openpyxl",
            file=path,
            remedy="pip install openpyxl, or save the sheet as CSV",
        ) from None
    except Exception as error:  # noqa: BLE001 - openpyxl raises whatever a damaged workbook makes
        raise DataError(
            f"cannot be parsed ({error})",
            file=path,
            remedy="the file is cut short or not xlsx: fetch it again, or save the sheet as CSV",
        ) from None
    if frame.empty:
        raise DataError("empty table", file=path, remedy="fetch or export it again")
    require_columns(frame.columns, columns, path)
    return frame if columns is None else frame[list(columns)]


def _response(path: Path, scale: str | None, done: Prepared) -> pd.DataFrame:
    """[pairs, 19] the official table, rows in order, ids as whole numbers; rows empty in every
    column are left out and counted.
    """
    ids = ("NLME_RESULT_ID", "NLME_CURVE_ID", "COSMIC_ID", "DRUG_ID", "COMPANY_ID")
    frame = _read(path, RESPONSE_COLUMNS, text=ids)
    empty = frame.isna().all(axis=1)
    frame = frame[~empty].copy()
    frame["DATASET"] = frame["DATASET"].astype(str).str.strip().str.upper()
    other = frame["DATASET"] != "GDSC2"
    if other.any():
        raise DataError(
            f"a row of {frame.loc[other, 'DATASET'].iloc[0]!r} among GDSC2",
            file=path,
            row=int(other.idxmax()) + 2,
            remedy="GDSC1 is another assay: keep the rows of GDSC2 only",
        )
    for column in ids:
        frame[column] = numbers(frame, column, path)
    for column in ("MIN_CONC", "MAX_CONC", "LN_IC50", "AUC", "RMSE", "Z_SCORE"):
        frame[column] = numbers(frame, column, path, whole=False)
    _possible(frame, path)
    frame["LN_IC50"] = to_ln_um(frame["LN_IC50"], path, scale)
    beyond = frame["LN_IC50"].abs() > LARGEST_LN_UM
    if beyond.any():
        row = int(beyond.idxmax())
        raise DataError(
            f"LN_IC50 is {frame.loc[row, 'LN_IC50']:g}, out of range for ln(uM)",
            file=path,
            row=row + 2,
            remedy="drop the row, or say what the values are: --scale response="
            f"{' or '.join(SCALES['response'])}",
        )
    twice = frame.duplicated(["COSMIC_ID", "DRUG_ID"])
    if twice.any():
        row = twice.idxmax()
        raise DataError(
            f"duplicate pair COSMIC_ID {frame.loc[row, 'COSMIC_ID']}, DRUG_ID "
            f"{frame.loc[row, 'DRUG_ID']}",
            file=path,
            row=int(row) + 2,
            remedy="keep one row for each pair",
        )
    for column, name in (
        ("DRUG_ID", "DRUG_NAME"),
        ("COSMIC_ID", "CELL_LINE_NAME"),
        ("COSMIC_ID", "SANGER_MODEL_ID"),
        ("SANGER_MODEL_ID", "COSMIC_ID"),
    ):
        _one_value_each(frame, column, name, path)
    if empty.any():
        done.notes.append(f"{int(empty.sum())} empty rows of {path.name} left out")
    return frame.reset_index(drop=True)


def _possible(frame: pd.DataFrame, path: Path) -> None:
    """Raise for doses, areas and errors of a fit that cannot be, and for a concentration that is
    higher where cells die more: its sign was changed.
    """
    for column, wrong, why in (
        ("MAX_CONC", frame["MAX_CONC"] <= 0, "a concentration is above 0"),
        ("MIN_CONC", frame["MIN_CONC"] >= frame["MAX_CONC"], "MIN_CONC is below MAX_CONC"),
        ("AUC", (frame["AUC"] < 0) | (frame["AUC"] > 1), "AUC is from 0 to 1"),
        ("RMSE", frame["RMSE"] < 0, "an error is not below 0"),
    ):
        if wrong.any():
            row = int(wrong.idxmax())
            raise DataError(
                f"{column} is {frame.loc[row, column]:g}, and {why}",
                file=path,
                row=row + 2,
                remedy="use the provider's table, unchanged",
            )
    if len(frame) >= 50 and frame["AUC"].std() > 0.01:
        together = float(frame["LN_IC50"].rank().corr(frame["AUC"].rank()))
        if together < -0.3:
            raise DataError(
                "LN_IC50 is lower where more cells live (rank correlation with AUC "
                f"{together:.2f}; of GDSC2 it is above 0.5)",
                file=path,
                remedy="if it is a pIC50, say --scale response=pIC50; else turn its sign",
            )


def _one_value_each(frame: pd.DataFrame, key: str, column: str, path: Path) -> None:
    """Raise for the first row where a key stands beside a second value, spaces and case aside."""
    known = frame[frame[key].notna() & frame[column].notna()]
    spelt = known[column].astype(str).str.strip().str.lower()
    first = spelt.groupby(known[key]).transform("first")
    other = spelt != first
    if other.any():
        row = other.idxmax()
        before = known.loc[known[key] == known.loc[row, key], column].iloc[0]
        raise DataError(
            f"{key} {known.loc[row, key]} has two values of {column}: {str(before)!r} and "
            f"{str(known.loc[row, column])!r}",
            file=path,
            row=int(row) + 2,
            remedy="keep the right one in every row",
        )


def _cell_lines(path: Path) -> pd.DataFrame:
    """[lines] the model list with our column names; a model with several COSMIC or DepMap ids has a
    row for each.
    """
    ids = ("model_id", "COSMIC_ID", "BROAD_ID")
    theirs = [name for name, ours in DEPMAP_CELL_COLUMNS.items() if ours in ids]
    frame = read_table(path, text=(*ids, *theirs))
    if "model_id" not in frame:
        frame = frame.rename(columns=DEPMAP_CELL_COLUMNS)
        frame = frame.assign(msi_status=None) if "msi_status" not in frame else frame
    frame = frame.rename(columns=spelt(frame.columns, CELL_COLUMNS))
    require_columns(frame.columns, CELL_COLUMNS, path)
    frame = frame.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    for column in CELL_COLUMNS:
        _one_value_each(frame, "model_id", column, path)
    wanted = CELL_COLUMNS | {
        theirs: ours for theirs, ours in MORE_CELL_COLUMNS.items() if theirs in frame
    }
    frame = frame[list(wanted)].rename(columns=wanted)
    for column in ("COSMIC_ID", "DEPMAP_ID"):
        parts = frame[column].astype("string").str.replace(r"\.0$", "", regex=True).str.split(";")
        frame = frame.assign(**{column: parts}).explode(column)
        frame[column] = frame[column].str.strip()
    wrong = frame["COSMIC_ID"].notna() & ~frame["COSMIC_ID"].str.fullmatch(r"\d{1,12}").fillna(
        False
    ).astype(bool)
    if wrong.any():
        raise DataError(
            f"COSMIC_ID {frame.loc[wrong, 'COSMIC_ID'].iloc[0]!r} is not a whole number of at most "
            "12 digits",
            file=path,
            row=int(frame.index[wrong][0]) + 2,
            remedy="correct it or leave it empty (7.0E+05 is a spreadsheet's: export as text)",
        )
    frame["COSMIC_ID"] = pd.to_numeric(frame["COSMIC_ID"]).astype("Int64")
    return frame.assign(name=frame["model_name"]).reset_index(drop=True)


def _read_drug_list(path: Path, notes: list[str]) -> dict[int, int]:
    """GDSC drug id -> PubChem CID, from the website's drug list; the first of several CIDs, nothing
    for `none` or `several`. What is not understood is said.
    """
    frame = read_table(path, dtype=str)
    frame.columns = [name.strip().lower().replace(" ", "_") for name in frame.columns]
    require_columns(frame.columns, ("drug_id", "pubchem"), path)
    ids = numbers(frame, "drug_id", path)
    out: dict[int, int] = {}
    strange = []
    for row, (drug, cell) in enumerate(zip(ids, frame["pubchem"], strict=True), start=2):
        word = cell.strip().lower() if isinstance(cell, str) else ""
        if word in NO_CID:
            continue
        found = CID.fullmatch(word)
        if found is None:
            strange.append(f"{cell!r} (row {row})")
        elif out.setdefault(int(drug), int(found[1])) != int(found[1]):
            raise DataError(
                f"drug_id {drug} has two PubChem ids: {out[int(drug)]} and {found[1]}",
                file=path,
                row=row,
                remedy="keep the right one",
            )
    if strange:
        notes.append(
            f"{len(strange)} PubChem ids of {path.name} not understood: {', '.join(strange[:3])}"
        )
    return out


def _read_structures(path: Path, notes: list[str]) -> list[dict]:
    """({CID: SMILES}, {DRUG_ID: SMILES}, {DRUG_ID: CID}) from a table with SMILES and at least one
    of the two ids; checked by RDKit.
    """
    from rdkit import Chem, rdBase

    frame = read_table(path, dtype=str)
    frame.columns = [
        {"pubchem_cid": "cid"}.get(name.strip().lower(), name.strip().lower())
        for name in frame.columns
    ]
    named = [name for name in frame if name.replace("_", "").endswith("smiles")]
    if "smiles" not in named and len(named) == 1:
        frame = frame.rename(columns={named[0]: "smiles"})
    require_columns(frame.columns, ("smiles", "drug_id" if "cid" not in frame else "cid"), path)
    other = [name for name in frame if name not in ("smiles", "drug_id", "cid")]
    if other:
        notes.append(f"columns of {path.name} left out: {', '.join(map(repr, other[:5]))}")
    empty = int(frame["smiles"].isna().sum())
    if empty:
        notes.append(f"{empty} rows of {path.name} left out: no SMILES")
    frame = frame[frame["smiles"].notna()]
    for key in ("drug_id", "cid"):
        lost = int(frame[key].isna().sum()) if key in frame else 0
        if lost:
            notes.append(f"{lost} rows of {path.name} have no {key.upper()}: left out by that id")
    same = {}
    with rdBase.BlockLogs():
        for row, smiles in frame["smiles"].items():
            molecule = Chem.MolFromSmiles(smiles)
            if molecule is None or not molecule.GetNumAtoms():
                raise DataError(
                    f"SMILES {smiles!r} cannot be parsed",
                    file=path,
                    row=int(row) + 2,
                    remedy="correct it, or leave it empty: a missing structure is allowed",
                )
            same[smiles] = Chem.MolToSmiles(molecule)
    maps: list[dict] = []
    for key, value in (("cid", "smiles"), ("drug_id", "smiles"), ("drug_id", "cid")):
        if not {key, value} <= set(frame):
            maps.append({})
            continue
        rows = frame.dropna(subset=[key, value])
        found: dict = {}
        values = rows[value] if value == "smiles" else numbers(rows, value, path)
        for row, one, other in zip(rows.index, numbers(rows, key, path), values, strict=True):
            first = found.setdefault(int(one), other)
            if same.get(first, first) != same.get(other, other):
                raise DataError(
                    f"{key.upper()} {one} has two values of {value.upper()}: {first!r} and "
                    f"{other!r}",
                    file=path,
                    row=int(row) + 2,
                    remedy="keep the right one",
                )
        maps.append(found)
    return maps


def _drugs(found: dict[str, Path], response: pd.DataFrame, done: Prepared) -> pd.DataFrame:
    """[drugs] names, synonyms, targets, pathways, PubChem ids and structures; the drugs of the
    response table that the compound list lacks are added from there.
    """
    screened = response.drop_duplicates("DRUG_ID").rename(
        columns={"PUTATIVE_TARGET": "TARGET", "PATHWAY_NAME": "TARGET_PATHWAY"}
    )
    columns = ("DRUG_ID", "SCREENING_SITE", "DRUG_NAME", "SYNONYMS", "TARGET", "TARGET_PATHWAY")
    screened = screened.reindex(columns=columns)
    table = screened
    if "compounds" in found:
        table = read_table(found["compounds"], columns, text=("DRUG_ID",))
        table = table.assign(DRUG_ID=numbers(table, "DRUG_ID", found["compounds"]))
        _one_value_each(table, "DRUG_ID", "DRUG_NAME", found["compounds"])
        table = table.drop_duplicates("DRUG_ID")
        extra = screened[~screened["DRUG_ID"].isin(table["DRUG_ID"])]
        if len(extra):
            done.notes.append(
                f"{len(extra)} drugs of the response table are not in "
                f"{found['compounds'].name}: taken from the response table"
            )
            table = pd.concat([table, extra])
    table = table.sort_values("DRUG_ID", ignore_index=True).rename(
        columns=lambda name: name if name == "DRUG_ID" else name.lower()
    )
    cids = _read_drug_list(found["drug list"], done.notes) if "drug list" in found else {}
    by_cid, by_drug, more = (
        _read_structures(found["structures"], done.notes) if "structures" in found else ({}, {}, {})
    )
    cids = more | cids
    table["pubchem_cid"] = pd.array([cids.get(drug) for drug in table["DRUG_ID"]], dtype="Int64")
    smiles = [by_drug.get(drug) or by_cid.get(cids.get(drug)) for drug in table["DRUG_ID"]]
    return table.assign(
        smiles=pd.Series(smiles, dtype="str"),
        **_chemistry(smiles),
        in_gdsc2=table["DRUG_ID"].isin(response["DRUG_ID"]),
    )


def _chemistry(smiles: list[str | None]) -> dict[str, pd.Series]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(text) if text else None for text in smiles]
        return {
            "canonical_smiles_rdkit": pd.Series(
                [molecule and Chem.MolToSmiles(molecule) for molecule in molecules], dtype="str"
            ),
            "inchikey_rdkit": pd.Series(
                [molecule and Chem.MolToInchiKey(molecule) for molecule in molecules], dtype="str"
            ),
        }


# Omics


def _expression(
    path: Path,
    lines: pd.DataFrame,
    keep: Collection[str] | None,
    scale: str | None,
    done: Prepared,
) -> dict[str, pd.DataFrame]:
    """Two tables: log2(TPM+1) standardised per gene over all lines of the file [lines, COSMIC_ID +
    genes], and what it was standardised by [genes, symbol + mean + deviation].
    """
    matrix = read_matrix(path, lines, ("rsem_tpm", "tpm"), keep)
    done.notes += matrix.notes
    values = matrix.values
    if expression_scale(values, matrix.depmap, path, scale, done.notes) == "tpm":
        values = np.log2(values + 1)
    values = _measured_lines(values, path, done)
    usable = values.notna().all() & (values.std(ddof=0) > 0)
    _note_dropped(
        done, path, "genes", int((~usable).sum()), "not measured in every line, or constant"
    )
    if not usable.any() or len(values) < 2:
        raise DataError(
            f"nothing to standardise: {len(values)} lines, {int(usable.sum())} genes measured in "
            "every line and not constant",
            file=path,
            remedy="use the provider's file, unchanged, with more than one line of the model list",
        )
    values = values.loc[:, usable]
    mean, deviation = values.mean(), values.std(ddof=0)
    scales = pd.DataFrame({"symbol": values.columns, "mean": mean, "deviation": deviation})
    return {
        "gdsc/expression_zscore": ((values - mean) / deviation).astype("float32").reset_index(),
        "gdsc/expression_scale": scales.reset_index(drop=True),
    }


def _measured_lines(values: pd.DataFrame, path: Path, done: Prepared) -> pd.DataFrame:
    """The lines in which most genes were measured; the others are said."""
    full = values.isna().mean(axis=1) < EMPTY_COPY_NUMBER
    lost = ", ".join(map(str, values.index[~full][:3]))
    _note_dropped(done, path, "lines", int((~full).sum()), f"most genes missing ({lost})")
    return values[full]


def _copy_number(
    path: Path,
    lines: pd.DataFrame,
    keep: Collection[str] | None,
    scale: str | None,
    done: Prepared,
) -> pd.DataFrame:
    """[genes, entrez_id + symbol + lines] log2 ratio; lines without most genes, then genes not
    known in every line left, are left out.
    """
    matrix: Matrix = read_matrix(path, lines, ("total_copy_number",), keep)
    done.notes += matrix.notes
    scale = copy_number_scale(matrix.values, matrix.depmap, path, scale, done.notes)
    ratio = _measured_lines(copy_ratio(matrix.values, scale), path, done)
    known = ratio.notna().all()
    _note_dropped(done, path, "genes", int((~known).sum()), "not known in every line")
    if ratio.empty or not known.any():
        raise DataError(
            "no gene has a copy number in every line",
            file=path,
            remedy="use one provider's file, unchanged",
        )
    table = np.log2(ratio.loc[:, known].clip(lower=LOWEST_RATIO)).T
    table.columns = table.columns.astype(str)
    entrez = pd.array([matrix.entrez.get(symbol) for symbol in table.index], dtype="Int64")
    table.insert(0, "symbol", table.index.astype("str"))
    table.insert(0, "entrez_id", entrez)
    return table.reset_index(drop=True)


def _note_dropped(done: Prepared, path: Path, what: str, count: int, why: str) -> None:
    if count:
        done.notes.append(f"{count} {what} of {path.name} left out: {why}")


def _mutations(
    path: Path, lines: pd.DataFrame, keep: Collection[str] | None, done: Prepared
) -> dict[str, pd.DataFrame]:
    """The three mutation tables: protein-changing mutations in long form (score 1), the lines that
    were sequenced, the genes seen.
    """
    calls = read_mutations(path, lines, done.notes)
    genes = calls[["entrez_id", "symbol"]].drop_duplicates("symbol")
    sequenced = calls[["COSMIC_ID"]].drop_duplicates().sort_values("COSMIC_ID", ignore_index=True)
    if keep is not None:
        genes, calls = genes[genes["symbol"].isin(keep)], calls[calls["symbol"].isin(keep)]
    long = (
        calls[calls["changes_protein"]].drop_duplicates(["COSMIC_ID", "symbol"]).assign(score=1.0)
    )
    return {
        "gdsc/mutation_long": long.sort_values(["COSMIC_ID", "symbol"], ignore_index=True)[
            ["COSMIC_ID", "entrez_id", "score", "symbol"]
        ],
        "gdsc/mutation_lines": sequenced,
        "gdsc/mutation_genes": genes.sort_values("symbol", ignore_index=True),
    }


def _write(folder: Path, tables: dict[str, pd.DataFrame], done: Prepared) -> None:
    """Parquet files, `MANIFEST.tsv` (bytes, shape, SHA-256) and `SOURCES.tsv` (which official file
    each input was).
    """
    rows = []
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        table.to_parquet(path, index=False, compression="zstd")
        rows.append(
            {
                "file": f"{name}.parquet",
                "bytes": path.stat().st_size,
                "shape": f"{len(table)}x{len(table.columns)}",
                "sha256": sha256_of(path),
            }
        )
    done.manifest = pd.DataFrame(rows)
    done.manifest.to_csv(folder / "MANIFEST.tsv", sep="\t", index=False)
    sources = pd.DataFrame([{"input": kind, **about} for kind, about in done.sources.items()])
    sources.to_csv(folder / "SOURCES.tsv", sep="\t", index=False)
