"""A world of invented molecules with profiles, in which it is known what a profile shares with a
structure, what it shares with other profiles alone, and what it keeps for itself (chapter
profiles).

Nothing in it is real: fingerprints, profiles and labels are drawn from the model written down here.

Symbols: molecule i of n, feature f of a space v ("morphology", "expression"), assay t.
All draws are standard normal and independent unless said otherwise.

Structures::

    x_i   0/1 bits: `SCAFFOLD_BITS` that come with the scaffold of i, and each other bit with
          probability `SUBSTITUENT`; where libraries differ in their profiles, those of the second
          also share the first `MOTIF` bits, as molecules that were made in one way do

Latent states, `LATENTS` of each kind::

    G = a sparse linear function of the bits             what structure shows
    H                                                    what only profiles show
    B = sqrt(visible) G + sqrt(1 - visible) H            biology: what profiles and labels share
    P_v                                                  what space v keeps for itself
    L                                                    +-1, which of two libraries i is from;
                                                         libraries have scaffolds of their own

G, H, L, P_morphology and P_expression are made exactly uncorrelated over all molecules, in this
order, with mean 0 and variance 1.

Profiles, with the shares of `Shares`; W and V are loadings whose columns have length 1::

    profile_if = sqrt(shared) (B W)_if + sqrt(private) (P_v V)_if + sqrt(library) L_i s_f
                 + sqrt(noise) E_if

E is uncorrelated with all latent states, so the shares are exact shares of the variance of every
feature over all molecules, before some of the profiles are taken away. Setting one to 0 takes away
that term and nothing else. A profile is the mean of two replicates, which differ from it by
+- sqrt(noise) D_if. Feature 0 of morphology is the count of cells: it reads the first state
of B alone, as poisoned cells die whatever the mechanism.

Labels::

    y_it = 1 for the `ACTIVE` share of molecules with the largest
           sqrt(told) (B w_t)_i + sqrt(1 - told) e_it

The first `TOXIC` of the assays read the first state of B, the cell count; the others read any
direction of B. A label never reads P or L: whatever of these enters an embedding is ballast.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.io import DataError

SPACES = {"morphology": 60, "expression": 80}  # name: features
BITS, SCAFFOLDS, SCAFFOLD_BITS, SUBSTITUENT = 128, 40, 8, 0.12
LATENTS = 6  # of each kind
MOTIF = 6  # bits that tell two libraries apart, where they differ in profiles
READ_BITS = 12  # bits that one state of G depends on
ASSAYS, TOXIC, ACTIVE, TOLD, GAPS = 10, 3, 0.3, 0.7, 0.3
LABELLED = 0.6  # share of the molecules that have labels
HAVE = {"morphology": 0.5, "expression": 0.4}  # share of the molecules that have a profile
TWINS = 0.03  # share of the molecules that are there under a second id
LICENCE = "invented for this book; no measured value"
SOURCE = "clmt_lib.data.profiles.simulated"


@dataclass(frozen=True)
class Shares:
    """What the variance of a profile is made of.

    Attributes
    ----------
    shared, private, library, noise : at most 1 together; one set to 0 takes that term away
    visible : share of the shared states that structure shows
    told : share of a label's liability that the shared states tell

    Raises
    ------
    DataError
        A share outside 0 to 1, or more than 1 together.
    """

    shared: float = 0.35
    private: float = 0.35
    library: float = 0.0
    noise: float = 0.30
    visible: float = 0.6
    told: float = TOLD

    def __post_init__(self) -> None:
        """Raises DataError as the class says."""
        parts = self.shared + self.private + self.library + self.noise
        if not all(0 <= value <= 1 for value in vars(self).values()) or parts > 1 + 1e-9:
            raise DataError(
                f"shares {vars(self)}",
                remedy="give shares of 0 to 1; shared, private, library and noise at most 1 in all",
            )


@dataclass(frozen=True, eq=False)
class World:
    """A benchmark of molecules x assays whose molecules have profiles, and what is behind it.

    Attributes
    ----------
    benchmark : side "molecule" has the views "fingerprint" and one for each feature space, present
        or missing, and the keys "compound", "scaffold" and "library"
    replicates : space -> [2 rows a profile] frame indexed by molecule, columns `replicate` and the
        features
    shared, structure : [n, LATENTS] B and G of the equations
    private : space -> [n, LATENTS] P
    complete : space -> [n, features] profiles before some of them were taken away
    hidden : [n, LATENTS] H
    """

    benchmark: Benchmark
    replicates: dict[str, pd.DataFrame]
    shared: np.ndarray
    structure: np.ndarray
    private: dict[str, np.ndarray]
    complete: dict[str, np.ndarray]
    hidden: np.ndarray

    def told(self, z: np.ndarray, space: str, rows: np.ndarray) -> dict[str, float]:
        """What share of the variance of some vectors the known states tell, by least squares over
        `rows`: "visible" (what structure shows of B), "hidden" (the rest of B), "private" (P of the
        space). A few per cent are chance: eighteen states explain something of any hundred rows.

        Parameters
        ----------
        z : [n, dim] embeddings or profiles of all molecules
        """
        parts = {"visible": self.structure, "hidden": self.hidden, "private": self.private[space]}
        x = np.hstack([part[rows] - part[rows].mean(0) for part in parts.values()])
        y = z[rows] - z[rows].mean(0)
        weights = np.linalg.lstsq(x, y, rcond=None)[0]
        out, at = {}, 0
        for name, part in parts.items():
            own = slice(at, at + part.shape[1])
            out[name] = float((x[:, own] @ weights[own]).var(0).sum() / y.var(0).sum())
            at += part.shape[1]
        return out


def load(seed: int = 0, **options: object) -> Benchmark:
    """The benchmark of `world` with the same arguments.

    >>> load(molecules=200)
    <Benchmark simulated_profiles: 206 molecules x 10 assays, 883 pairs>
    """
    return world(seed, **options).benchmark  # type: ignore[arg-type]


def world(
    seed: int = 0,
    *,
    shares: Shares = Shares(),
    molecules: int = 800,
    both: float = 0.1,
    labelled: float = LABELLED,
) -> World:
    """Draw a world.

    Parameters
    ----------
    molecules : different ones; `TWINS` of them are there under a second id, with profiles and
        labels of their own
    both : share of the molecules that have a profile in either space; `HAVE` stays what it is
    labelled : share of the molecules that have labels

    Raises
    ------
    DataError
        Too few molecules, or a share of molecules with both profiles that `HAVE` does not allow.
    """
    if molecules < 100:
        raise DataError(f"{molecules} molecules are too few", remedy="ask for 100 or more")
    least, most = max(0.0, sum(HAVE.values()) - 1), min(HAVE.values())
    if not least <= both <= most:
        raise DataError(f"both={both}", remedy=f"use {least:g} to {most:g}")
    frame, bits = _structures(_rng(seed, 0), molecules, shares.library > 0)
    n, rng = len(frame), _rng(seed, 1)
    twin = np.unique(frame["compound"], return_inverse=True)[1]  # twins share every state
    states = _states(rng, bits, np.where(frame["library"] == "first", 1.0, -1.0), twin)
    shared = np.sqrt(shares.visible) * states["G"] + np.sqrt(1 - shares.visible) * states["H"]
    present, views = _presence(_rng(seed, 2), n, both), {"fingerprint": bits}
    replicates, complete = {}, {}
    everything = np.hstack(list(states.values()))
    for number, (space, features) in enumerate(SPACES.items()):
        parts = {"shared": shared, "private": states[space], "library": states["L"]}
        mean, apart = _profile(_rng(seed, 10 + number), parts, everything, shares, features, space)
        columns, complete[space] = _columns(space, features), mean
        there = present[space]
        views[space] = pd.DataFrame(
            np.where(there[:, None], mean, 0.0), frame.index, columns, dtype=np.float32
        )
        rows = [
            pd.DataFrame((mean + sign * apart)[there], frame.index[there], columns).assign(
                replicate=i
            )
            for i, sign in ((1, 1.0), (2, -1.0))
        ]
        replicates[space] = pd.concat(rows)
    side = Side(
        "molecule",
        frame,
        views,
        present,
        {"compound": "compound", "scaffold": "scaffold", "library": "library"},
        identity="compound",
    )
    benchmark = _labels(_rng(seed, 3), side, shared, shares.told, labelled)
    private = {space: states[space] for space in SPACES}
    return World(benchmark, replicates, shared, states["G"], private, complete, states["H"])


def _rng(seed: int, part: int) -> np.random.Generator:
    """One generator for each part, so that no part's draws depend on the size of another."""
    return np.random.Generator(np.random.PCG64([int(seed), part]))


def _structures(rng: np.random.Generator, n: int, motif: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """([n + twins] frame of molecules, [n + twins, BITS] uint8)."""
    own = np.array([rng.choice(BITS, SCAFFOLD_BITS, replace=False) for _ in range(SCAFFOLDS)])
    scaffold = rng.integers(0, SCAFFOLDS, n)
    bits = (rng.random((n, BITS)) < SUBSTITUENT).astype(np.uint8)
    bits[np.arange(n)[:, None], own[scaffold]] = 1
    if motif:
        bits[np.ix_(scaffold % 2 == 1, np.arange(MOTIF))] = 1
    names = np.array([f"M{i:04d}" for i in range(n)])
    again = np.sort(rng.choice(n, round(TWINS * n), replace=False))
    ids = np.concatenate([names, [f"{name}-2" for name in names[again]]])
    order = np.argsort(ids, kind="stable")
    rows = np.concatenate([np.arange(n), again])[order]
    frame = pd.DataFrame(
        {
            "name": ids[order],
            "compound": names[rows],
            "scaffold": [f"S{i:02d}" for i in scaffold[rows]],
            "library": np.where(scaffold[rows] % 2 == 0, "first", "second"),
        },
        index=pd.Index(ids[order], name="molecule"),
    )
    return frame, bits[rows]


def _states(
    rng: np.random.Generator, bits: np.ndarray, library: np.ndarray, twin: np.ndarray
) -> dict[str, np.ndarray]:
    """name -> [n, states], exactly uncorrelated, mean 0 and variance 1."""
    weights = np.zeros((BITS, LATENTS))
    for state in range(LATENTS):
        read = rng.choice(BITS, READ_BITS, replace=False)
        weights[read, state] = rng.standard_normal(READ_BITS)
    n, different = len(bits), twin.max() + 1
    parts = {"G": bits @ weights, "H": rng.standard_normal((different, LATENTS))[twin]}
    parts["L"] = library[:, None]
    for space in SPACES:
        parts[space] = rng.standard_normal((different, LATENTS))[twin]
    table = np.hstack([np.ones((n, 1)), *parts.values()])
    q, r = np.linalg.qr(table)
    found = q * np.sign(np.diag(r)) * np.sqrt(n)  # column 0 is the mean, and is 1
    at = np.cumsum([1] + [part.shape[1] for part in parts.values()])
    return {name: found[:, a:b] for name, a, b in zip(parts, at[:-1], at[1:])}


def _profile(
    rng: np.random.Generator,
    parts: dict[str, np.ndarray],
    states: np.ndarray,
    shares: Shares,
    features: int,
    space: str,
) -> tuple[np.ndarray, np.ndarray]:
    """([n, features] profiles, [n, features] half the difference of two replicates)."""
    out = np.zeros((len(states), features))
    for name, latent in parts.items():
        loads = rng.standard_normal((latent.shape[1], features))
        if name == "shared" and space == "morphology":
            loads[:, 0] = np.eye(latent.shape[1])[0]
        out += np.sqrt(getattr(shares, name)) * latent @ (loads / np.linalg.norm(loads, axis=0))
    noise = rng.standard_normal(out.shape)
    known = np.hstack([np.ones((len(states), 1)), states])
    noise -= known @ np.linalg.lstsq(known, noise, rcond=None)[0]
    scale = np.sqrt(shares.noise)
    return out + scale * noise / noise.std(0), scale * rng.standard_normal(out.shape)


def _columns(space: str, features: int) -> list[str]:
    names = [f"{space}_{i:02d}" for i in range(features)]
    return ["cell_count", *names[1:]] if space == "morphology" else names


def _presence(rng: np.random.Generator, n: int, both: float) -> dict[str, np.ndarray]:
    """space -> [n] bool."""
    first, second = (round(share * n) for share in HAVE.values())
    twice = round(both * n)
    order = rng.permutation(n)
    found = {name: np.zeros(n, dtype=bool) for name in SPACES}
    found["morphology"][order[:first]] = True
    found["expression"][order[first - twice : first - twice + second]] = True
    return found


def _labels(
    rng: np.random.Generator, side: Side, shared: np.ndarray, told: float, labelled: float
) -> Benchmark:
    """Molecules x assays, `ACTIVE` of the values 1."""
    n = len(side)
    reads = rng.standard_normal((LATENTS, ASSAYS))
    reads[:, :TOXIC] = np.eye(LATENTS)[:, :1]
    liability = np.sqrt(told) * shared @ (reads / np.linalg.norm(reads, axis=0))
    liability += np.sqrt(1 - told) * rng.standard_normal((n, ASSAYS))
    active = liability > np.quantile(liability, 1 - ACTIVE, axis=0)
    seen = (rng.random((n, 1)) < labelled) & (rng.random((n, ASSAYS)) > GAPS)
    names = [f"toxicity {i + 1}" if i < TOXIC else f"target {i + 1 - TOXIC}" for i in range(ASSAYS)]
    assays = Side("assay", pd.DataFrame({"name": names}, index=pd.Index(names, name="assay")))
    pairs = np.argwhere(seen)
    return Benchmark(
        "simulated_profiles",
        (side, assays),
        pairs.astype(np.int64),
        active[seen].astype(np.float64),
        np.zeros(len(pairs), dtype=bool),
        task="labels",
        target="active",
        units="1 active, 0 inactive",
        licence=LICENCE,
        source=SOURCE,
        simulated=True,
    )
