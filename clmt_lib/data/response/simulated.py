"""The bundled world: real drugs, invented cell lines, and responses drawn from a model that is
written down here (chapter 01).

Real are the drugs' names, structures, targets and pathways, the gene symbols and the names of the
tissues; the mechanism paragraphs are ours.
Everything else is invented: lines, expression, mutations, copy number and responses.
Nothing about a real drug or a real tumour can be learnt from the numbers, only whether a model
recovers what is known to be in them.

Symbols: line c of C, drug id d of D, gene g; t(c) tissue of c; m(d) compound of d; G(d) target
genes of d; P(d) pathway of d; k(d) consequence of d.
All draws are standard normal and independent unless said otherwise.

Features

    L_ck = sqrt(.3) R_t(c)k + sqrt(.7) U_ck              latent states of a line: one for each of
    the six consequences, and proliferation
    x_cg = sqrt(.2) Q_t(c)g + sqrt(.5) s_g F_cf(g) + sqrt(.3) E_cg       expression, about a z-score
    M_cg ~ Bernoulli(q_t(c)g)                            mutation: q is `DRIVERS` for drivers,
    `PASSENGER` for other genes
    V_cg = normal(0, .15) + (+-.6 or 0 for its block of ten genes)       copy number, log2 ratio:
    carries no signal, on purpose

Each gene follows one factor f(g).
Ten marker genes (s_g = 1) follow each latent state L_.k, target genes (s_g = 1) follow a factor of
their pathway, and the remaining genes
follow a background factor with random sign; factors other than L are plain normal.

Responses, in ln uM, with S = `SD` and the shares v of `Signals`:

    ln_ic50_cd = MEAN + S * ( sqrt(v_drug) A_d + sqrt(v_cell) B_c + sqrt(v_expression) X_cd +
    sqrt(v_mutation) W_cd + sqrt(v_text) T_cd + sqrt(v_noise) N_cd )

    A_d  = a_m(d)                                        potency of the compound, drawn without
    regard to any feature
    B_c  = sqrt(.5) b_c - sqrt(.5) L_c,proliferation     half of it is visible in expression, half
    in nothing
    X_cd = - mean of x_cg over G(d)                      more target, lower IC50; 0 for the three
    drugs whose target is DNA itself
    W_cd = - sum over g of w_P(d)g M_cg                  signed driver mutations of the pathway,
    `EFFECTS`; 0 for pathways without
    T_cd = - L_c,k(d)                                    the consequence k(d) is stated in the
    mechanism paragraph and nowhere else
    N_cd = noise; the second id of a replicate pair differs from the first by noise alone

X, W and T are centred by row and by column over all C x D pairs, so that they hold no drug or cell
effect.
Then each term, in the order drug, cell, expression, mutation, text, noise, loses its projection
(one number: a regression slope) on those before it,
and is scaled to mean 0 and variance 1.
So the terms are exactly uncorrelated over all pairs and the v are exact shares of S^2 there; over
the `MEASURED` part of the pairs they differ by sampling.
The slopes are at most a few hundredths: what text alone knows does not leak through them.
Terms do not depend on the shares: setting one share to 0 takes away exactly that term, and leaves a
variance of S^2 times the sum of the others.

What the consequence owes to annotation: the paragraphs stress one of several known consequences,
and drugs of one class were given different ones.
A vote among the other drugs, weighted by [same pathway] + Jaccard index of the targets, names it
for 27.3 % of the drugs; always naming the most common one is right for 20.0 %.
A test recomputes both.
That one consequence decides for each drug, and varies within a class, is part of the invention.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from clmt_lib.data.response.base import DrugResponse
from clmt_lib.io import DataError

MEAN, SD = (
    1.5,
    2.0,
)  # ln uM; narrower than a real screen, so that no seed leaves the range a benchmark accepts
MEASURED = 0.85  # share of the pairs measured
PASSENGER = 0.02  # mutation frequency of a gene that is no driver in the tissue
REPLICATES = ("Gemcitabine", "Olaparib", "Trametinib")  # compounds screened twice, under two ids
FEWEST_CELLS = 24  # so that every tissue has a line
TERMS = ("drug", "cell", "expression", "mutation", "text", "noise")
TISSUES = {  # name: code in the ids, per cent of the lines
    "Lung": ("LUNG", 14),
    "Haematopoietic and Lymphoid": ("BLOOD", 16),
    "Large Intestine": ("BOWEL", 10),
    "Breast": ("BREAST", 9),
    "Skin": ("SKIN", 9),
    "Central Nervous System": ("CNS", 8),
    "Ovary": ("OVARY", 7),
    "Pancreas": ("PANCREAS", 6),
    "Head and Neck": ("HEADNECK", 6),
    "Stomach": ("STOMACH", 5),
    "Kidney": ("KIDNEY", 5),
    "Bone": ("BONE", 5),
}
DRIVERS: dict[str, dict[str, float]] = {  # invented frequencies, of the order one would expect
    "Lung": dict(TP53=0.6, KRAS=0.3, EGFR=0.2, STK11=0.2, KEAP1=0.2, MET=0.1, ALK=0.1, RB1=0.2),
    "Haematopoietic and Lymphoid": dict(
        TP53=0.4,
        NRAS=0.25,
        NOTCH1=0.25,
        FLT3=0.2,
        JAK2=0.1,
        CREBBP=0.2,
        EZH2=0.15,
        IDH2=0.1,
        KMT2D=0.2,
    ),
    "Large Intestine": dict(
        APC=0.7, TP53=0.6, KRAS=0.45, PIK3CA=0.25, BRAF=0.2, RNF43=0.2, FBXW7=0.2, MLH1=0.15
    ),
    "Breast": dict(TP53=0.6, PIK3CA=0.35, ERBB2=0.2, PTEN=0.15, ESR1=0.15, BRCA1=0.15, GATA3=0.15),
    "Skin": dict(BRAF=0.6, NRAS=0.2, CDKN2A=0.4, NF1=0.2, PTEN=0.15, TP53=0.2),
    "Central Nervous System": dict(TP53=0.45, PTEN=0.4, EGFR=0.2, IDH1=0.15, NF1=0.2, CDKN2A=0.4),
    "Ovary": dict(TP53=0.7, BRCA1=0.2, BRCA2=0.2, ARID1A=0.25, PIK3CA=0.2, KRAS=0.15),
    "Pancreas": dict(KRAS=0.85, TP53=0.7, CDKN2A=0.5, SMAD4=0.4, RNF43=0.1, BRCA2=0.1),
    "Head and Neck": dict(TP53=0.7, CDKN2A=0.3, PIK3CA=0.25, NOTCH1=0.2, FBXW7=0.1, EP300=0.1),
    "Stomach": dict(TP53=0.5, ARID1A=0.3, ERBB2=0.2, FGFR2=0.15, CTNNB1=0.15, MLH1=0.15),
    "Kidney": dict(VHL=0.6, PBRM1=0.3, TSC1=0.15, MET=0.15, BAP1=0.15),
    "Bone": dict(TP53=0.5, RB1=0.4, CDKN2A=0.3, ATRX=0.2, STAG2=0.2, SMARCB1=0.1),
}
# pathway of the drug: driver and its weight; above 0 a mutated line dies at a lower dose
EFFECTS: dict[str, dict[str, float]] = {
    "EGFR signaling": dict(EGFR=1, ERBB2=0.8, KRAS=-1, BRAF=-0.7),
    "ERK MAPK signaling": dict(BRAF=1, KRAS=0.7, NRAS=0.7, NF1=0.5, RB1=-0.6),
    "PI3K/MTOR signaling": dict(PIK3CA=1, PTEN=0.8, TSC1=0.7, KRAS=-0.6),
    "RTK signaling": dict(MET=1, ALK=1, FGFR2=1, KRAS=-0.6, VHL=0.6),
    "IGF1R signaling": dict(KRAS=-0.8, PTEN=-0.7, STAG2=0.7),
    "Other, kinases": dict(FLT3=1, JAK2=1, NOTCH1=-0.6),
    "Cell cycle": dict(RB1=-1, CDKN2A=0.8, TP53=0.6),
    "Genome integrity": dict(BRCA1=1, BRCA2=1, ARID1A=0.6, TP53=-0.5),
    "DNA replication": dict(TP53=-1, BRCA2=0.6, MLH1=-0.6),
    "Mitosis": dict(FBXW7=-0.8, TP53=-0.6, APC=0.6),
    "Apoptosis regulation": dict(TP53=-1, IDH2=0.8, CREBBP=0.6),
    "Chromatin histone acetylation": dict(CREBBP=1, EP300=1),
    "Chromatin histone methylation": dict(EZH2=1, KMT2D=0.7, SMARCB1=0.8),
    "Chromatin other": dict(NOTCH1=0.7, SMARCB1=0.8, ATRX=-0.6),
    "Protein stability and degradation": dict(KEAP1=-0.8, FBXW7=0.6),
    "WNT signaling": dict(RNF43=1, CTNNB1=-0.8, APC=-0.7),
    "Hormone-related": dict(ESR1=-1, GATA3=0.8),
    "p53 pathway": dict(TP53=1),
}
MARKERS = {  # latent state: the ten genes that show it
    "replication_forks": "RPA1 RPA2 MCM2 MCM5 GINS2 TIPIN CLSPN FEN1 RFC4 RAD51",
    "mitotic_spindle": "TPX2 KIF11 NDC80 BUB1 MAD2L1 CENPE INCENP KIF2C TTK CDC20",
    "unfolded_proteins": "HSPA5 DNAJB9 CALR PDIA4 HSP90B1 HERPUD1 SEL1L XBP1 ATF4 DDIT3",
    "outer_membrane": "BAX BAK1 BCL2L11 PMAIP1 BBC3 BID CASP9 APAF1 CYCS DIABLO",
    "transcription": "CCNT1 HEXIM1 SUPT5H NELFE ELL2 AFF4 MED1 POLR2A TCEA1 PAF1",
    "growth_signal": "CCND1 DUSP6 SPRY2 SPRY4 ETV5 EGR1 FOSL1 IRS2 PHLDA1 IER3",
    "proliferation": "MKI67 CCNB1 CCNA2 RRM2 TK1 MYBL2 PCNA UBE2C CKS2 CDCA7",
}
BACKGROUND = """
ACTA2 ADAM10 AGR2 ALDH1A1 ANGPT1 ANXA1 AQP1 AXL BMP4 BMP7 CA9 CAV1 CCL2 CCL5 CD14 CD19 CD24 CD3E
CD44 CD79B CDH1 CDH2 CDX2 CEACAM5 CLDN3 CLDN4 COL1A1 COL3A1 COL6A1 CSPG4 CTSB CXCL1 CXCL8 CXCR4
DCT DKK1 DLL3 ELF3 EPCAM FABP5 FGFBP1 FN1 FOXA1 FOXA2 GFAP GPNMB GPX2 GRHL2 HAVCR1 HNF1B HNF4A
HOXA9 HOXB7 ICAM1 IGFBP3 IGFBP5 IL6 IL7R ITGA3 ITGB4 JUP KLF4 KLF5 KRT5 KRT7 KRT8 KRT14 KRT17
KRT18 KRT19 KRT20 LCP1 LGALS1 LGALS4 LUM LYZ MITF MLANA MMP1 MMP2 MMP9 MSLN MUC1 MUC16 MUC5AC NES
NNMT OLIG2 PAX2 PAX8 PDPN PECAM1 PMEL POSTN PROM1 PTPRC RUNX2 S100A4 S100A8 S100B SERPINE1 SFTPB
SLPI SNAI2 SOX10 SOX2 SOX9 SPARC SPINK1 SPP1 TACSTD2 TFF1 TFF3 TGFBI THBS1 TIMP1 TSPAN8 TWIST1
TYRP1 VCAM1 VEGFA VIM VTCN1 WT1 ZEB1 ZEB2
""".split()
N_BACKGROUND = 8  # background factors
LICENCE = "simulated responses: CC BY 4.0"
SOURCE = "clmt_lib.data.response.simulated: real drugs, invented lines and responses"


@dataclass(frozen=True)
class Signals:
    """Share of the response variance `SD`^2 that each source holds; 0 switches a source off. They
    sum to at most 1.
    """

    drug: float = 0.60  # dominates, as in real screens
    cell: float = 0.10
    expression: float = 0.10  # expression of the targets
    mutation: float = 0.05  # driver mutations of the targets' pathway
    text: float = 0.07  # the consequence stated only in the mechanism paragraph
    noise: float = 0.08

    def __post_init__(self) -> None:
        shares = list(asdict(self).values())
        if not np.isfinite(shares).all() or min(shares) < 0 or not 0 < sum(shares) <= 1 + 1e-9:
            raise DataError(
                f"shares of variance {asdict(self)} are impossible",
                remedy="give numbers of 0 or more whose sum is above 0 and at most 1",
            )


@dataclass(frozen=True)
class Truth:
    """What was put into a simulated world.

    Attributes
    ----------
    terms : name of the source -> [C, D] its contribution to the response, ln uM, every pair,
        measured or not
    measured : [C, D] which pairs the benchmark holds
    latents : [C, 7] frame of the hidden states of the lines: six consequences and proliferation
    consequence : [D] series, by drug id, of what each mechanism paragraph states
    """

    terms: dict
    measured: np.ndarray
    latents: pd.DataFrame
    consequence: pd.Series

    def expected(self, *sources: str) -> np.ndarray:
        """[C, D] ln IC50 in ln uM of a model that knows these sources perfectly (all but noise when
        none is named).

        Raises
        ------
        DataError
            Unknown source.
        """
        unknown = set(sources) - set(TERMS)
        if unknown:
            raise DataError(
                f"unknown source of signal {sorted(unknown)[0]!r}",
                remedy=f"use some of: {', '.join(TERMS)}",
            )
        return MEAN + sum(self.terms[name] for name in sources or TERMS[:-1])

    def shares(self, measured: bool = False) -> dict[str, float]:
        """Variance of each term over `SD`^2: over all pairs (exact), or over the measured ones."""
        rows = self.measured if measured else np.ones_like(self.measured)
        return {name: float(term[rows].var() / SD**2) for name, term in self.terms.items()}


def facts() -> pd.DataFrame:
    """[110] frame of the real drugs, indexed by id: name, pubchem_cid, inchikey, target, pathway,
    consequence, smiles, mechanism.

    Pathway labels follow the GDSC2 screen, but for four drugs filed elsewhere; targets are HGNC
    symbols, or "DNA".
    `consequence` is what the mechanism paragraph states, and no column of the benchmark.

    >>> facts().loc["SD001", ["name", "target"]].to_list()
    ['5-Fluorouracil', 'TYMS']
    """
    return _facts().copy()


@cache
def _facts() -> pd.DataFrame:
    with (files("clmt_lib.data") / "oncology_drugs.tsv").open(encoding="utf-8") as table:
        return pd.read_csv(table, sep="\t", keep_default_na=False).set_index("drug")


def read_signals(signals: Signals | Mapping[str, float]) -> Signals:
    """`Signals` from itself or, as a configuration file holds them, from {source: share}; sources
    that are not named keep their default.

    >>> read_signals({"text": 0}).text, read_signals({"text": 0}).mutation
    (0, 0.05)

    Raises
    ------
    DataError
        Unknown source, or a share that is not a number.
    """
    if isinstance(signals, Signals):
        return signals
    try:
        return Signals(**{name: share + 0 for name, share in dict(signals).items()})
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"signals {signals!r} cannot be read",
            remedy=f"give shares of variance by name, some of: {', '.join(TERMS)}",
        ) from None


def load(
    seed: int = 0,
    *,
    signals: Signals | Mapping[str, float] = Signals(),
    cells: int = 240,
    drugs: Collection[str] | None = None,
) -> DrugResponse:
    """A simulated benchmark: the same arguments always give the same tables.

    Parameters
    ----------
    seed : int, draws everything that is invented
    signals : shares of the response variance, ln uM squared; or {source: share} for those that
        differ from the default
    cells : number of lines, at least 24, over 12 tissues
    drugs : names of the drugs wanted; None takes all 110 (113 ids: three compounds have two)

    Returns
    -------
    DrugResponse named "simulated".

    Raises
    ------
    DataError
        Too few cells, or a drug that is not in the table.

    >>> world = load(cells=24, drugs=["Erlotinib", "Olaparib", "Paclitaxel"])
    >>> world.n_cells, world.n_drugs, world.simulated
    (24, 4, True)
    """
    lines, table, omics, latents = _entities(seed, cells, drugs)
    known = _truth(seed, read_signals(signals), lines, table, omics, latents)
    c, d = np.nonzero(known.measured)
    y = np.round(known.expected(*TERMS)[c, d], 6)
    pairs = pd.DataFrame({"cell": lines.index[c], "drug": table.index[d], "ln_ic50": y})
    return DrugResponse.from_tables(
        "simulated",
        lines,
        table.drop(columns="consequence"),
        omics,
        pairs,
        trust_units=True,
        licence=LICENCE,
        source=SOURCE,
        simulated=True,
    )


def truth(
    seed: int = 0,
    *,
    signals: Signals | Mapping[str, float] = Signals(),
    cells: int = 240,
    drugs: Collection[str] | None = None,
) -> Truth:
    """The terms behind `load` with the same arguments, for comparing with what a model found.

    >>> known = truth(cells=24)
    >>> round(known.shares()["text"], 3)
    0.07
    """
    return _truth(seed, read_signals(signals), *_entities(seed, cells, drugs))


def _rng(seed: int, part: int) -> np.random.Generator:
    """One generator for each part, so that no part's draws depend on the size of another."""
    return np.random.Generator(np.random.PCG64([int(seed), part]))


def _entities(
    seed: int, cells: int, drugs: Collection[str] | None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, pd.DataFrame], pd.DataFrame]:
    """Tables of lines and drug ids, omics, and latent states: everything but the responses."""
    lines, table = _lines(cells), _drug_ids(drugs)
    tissue = pd.factorize(lines["tissue"])[0]
    latents = _latents(_rng(seed, 0), tissue, lines.index)
    pathway = _gene_pathways(
        facts()
    )  # of the whole table: the genes do not change with the choice of drugs
    genes = sorted({*pathway, *BACKGROUND, *_driver_genes(), *" ".join(MARKERS.values()).split()})
    omics = {
        "expression": _expression(_rng(seed, 1), tissue, latents, genes, pathway),
        "mutation": _mutation(_rng(seed, 2), lines["tissue"], genes),
        "copy_number": _copy_number(_rng(seed, 3), len(lines), genes),
    }
    frames = {
        kind: pd.DataFrame(block, index=lines.index, columns=genes, dtype=np.float32)
        for kind, block in omics.items()
    }
    return lines, table, frames, latents


def _lines(cells: int) -> pd.DataFrame:
    """[cells] frame of invented lines: the rounded-down shares of `TISSUES`, the rest in the
    largest tissue.
    """
    if cells < FEWEST_CELLS:
        raise DataError(
            f"{cells} lines are too few",
            remedy=f"ask for {FEWEST_CELLS} or more, so that each of the {len(TISSUES)} tissues "
            "has one",
        )
    counts = {tissue: cells * percent // 100 for tissue, (_, percent) in TISSUES.items()}
    counts["Haematopoietic and Lymphoid"] += cells - sum(counts.values())
    rows = [
        (f"SIM-{TISSUES[tissue][0]}-{i:03d}", tissue)
        for tissue, n in counts.items()
        for i in range(1, n + 1)
    ]
    ids, tissues = zip(*rows)
    return pd.DataFrame(
        {"name": ids, "tissue": tissues, "cancer_type": "invented"},
        index=pd.Index(ids, name="cell"),
    )


def _drug_ids(names: Collection[str] | None) -> pd.DataFrame:
    """[D] frame of drug ids: the chosen rows of `facts`, and a second id of each `REPLICATES`."""
    table = facts()
    if names is not None:
        unknown = [name for name in names if name not in set(table["name"])]
        if unknown:
            raise DataError(
                f"drug {unknown[0]!r} is not in the simulated world",
                file="oncology_drugs.tsv",
                remedy="choose names from clmt_lib.data.response.simulated.facts()",
            )
        table = table[table["name"].isin(list(names))]
    again = table[table["name"].isin(REPLICATES)]
    table = pd.concat([table, again.set_axis(again.index + "-2")]).sort_index().rename_axis("drug")
    columns = [
        "name",
        "compound",
        "smiles",
        "inchikey",
        "target",
        "pathway",
        "pubchem_cid",
        "mechanism",
        "consequence",
    ]
    return table.assign(compound=table["name"])[columns]


def _targets(cell: str) -> list[str]:
    """Gene symbols in a `target` cell; none for DNA."""
    return [gene for gene in cell.split(", ") if gene != "DNA"]


def _gene_pathways(table: pd.DataFrame) -> dict[str, str]:
    """Target gene -> pathway of the first drug that names it."""
    return {gene: row.pathway for row in table[::-1].itertuples() for gene in _targets(row.target)}


def _driver_genes() -> set[str]:
    return {gene for group in (*DRIVERS.values(), *EFFECTS.values()) for gene in group}


def _latents(rng: np.random.Generator, tissue: np.ndarray, index: pd.Index) -> pd.DataFrame:
    """[C, 7] frame, L of the equations."""
    names = list(MARKERS)
    shared, own = (
        rng.standard_normal((len(TISSUES), len(names))),
        rng.standard_normal((len(tissue), len(names))),
    )
    return pd.DataFrame(
        np.sqrt(0.3) * shared[tissue] + np.sqrt(0.7) * own, index=index, columns=names
    )


def _expression(
    rng: np.random.Generator,
    tissue: np.ndarray,
    latents: pd.DataFrame,
    genes: list[str],
    pathway: dict[str, str],
) -> np.ndarray:
    """[C, genes] x of the equations, rounded to 6 decimals."""
    marker = {gene: name for name, row in MARKERS.items() for gene in row.split()}
    pathways = sorted(set(pathway.values()))
    factors = np.hstack([latents, rng.standard_normal((len(tissue), len(pathways) + N_BACKGROUND))])
    column = {name: i for i, name in enumerate([*MARKERS, *pathways])}
    named = {**pathway, **marker}
    follows = np.array(
        [
            column[named[gene]] if gene in named else len(column) + i % N_BACKGROUND
            for i, gene in enumerate(genes)
        ]
    )
    sign = np.where([gene in named for gene in genes], 1.0, rng.choice([-1.0, 1.0], len(genes)))
    programme, own = (
        rng.standard_normal((len(TISSUES), len(genes))),
        rng.standard_normal((len(tissue), len(genes))),
    )
    return np.round(
        np.sqrt(0.2) * programme[tissue]
        + np.sqrt(0.5) * sign * factors[:, follows]
        + np.sqrt(0.3) * own,
        6,
    )


def _mutation(rng: np.random.Generator, tissues: pd.Series, genes: list[str]) -> np.ndarray:
    """[C, genes] 0 or 1, M of the equations."""
    chance = np.array(
        [[DRIVERS[tissue].get(gene, PASSENGER) for gene in genes] for tissue in TISSUES]
    )
    rows = [list(TISSUES).index(tissue) for tissue in tissues]
    return (rng.random((len(rows), len(genes))) < chance[rows]).astype(float)


def _copy_number(rng: np.random.Generator, n: int, genes: list[str]) -> np.ndarray:
    """[C, genes] log2 ratio: small noise, and gains or losses of blocks of ten genes."""
    block = np.arange(len(genes)) // 10
    event = rng.choice([-0.6, 0.0, 0.6], size=(n, block[-1] + 1), p=[0.1, 0.8, 0.1])
    return np.round(event[:, block] + 0.15 * rng.standard_normal((n, len(genes))), 6)


def _truth(
    seed: int,
    signals: Signals,
    lines: pd.DataFrame,
    table: pd.DataFrame,
    omics: dict[str, pd.DataFrame],
    latents: pd.DataFrame,
) -> Truth:
    """Terms of the equations, scaled to the shares, and the mask of measured pairs."""
    shape = len(lines), len(table)
    share = asdict(signals)
    terms: dict[str, np.ndarray] = {}
    for name, term in _raw_terms(_rng(seed, 4), table, omics, latents).items():
        spread = term.std()
        term = term - sum((term * before).mean() * before for before in terms.values())
        if term.std() <= 1e-6 * spread or not spread:
            if share[name]:
                raise DataError(
                    f"these drugs and lines leave no room for the signal {name!r}",
                    remedy="choose more drugs, or set its share to 0",
                )
            terms[name] = np.zeros(shape)
            continue
        terms[name] = (term - term.mean()) / term.std()
    scaled = {name: SD * np.sqrt(share[name]) * term for name, term in terms.items()}
    return Truth(scaled, _rng(seed, 5).random(shape) < MEASURED, latents, table["consequence"])


def _raw_terms(
    rng: np.random.Generator,
    table: pd.DataFrame,
    omics: dict[str, pd.DataFrame],
    latents: pd.DataFrame,
) -> dict[str, np.ndarray]:
    """name -> [C, D] A, B, X, W, T, N of the equations, before they are made uncorrelated."""
    x, mutation = (
        dict(zip(omics[kind].columns, omics[kind].to_numpy(np.float64).T, strict=True))
        for kind in ("expression", "mutation")
    )  # gene -> [C]
    c, d = len(latents), len(table)
    potency = pd.Series(rng.standard_normal(len(facts())), index=facts()["name"])
    hidden = rng.standard_normal(c)
    general = np.sqrt(0.5) * hidden - np.sqrt(0.5) * latents["proliferation"].to_numpy()
    genes = [_targets(target) for target in table["target"]]
    weights = [EFFECTS.get(pathway, {}) for pathway in table["pathway"]]
    return {
        "drug": np.tile(potency[table["compound"]].to_numpy(), (c, 1)),
        "cell": np.tile(general[:, None], (1, d)),
        "expression": _centred(
            [
                -(sum((x[gene] for gene in group), np.zeros(c)) / len(group))
                if group
                else np.zeros(c)
                for group in genes
            ]
        ),
        "mutation": _centred(
            [-sum((w * mutation[gene] for gene, w in row.items()), np.zeros(c)) for row in weights]
        ),
        "text": _centred([-latents[name] for name in table["consequence"]]),
        "noise": rng.standard_normal((c, d)),
    }


def _centred(columns: list[np.ndarray]) -> np.ndarray:
    """[C, D] from D columns, less row and column means (plus the grand mean)."""
    block = np.column_stack(columns)
    return block - block.mean(axis=0) - block.mean(axis=1, keepdims=True) + block.mean()
