"""Protein sequences as counts of short words.

No alignment: two proteins are alike when they share many words of three residues (the spectrum
kernel of Leslie, Eskin and Noble 2002).
"""

from collections.abc import Sequence

import numpy as np

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


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
