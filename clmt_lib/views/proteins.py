"""Proteins: sequences by their short words and by alignment, kinase families, function texts, and
the names by which a text gives a target away.

Without alignment two proteins are alike when they share many words of three residues (the spectrum
kernel of Leslie, Eskin and Noble 2002). With one, when their best local alignment scores high
(Smith and Waterman 1981, affine gaps of Gotoh 1982, BLOSUM62 of Henikoff and Henikoff 1992).
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from clmt_lib.io import cache_file, read_cached, write_cached

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
GAP_OPEN, GAP_EXTEND = 11, 1  # the first residue of a gap, each further one
CHUNK = 20_000  # residues of other sequences that are aligned at once: they stay in the cache
_LETTERS = "ARNDCQEGHILKMFPSTWYVBZX"  # of BLOSUM62; any other counts as X
_BLOSUM62 = """
4
-1 5
-2 0 6
-2 -2 1 6
0 -3 -3 -3 9
-1 1 0 0 -3 5
-1 0 0 2 -4 2 5
0 -2 0 -1 -3 -2 -2 6
-2 0 1 -1 -3 0 0 -2 8
-1 -3 -3 -3 -1 -3 -3 -4 -3 4
-1 -2 -3 -4 -1 -2 -3 -4 -3 2 4
-1 2 0 -1 -3 1 1 -2 -1 -3 -2 5
-1 -1 -2 -3 -1 0 -2 -3 -2 1 2 -1 5
-2 -3 -3 -3 -2 -3 -3 -3 -1 0 0 -3 0 6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4 7
1 -1 1 0 -1 0 0 0 -1 -2 -2 0 -1 -2 -1 4
0 -1 0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1 1 5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1 1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3 2 -1 -1 -2 -1 3 -3 -2 -2 2 7
0 -3 -3 -3 -1 -2 -2 -3 -3 3 1 -2 1 -1 -2 -2 0 -3 -1 4
-2 -1 3 4 -3 0 1 -1 0 -3 -4 0 -3 -3 -2 0 -1 -4 -3 -3 4
-1 0 0 1 -3 3 4 -2 0 -3 -3 1 -1 -3 -1 0 -1 -3 -2 -2 1 4
0 -1 -1 -1 -2 -1 -1 -1 -1 -1 -1 -1 -1 -1 -2 0 0 -2 -1 -1 -1 -1 -1
"""  # lower triangle, in the order of the letters


def kmer_counts(sequences: Sequence[str | None], k: int = 3) -> np.ndarray:
    """[n, words] float64 counts of the words of `k` residues that occur in any of the sequences.

    Words with a letter that is no amino acid (X, B, Z, ...) are not counted; a missing sequence is
    a row of zeros. Columns are in alphabetical order of the words.

    >>> kmer_counts(["MKKMK", "KMKX", None], k=2).tolist()
    [[1.0, 1.0, 2.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    words: list[dict[str, int]] = []
    for sequence in sequences:
        found: dict[str, int] = {}
        text = sequence.upper() if isinstance(sequence, str) else ""
        for start in range(len(text) - k + 1):
            word = text[start : start + k]
            if all(letter in RESIDUES for letter in word):
                found[word] = found.get(word, 0) + 1
        words.append(found)
    place = {word: i for i, word in enumerate(sorted(set().union(*words)))}
    out = np.zeros((len(words), len(place)))
    for row, found in enumerate(words):
        for word, count in found.items():
            out[row, place[word]] = count
    return out


def word_cosine(a: Sequence[str], b: Sequence[str], k: int = 3) -> np.ndarray:
    """[a, b] cosine of the counts of words of `k` residues; 0 beside a sequence without any.

    >>> word_cosine(["MKM", ""], ["MKM"]).tolist()
    [[1.0], [0.0]]
    """
    counts = kmer_counts([*a, *b], k)
    counts /= np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-12)
    return counts[: len(a)] @ counts[len(a) :].T


def nonstandard(sequences: Iterable[str | None]) -> np.ndarray:
    """[n] number of letters of each sequence that are none of the twenty amino acids.

    >>> nonstandard(["MKV", "MUXB", "", None]).tolist()
    [0, 3, 0, 0]
    """
    return np.array(
        [sum(letter not in RESIDUES for letter in (text or "").upper()) for text in sequences]
    )


def blosum62() -> np.ndarray:
    """[23, 23] int32 substitution scores between the letters ARNDCQEGHILKMFPSTWYVBZX."""
    out = np.zeros((len(_LETTERS), len(_LETTERS)), dtype=np.int32)
    for row, line in enumerate(_BLOSUM62.split("\n")[1:-1]):
        out[row, : row + 1] = [int(score) for score in line.split()]
    return out + np.tril(out, -1).T


def alignment(sequences: Sequence[str | None]) -> np.ndarray:
    """[n, n] float64 similarity of sequences: the best local alignment's score over the geometric
    mean of the scores of each with itself; 1 on the diagonal, 0 with an empty sequence.

    Letters that BLOSUM62 does not have count as X (see `nonstandard`). A minute or two for a few
    hundred proteins of full length: kept by content in the cache folder.

    >>> alignment(["HEAGAWGHEE", "PAWHEAE", ""]).round(2).tolist()
    [[1.0, 0.33, 0.0], [0.33, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    texts = ["" if text is None else text.upper() for text in sequences]
    different, place = np.unique(np.array(texts, dtype=object).astype(str), return_inverse=True)
    path = cache_file("alignment", ["blosum62", f"{GAP_OPEN} {GAP_EXTEND}", *different])
    score = read_cached(path)
    if score is None or score.shape != (len(different),) * 2:
        score = local_scores(list(different))
        write_cached(path, score)
    own = np.sqrt(np.maximum(np.diag(score), 1).astype(np.float64))
    out = (score / np.outer(own, own))[np.ix_(place, place)]
    out[place[:, None] == place[None]] = 1.0
    return out


def local_scores(sequences: Sequence[str]) -> np.ndarray:
    """[n, n] int32 scores of the best local alignments of all pairs (Smith-Waterman-Gotoh).

    One sequence runs along the rows of the dynamic programme; the others lie end to end along its
    columns, so that one row of all of them is a few operations on one array. A gap that opens at
    column k and ends at j costs `GAP_OPEN` + `GAP_EXTEND` (j - k - 1): its best start is a running
    maximum of (value + extension * position), which a step between sequences keeps within each.
    """
    code = {letter: i for i, letter in enumerate(_LETTERS)}
    coded = [
        np.array([code.get(letter, code["X"]) for letter in text], dtype=np.int64)
        for text in sequences
    ]
    out = np.zeros((len(coded), len(coded)), dtype=np.int32)
    order = sorted(range(len(coded)), key=lambda i: len(coded[i]), reverse=True)
    for chunk in _chunks(order, coded):
        joined = _EndToEnd([coded[i] for i in chunk])
        first = order.index(chunk[0])
        for query in order[: first + len(chunk)]:  # the longer ones, and those of the chunk
            found = joined.scores(coded[query])
            out[query, chunk] = found
            out[chunk, query] = found
    return out


def _chunks(order: list[int], coded: list[np.ndarray]) -> Iterator[list[int]]:
    """Places of sequences that are not empty, in groups of about `CHUNK` residues."""
    group: list[int] = []
    size = 0
    for i in order:
        if not len(coded[i]):
            continue
        group.append(i)
        size += len(coded[i])
        if size >= CHUNK:
            yield group
            group, size = [], 0
    if group:
        yield group


class _EndToEnd:
    """Sequences end to end, ready to be aligned with one other."""

    def __init__(self, coded: list[np.ndarray]) -> None:
        lengths = np.array([len(part) for part in coded])
        self.starts = np.cumsum(lengths) - lengths
        self.profile = blosum62()[:, np.concatenate(coded)]  # [letters, residues]
        # more than any score and any extension: what belongs to one sequence stays below the next
        step = int(12 * lengths.max() + GAP_EXTEND * lengths.sum() + GAP_OPEN + 1)
        position = GAP_EXTEND * np.arange(lengths.sum())
        self.offset = (position + step * np.repeat(np.arange(len(coded)), lengths)).astype(np.int64)
        if self.offset.max() + step < np.iinfo(np.int32).max:
            self.offset = self.offset.astype(np.int32)

    def scores(self, query: np.ndarray) -> np.ndarray:
        """[sequences] score of the best local alignment of each with `query`."""
        size, kind = self.profile.shape[1], self.offset.dtype
        h, best = np.zeros(size, dtype=kind), np.zeros(size, dtype=kind)
        down = np.full(size, -GAP_OPEN, dtype=kind)  # gaps along the query
        t, across, spare = (np.empty(size, dtype=kind) for _ in range(3))
        back = self.offset[1:] + kind.type(GAP_OPEN - GAP_EXTEND)
        for letter in query:
            row = self.profile[letter]
            np.subtract(down, GAP_EXTEND, out=down)
            np.subtract(h, GAP_OPEN, out=spare)
            np.maximum(down, spare, out=down)
            np.add(h[:-1], row[1:], out=t[1:])
            t[self.starts] = row[self.starts]  # nothing comes before a sequence's first residue
            np.maximum(t, down, out=t)
            np.maximum(t, 0, out=t)
            np.add(t, self.offset, out=spare)
            np.maximum.accumulate(spare, out=across)
            np.subtract(across[:-1], back, out=spare[1:])
            h[0] = t[0]
            np.maximum(t[1:], spare[1:], out=h[1:])
            np.maximum(best, h, out=best)
        return np.maximum.reduceat(best, self.starts).astype(np.int32)


def composition(sequences: Sequence[str | None]) -> np.ndarray:
    """[n, 21] share of each of the twenty amino acids, and the logarithm of 1 + length.

    >>> composition(["MM", ""])[:, [10, 20]].round(2).tolist()
    [[1.0, 1.1], [0.0, 0.0]]
    """
    texts = [(text or "").upper() for text in sequences]
    shares = [
        [text.count(letter) / max(len(text), 1) for letter in RESIDUES] + [np.log1p(len(text))]
        for text in texts
    ]
    return np.array(shares, dtype=np.float64)


def same_label(labels: Iterable[object]) -> np.ndarray:
    """[n, n] 1 where two entities have one label (a kinase group or family), 0 where they differ or
    either has none.
    """
    codes = pd.factorize(pd.Series(list(labels), dtype=object))[0]
    return ((codes[:, None] == codes[None]) & (codes >= 0)[:, None]).astype(np.float64)


def names_of(proteins: pd.DataFrame) -> set[str]:
    """Lower-case names by which a text can give proteins away: genes, their stems without digits
    (EGFR, MAP2K), words of protein names with a digit, kinase groups and families.
    """
    found: set[str] = set()
    for gene in proteins.get("gene", pd.Series(dtype=object)).dropna():
        found |= {gene.lower(), re.sub(r"[0-9]+[a-z]?$", "", gene.lower())}
    for column in ("group", "family"):
        for name in proteins.get(column, pd.Series(dtype=object)).dropna().unique():
            found |= {name.lower(), re.sub(r"[0-9]+$", "", name.lower())}
    for name in proteins.get("protein_name", pd.Series(dtype=object)).dropna().unique():
        words = re.findall(r"[a-z0-9-]+", name.lower())
        found |= {word for word in words if any(letter.isdigit() for letter in word)}
    return {name for name in found if len(name) > 1}


ALIASES = frozenset(
    """mek erk raf ras p38 jnk vegfr pdgfr fgfr egfr her2 her3 kit c-kit flt3 flt src abl bcr-abl
    bcr alk met c-met ros trk ret aurora plk cdk chk gsk akt pkb pi3k mtor rock pkc pka jak btk syk
    fak igf igf-1r igfr insulin csf1r tie2 dna-pk atm atr wee1 casein tyrosine serine threonine
    cyclin-dependent glycogen rho-associated mitogen-activated map protein growth factor
    receptor epidermal vascular endothelial platelet-derived fibroblast hepatocyte""".split()
)  # usual names of kinases and families in mechanism words, which no gene symbol spells


def struck(text: str, names: Iterable[str]) -> str:
    """Mechanism words without any that names a target: "MEK inhibitor" is "inhibitor".

    Parameters
    ----------
    names : lower-case words to strike (`names_of`), beside the usual `ALIASES`

    >>> struck("MEK inhibitor; EGFR1 inhibitor; microtubule inhibitor", {"egfr"})
    'inhibitor; inhibitor; microtubule inhibitor'
    """
    known = set(names) | ALIASES

    def kept(word: str) -> bool:
        plain = word.lower().strip(",()")
        return plain not in known and re.sub(r"[0-9]+[a-z]?$", "", plain) not in known

    parts = [" ".join(filter(kept, part.split())) for part in text.split(";")]
    return "; ".join(part for part in parts if part)
