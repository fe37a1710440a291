"""The bundled world: real drugs, invented cell lines, and responses drawn from a model that is written down here (chapter 01).

Real are the drugs' names, structures, targets and pathways, the gene symbols and the names of the tissues; the mechanism paragraphs are ours.
Everything else is invented: lines, expression, mutations, copy number and responses.
Nothing about a real drug or a real tumour can be learnt from the numbers, only whether a model recovers what is known to be in them.

Symbols: line c of C, drug id d of D, gene g; t(c) tissue of c; m(d) compound of d; G(d) target genes of d; P(d) pathway of d; k(d) consequence of d.
All draws are standard normal and independent unless said otherwise.

Features

    L_ck = sqrt(.3) R_t(c)k + sqrt(.7) U_ck              latent states of a line: one for each of the six consequences, and proliferation
    x_cg = sqrt(.2) Q_t(c)g + sqrt(.5) s_g F_cf(g) + sqrt(.3) E_cg       expression, about a z-score
    M_cg ~ Bernoulli(q_t(c)g)                            mutation: q is `DRIVERS` for drivers, `PASSENGER` for other genes
    V_cg = normal(0, .15) + (+-.6 or 0 for its block of ten genes)       copy number, log2 ratio: carries no signal, on purpose

Each gene follows one factor f(g).
Ten marker genes (s_g = 1) follow each latent state L_.k, target genes (s_g = 1) follow a factor of their pathway, and the remaining genes
follow a background factor with random sign; factors other than L are plain normal.

Responses, in ln uM, with S = `SD` and the shares v of `Signals`:

    ln_ic50_cd = MEAN + S * ( sqrt(v_drug) A_d + sqrt(v_cell) B_c + sqrt(v_expression) X_cd + sqrt(v_mutation) W_cd + sqrt(v_text) T_cd + sqrt(v_noise) N_cd )

    A_d  = a_m(d)                                        potency of the compound, drawn without regard to any feature
    B_c  = sqrt(.5) b_c - sqrt(.5) L_c,proliferation     half of it is visible in expression, half in nothing
    X_cd = - mean of x_cg over G(d)                      more target, lower IC50; 0 for the two drugs whose target is DNA itself
    W_cd = - sum over g of w_P(d)g M_cg                  signed driver mutations of the pathway, `EFFECTS`; 0 for pathways without
    T_cd = - L_c,k(d)                                    the consequence k(d) is stated in the mechanism paragraph and nowhere else
    N_cd = noise; the second id of a replicate pair differs from the first by noise alone

X, W and T are centred by row and by column over all C x D pairs, so that they hold no drug or cell effect.
Then each term, in the order drug, cell, expression, mutation, text, noise, loses its projection (one number: a regression slope) on those before it,
and is scaled to mean 0 and variance 1.
So the terms are exactly uncorrelated over all pairs and the v are exact shares of S^2 there; over the `MEASURED` part of the pairs they differ by sampling.
The slopes are a few hundredths: what text alone knows does not leak through them.
Terms do not depend on the shares: setting one share to 0 takes away exactly that term, and leaves a variance of S^2 times the sum of the others.

What the consequence owes to annotation: the paragraphs stress one of several known consequences, and drugs of one class were given different ones.
A vote among the other drugs, weighted by [same pathway] + Jaccard index of the targets, names it for 18.2 % of the drugs; naming the most common one always is right for 20.0 %.
A test recomputes both.
That choice, one consequence to a drug, is part of the invention: real drugs of one class share theirs.
"""

from dataclasses import asdict, dataclass, fields
from importlib.resources import files

import numpy as np
import pandas as pd

from clmt_lib.data.benchmark import DrugResponse
from clmt_lib.data.simulated_genes import BACKGROUND, DRIVERS, EFFECTS, MARKERS, TISSUES
from clmt_lib.data.tables import DataError, read_table

MEAN, SD = 2.5, 2.5  # ln uM
MEASURED = 0.85  # share of the pairs measured
PASSENGER = 0.02  # mutation frequency of a gene that is no driver in the tissue
REPLICATES = ("Gemcitabine", "Olaparib", "Trametinib")  # compounds screened twice, under two ids
FEWEST_CELLS = 24  # so that every tissue has a line
TERMS = ("drug", "cell", "expression", "mutation", "text", "noise")
LICENCE = "simulated responses: CC BY 4.0"
SOURCE = "clmt_lib.data.simulated: real drugs, invented lines and responses"


@dataclass(frozen=True)
class Signals:
    """Share of the response variance `SD`^2 that each source holds; 0 switches a source off. They sum to at most 1."""

    drug: float = 0.60  # dominates, as in real screens
    cell: float = 0.10
    expression: float = 0.10  # expression of the targets
    mutation: float = 0.05  # driver mutations of the targets' pathway
    text: float = 0.07  # the consequence stated only in the mechanism paragraph
    noise: float = 0.08

    def __post_init__(self):
        shares = list(asdict(self).values())
        if not np.isfinite(shares).all() or min(shares) < 0 or not 0 < sum(shares) <= 1 + 1e-9:
            raise DataError(f"shares of variance {asdict(self)} are impossible", remedy="give numbers of 0 or more whose sum is above 0 and at most 1")


@dataclass(frozen=True)
class Truth:
    """What was put into a simulated world.

    Attributes
    ----------
    terms : name of the source -> [C, D] its contribution to the response, ln uM, every pair, measured or not
    measured : [C, D] which pairs the benchmark holds
    latents : [C, 7] frame of the hidden states of the lines: six consequences and proliferation
    consequence : [D] series, by drug id, of what each mechanism paragraph states
    """

    terms: dict
    measured: np.ndarray
    latents: pd.DataFrame
    consequence: pd.Series

    def expected(self, *sources):
        """[C, D] ln IC50 in ln uM of a model that knows these sources perfectly (all but noise when none is named).

        Raises
        ------
        DataError
            Unknown source.
        """
        unknown = set(sources) - set(TERMS)
        if unknown:
            raise DataError(f"unknown source of signal {sorted(unknown)[0]!r}", remedy=f"use some of: {', '.join(TERMS)}")
        return MEAN + sum(self.terms[name] for name in sources or TERMS[:-1])

    def shares(self, measured=False):
        """Variance of each term over `SD`^2: over all pairs (exact), or over the measured ones."""
        rows = self.measured if measured else np.ones_like(self.measured)
        return {name: float(term[rows].var() / SD**2) for name, term in self.terms.items()}


def facts():
    """[110] frame of the real drugs, indexed by id: name, pubchem_cid, inchikey, target, pathway, consequence, smiles, mechanism.

    Targets are HGNC symbols (or "DNA"); `consequence` is the known content of the mechanism paragraph and no column of the benchmark.

    >>> facts().loc["SD001", ["name", "target"]].to_list()
    ['5-Fluorouracil', 'TYMS']
    """
    with (files("clmt_lib.data") / "oncology_drugs.tsv").open(encoding="utf-8") as table:
        return pd.read_csv(table, sep="\t", keep_default_na=False).set_index("drug")


def load(seed=0, *, signals=Signals(), cells=240, drugs=None):
    """A simulated benchmark: the same arguments always give the same tables.

    Parameters
    ----------
    seed : int, draws everything that is invented
    signals : shares of the response variance, ln uM squared
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
    known = _truth(seed, signals, lines, table, omics, latents)
    c, d = np.nonzero(known.measured)
    y = np.round(known.expected(*TERMS)[c, d], 6)
    pairs = pd.DataFrame({"cell": lines.index[c], "drug": table.index[d], "ln_ic50": y})
    return DrugResponse.from_tables(
        "simulated", lines, table.drop(columns="consequence"), omics, pairs, trust_units=True, licence=LICENCE, source=SOURCE, simulated=True
    )


def truth(seed=0, *, signals=Signals(), cells=240, drugs=None):
    """The terms behind `load` with the same arguments, for comparing with what a model found.

    >>> known = truth(cells=24)
    >>> round(known.shares()["text"], 3)
    0.07
    """
    return _truth(seed, signals, *_entities(seed, cells, drugs))


def _rng(seed, part):
    """One generator for each part, so that no part's draws depend on the size of another."""
    return np.random.Generator(np.random.PCG64([int(seed), part]))


def _entities(seed, cells, drugs):
    """Tables of lines and drug ids, omics, and latent states: everything but the responses."""
    lines, table = _lines(cells), _drug_ids(drugs)
    tissue = pd.factorize(lines["tissue"])[0]
    latents = _latents(_rng(seed, 0), tissue, lines.index)
    pathway = _gene_pathways(facts())  # of the whole table: the genes do not change with the choice of drugs
    genes = sorted({*pathway, *BACKGROUND, *EFFECTS.columns, *(gene for row in MARKERS.values() for gene in row)})
    omics = {
        "expression": _expression(_rng(seed, 1), tissue, latents, genes, pathway),
        "mutation": _mutation(_rng(seed, 2), lines["tissue"], genes),
        "copy_number": _copy_number(_rng(seed, 3), len(lines), genes),
    }
    frames = {kind: pd.DataFrame(block, index=lines.index, columns=genes, dtype=np.float32) for kind, block in omics.items()}
    return lines, table, frames, latents
