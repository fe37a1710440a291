"""The bundled world of drugs and proteins: invented entities that match by what cannot be seen, and
modalities that show parts of it, more or less reliably, where they are not missing (the UMME
chapter).

Nothing in it is a real drug or protein. It is there to ask what a model makes of modalities whose
worth is known, because it was made.

Symbols: drug d, protein p, modality m of the drugs. All draws are standard normal and independent.

    u_d = (u_d0, u_d1, ..., u_dM), v_p likewise: blocks of `BLOCK` latent traits; block 0 is seen by
    every modality of a drug, block m by modality m alone
    match_dp = sum over blocks b of sqrt(s_b) u_db . v_pb / sqrt(BLOCK), the shares s_b sum to 1
    x_dm = sqrt(r_m) (u_d0, u_dm) W_m + sqrt(1 - r_m) e_dm W_m + TEXTURE n_dm        what modality m
    shows of a drug: the same traits with the weight of its reliability r_m, e its own error
    x_pm = sqrt(r_m) v_p W_m + ...                          a protein's modalities show all of v
    y_dp = MEAN + SD (sqrt(.1) drug_d + sqrt(.1) protein_p + sqrt(.7) match_dp + sqrt(.1) noise_dp)

A modality that is alone explains r_m (s_0 + s_m) of the match: that is what it is `worth`.

A drug lacks modality m with the probability `missing[m]`; "informative" missingness makes it
likelier for a weak drug (by the logit, `STRENGTH` times its level), as databases know more of drugs
that work.

In the truth "barcode" the last modality is a random code of the drug, with the highest reliability
there can be and no share in the match: it says who the drug is, and nothing of what it does. Half
of the variance there is the drug's own level, which no modality shows and only a measurement tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.io import DataError

MEAN, SD = 6.5, 1.2  # of a pKd
BLOCK = 2  # traits a block
FEATURES, TEXTURE = 12, 0.2  # of each modality: columns, and the spread of what means nothing
SHARES = {"drug": 0.1, "protein": 0.1, "match": 0.7, "noise": 0.1}
CODE = 128  # numbers of a barcode: as good as a column a drug
MEASURED = 0.6  # share of the pairs
STRENGTH = 1.5
OF_DRUGS = ("structure", "words", "genes", "assays")
OF_PROTEINS = ("residues", "roles")
MISSING = ("random", "informative")


@dataclass(frozen=True)
class Truth:
    """How a world was made.

    Attributes
    ----------
    reliability : modality -> share of the variance of what it shows that is signal
    share : block -> share of the match; "common" is block 0
    missing : modality of drugs -> share of drugs without it
    barcode : modality that names the drug and shows nothing of it, or ""
    terms : share of the variance of y of the drug's level, the protein's, the match and the noise
    """

    reliability: Mapping[str, float]
    share: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType(
            {"common": 0.6, **dict.fromkeys(OF_DRUGS, 0.1)},
        )
    )
    missing: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType(
            {"structure": 0.0, "words": 0.3, "genes": 0.5, "assays": 0.4},
        )
    )
    barcode: str = ""
    terms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType(SHARES))

    @property
    def worth(self) -> dict[str, float]:
        """Modality of drugs -> share of the match that it alone explains."""
        common = self.share["common"]
        return {
            name: 0.0
            if name == self.barcode
            else self.reliability[name] * (common + self.share[name])
            for name in OF_DRUGS
        }


def _truth(*reliability: float, **more: object) -> Truth:
    known = dict(zip(OF_DRUGS, reliability, strict=True))
    return Truth({**known, "residues": 0.9, "roles": 0.5}, **more)  # type: ignore[arg-type]


_SHIFTED = {"common": 0.4, "structure": 0.2, "words": 0.2, "genes": 0.2, "assays": 0.0}
_LEVELS = {"drug": 0.5, "protein": 0.1, "match": 0.3, "noise": 0.1}
TRUTHS = {
    "structure": _truth(0.95, 0.7, 0.4, 0.1),
    "words": _truth(0.4, 0.95, 0.1, 0.7),
    "genes": _truth(0.7, 0.1, 0.95, 0.4),
    "barcode": _truth(0.6, 0.6, 0.6, 1.0, barcode="assays", share=_SHIFTED, terms=_LEVELS),
}


def load(
    seed: int = 0,
    truth: str = "structure",
    missing: str = "random",
    rate: float = 1.0,
    drugs: int = 300,
    proteins: int = 40,
) -> Benchmark:
    """A world of proteins x drugs.

    Parameters
    ----------
    seed : another seed is another world of the same truth
    truth : a name in `TRUTHS`
    missing : "random" or "informative", of a drug's modalities
    rate : factor on the shares of drugs that lack a modality; 0 is a world without gaps
    drugs, proteins : how many there are

    Raises
    ------
    DataError
        Unknown truth or kind of missingness, a rate that is no share, a world too small to split.
    """
    if truth not in TRUTHS:
        raise DataError(f"unknown truth {truth!r}", remedy=f"use one of: {', '.join(TRUTHS)}")
    if missing not in MISSING:
        raise DataError(f"unknown missingness {missing!r}", remedy=f"use {' or '.join(MISSING)}")
    most = max(TRUTHS[truth].missing.values())
    if not 0 <= rate * most < 1:
        raise DataError(f"a rate of {rate:g}", remedy=f"use 0 or more, and less than {1 / most:g}")
    if min(drugs, proteins) < 20:
        raise DataError(f"{proteins} proteins and {drugs} drugs", remedy="use at least 20 of each")
    made, rng = TRUTHS[truth], np.random.default_rng([seed, 8])
    width = BLOCK * (1 + len(OF_DRUGS))
    u, v = rng.standard_normal((drugs, width)), rng.standard_normal((proteins, width))
    y, level = _affinities(made, u, v, rng)
    blocks = {
        name: np.r_[0:BLOCK, BLOCK * i : BLOCK * (i + 1)] for i, name in enumerate(OF_DRUGS, 1)
    }
    views = {}
    for name in OF_DRUGS:
        views[name] = _shown(u[:, blocks[name]], made.reliability[name], rng)
        if name == made.barcode:  # nothing in it but who it is
            views[name] = np.random.default_rng([seed, 9]).standard_normal((drugs, CODE))
    present = {
        name: _present(
            made.missing[name] * rate, level if missing == "informative" else None, drugs, rng
        )
        for name in OF_DRUGS
    }
    of_proteins = {name: _shown(v, made.reliability[name], rng) for name in OF_PROTEINS}
    seen = rng.random((proteins, drugs)) < MEASURED
    row, column = np.nonzero(seen)
    sides = (
        _side("protein", proteins, of_proteins, {}),
        _side("drug", drugs, views, present),
    )
    names = [side.ids.to_numpy() for side in sides]
    values = pd.DataFrame(
        {"protein": names[0][row], "drug": names[1][column], "y": y[row, column].round(4)}
    )
    return Benchmark.from_ids(
        "interactions",
        sides,
        values,
        task="affinity",
        target="pkd",
        units="pKd, invented",
        licence="invented; free to use",
        source="clmt_lib.data.interaction.simulated",
        simulated=True,
    )


def _affinities(
    made: Truth, u: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """([proteins, drugs] pKd, [drugs] level of each drug)."""
    share = np.repeat([made.share[name] for name in ("common", *OF_DRUGS)], BLOCK)  # [width]
    match = (v * np.sqrt(share / BLOCK)) @ u.T  # [proteins, drugs], variance about 1
    level, sites = rng.standard_normal(len(u)), rng.standard_normal(len(v))
    noise = rng.standard_normal(match.shape)
    terms = {"drug": level[None], "protein": sites[:, None], "match": match, "noise": noise}
    total = sum(np.sqrt(made.terms[name]) * term for name, term in terms.items())
    return MEAN + SD * np.asarray(total), level


def _shown(hidden: np.ndarray, reliability: float, rng: np.random.Generator) -> np.ndarray:
    """[n, FEATURES] what a modality shows of hidden traits [n, traits]."""
    error = rng.standard_normal(hidden.shape)
    seen = np.sqrt(reliability) * hidden + np.sqrt(1 - reliability) * error
    mix = rng.standard_normal((hidden.shape[1], FEATURES)) / np.sqrt(hidden.shape[1])
    return seen @ mix + TEXTURE * rng.standard_normal((len(hidden), FEATURES))


def _present(
    share: float, level: np.ndarray | None, n: int, rng: np.random.Generator
) -> np.ndarray:
    """[n] bool: who has a modality that a share of the drugs lacks."""
    draw = rng.random(n)
    if level is None or not 0 < share < 1:
        return draw >= share
    odds = np.log((1 - share) / share) + STRENGTH * level
    return draw < 1 / (1 + np.exp(-odds))


def _side(name: str, n: int, views: Mapping[str, np.ndarray], present: Mapping) -> Side:
    ids = pd.Index([f"{name[0].upper()}{i:03}" for i in range(n)], name=name)
    frame = pd.DataFrame({"name": [f"{name} {i}" for i in range(n)]}, index=ids)
    tables = {
        view: pd.DataFrame(
            np.where(present[view][:, None], x, 0.0) if view in present else x,
            index=ids,
            columns=[f"{view} {i}" for i in range(x.shape[1])],
        ).round(4)
        for view, x in views.items()
    }
    return Side(name, frame, views=tables, present=dict(present))
