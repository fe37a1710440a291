"""Drug response as language: a label in words, and the sentence it completes (chapter "Drug
response as language"; Li et al. 2024).

A response becomes a number from 0 to 1, the number becomes words, digit by digit, and a pair
becomes "the drug response value between {SMILES} and {line} is". The sentence has a drug's part,
which comes first, and a line's part, so that each part is written once an entity.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from clmt_lib.io import DataError
from clmt_lib.views.descriptions import describe_cells, describe_drugs

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SLOPE = 0.1  # of the label in ln IC50: that of the paper
PRECISION = 3  # decimals of a label that are spelt
NUMBERS = 10**PRECISION + 1  # 0.000 to 1.000
IDENTITIES = ("published", "entity", "facts")
PAD, UNKNOWN, END = 0, 1, 2
SPECIAL = ("<pad>", "<unknown>", "<end>")
# what is one symbol in a SMILES: a bracket atom, an element of two letters, a ring number of two
# digits, else one character
SMILES_TOKEN = re.compile(r"\[[^\]]*\]|Br|Cl|%\d\d|.")
# a line is called "NCI-H2227": runs of letters, single digits, single signs
WORD_TOKEN = re.compile(r"[a-z]+|\d|[^\sa-z\d]")


def labels(ln_ic50: ArrayLike, slope: float = SLOPE) -> np.ndarray:
    """[n] responses on the paper's scale, 1 / (1 + exp(-slope ln IC50)), in (0, 1).

    A response that is not a number stays one; `codes` refuses it.

    >>> labels([0.0, 2.0]).round(3).tolist()
    [0.5, 0.55]
    """
    x = slope * np.asarray(ln_ic50, dtype=np.float64)
    return 0.5 * (1 + np.tanh(0.5 * x))  # no overflow, whatever x


def from_labels(y: ArrayLike, slope: float = SLOPE) -> np.ndarray:
    """[n] ln IC50 of labels; a label of 0 or 1 counts as one step of rounding away from it.

    >>> from_labels(labels([-3.0, 4.0])).round(6).tolist()
    [-3.0, 4.0]
    """
    edge = 0.5 / (NUMBERS - 1)
    y = np.clip(np.asarray(y, dtype=np.float64), edge, 1 - edge)
    return (np.log(y) - np.log1p(-y)) / slope


def codes(y: ArrayLike) -> np.ndarray:
    """[n] int64 thousandths of labels, 0 to 1000: which number text a label is read as.

    >>> codes([0.4631, 0.9996, 0.0]).tolist()
    [463, 1000, 0]

    Raises
    ------
    DataError
        A label that is not a number from 0 to 1.
    """
    y = np.asarray(y, dtype=np.float64).ravel()
    wrong = ~((y >= 0) & (y <= 1))  # NaN, too
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"label {at} is {y[at]:g}, not a number from 0 to 1",
            remedy="transform responses with views.captions.labels, and leave out missing ones",
        )
    return np.rint(y * (NUMBERS - 1)).astype(np.int64)


def number_words(code: int, *, wraps: bool = False) -> str:
    """A number of thousandths in words, digit by digit.

    Parameters
    ----------
    code : 0 to 1000
    wraps : 1.000 is read as 0.000, as in the authors' code, which spells the decimals alone

    >>> number_words(463), number_words(1000)
    ('zero point four six three', 'one point zero zero zero')

    Raises
    ------
    DataError
        No such number.
    """
    if not 0 <= code < NUMBERS:
        raise DataError(f"no number {code} / 1000 in words", remedy="use 0 to 1000")
    whole, decimals = divmod(code, NUMBERS - 1)
    digits = f"{decimals:0{PRECISION}d}"
    spelt = [DIGITS[int(digit)] for digit in digits]
    return " ".join([DIGITS[0 if wraps else whole], "point", *spelt])


def words(text: str) -> list[str]:
    """Tokens of a text that is no SMILES.

    >>> words("and NCI-H22 is")
    ['and', 'nci', '-', 'h', '2', '2', 'is']
    """
    return WORD_TOKEN.findall(text.lower())


def smiles_tokens(smiles: str) -> list[str]:
    """Tokens of a SMILES.

    >>> smiles_tokens("C[C@H](Cl)c1")
    ['C', '[C@H]', '(', 'Cl', ')', 'c', '1']
    """
    return SMILES_TOKEN.findall(smiles.strip())


def drug_parts(drugs: pd.DataFrame, identity: str) -> list[list[str]]:
    """[D] tokens of the drugs' part of a caption, which comes first.

    Parameters
    ----------
    drugs : frame with `smiles`, and for facts what `descriptions.describe_drugs` reads
    identity : "published": the SMILES; "entity": the position as a token of its own; "facts": what
        is known of the drug. A drug without structure, or without facts, is "a drug"

    Raises
    ------
    DataError
        Unknown identity.
    """
    _check(identity)
    if identity == "entity":
        middle = [[f"<drug {i}>"] for i in range(len(drugs))]
    elif identity == "facts":
        texts = describe_drugs(drugs, "annotation")
        middle = [words(text or "a drug") for text in texts]
    else:
        middle = [
            smiles_tokens(text) if isinstance(text, str) and text.strip() else words("a drug")
            for text in drugs["smiles"]
        ]
    return [[*words("the drug response value between"), *tokens, "and"] for tokens in middle]


def line_parts(cells: pd.DataFrame, identity: str) -> list[list[str]]:
    """[C] tokens of the lines' part of a caption, which comes second; `identity` as in
    `drug_parts`, where the published one is the line's name.
    """
    _check(identity)
    if identity == "entity":
        middle = [[f"<line {i}>"] for i in range(len(cells))]
    elif identity == "facts":
        middle = [words(text or "a line") for text in describe_cells(cells, "annotation", {})]
    else:
        middle = [words(str(name)) for name in cells["name"]]
    return [[*tokens, "is"] for tokens in middle]


def _check(identity: str) -> None:
    if identity not in IDENTITIES:
        raise DataError(
            f"unknown identity {identity!r} of a caption",
            remedy=f"use {', '.join(IDENTITIES)}; leave the caption out to have none",
        )


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts as integers.

    Attributes
    ----------
    ids : [n, longest] int64, `PAD` after the end of a text
    length : [n] int64 tokens of each text
    unknown : tokens that the tokeniser had never seen
    cut : texts that were longer than the context
    """

    ids: np.ndarray
    length: np.ndarray
    unknown: int = 0
    cut: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Tokeniser:
    """Every token of the training texts is a number; another one is `UNKNOWN`, and counted.

    Attributes
    ----------
    vocabulary : tokens in the order of their numbers, the special ones first

    >>> tokeniser = Tokeniser.fitted([["zero", "point", "one"]])
    >>> found = tokeniser.encode([["zero", "point", "two"]])
    >>> found.ids.tolist(), found.unknown
    ([[3, 4, 1]], 1)
    """

    vocabulary: tuple[str, ...] = SPECIAL
    _place: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._place.update((token, i) for i, token in enumerate(self.vocabulary))

    def __len__(self) -> int:
        return len(self.vocabulary)

    @classmethod
    def fitted(cls, texts: Iterable[Sequence[str]]) -> Self:
        """From the tokens of the training texts, in the order in which they are met."""
        known = dict.fromkeys(token for text in texts for token in text)
        return cls((*SPECIAL, *(token for token in known if token not in SPECIAL)))

    def encode(
        self, texts: Sequence[Sequence[str]], context: int | None = None, *, end: bool = False
    ) -> Tokens:
        """Numbers of the tokens of n texts.

        Parameters
        ----------
        context : most tokens of a text; a longer one loses its last, and is counted
        end : put `END` after each text, within the context

        Raises
        ------
        DataError
            A text without any token, or a context that holds none.
        """
        room = None if context is None else context - end
        if room is not None and room < 1:
            raise DataError(f"a context of {context} tokens", remedy="make room for a token")
        empty = [i for i, text in enumerate(texts) if not len(text)]
        if empty:
            raise DataError(f"text {empty[0]} has no token", remedy="leave it out, or give a word")
        kept = [list(text)[:room] for text in texts]
        rows = [[self._place.get(t, UNKNOWN) for t in text] + [END] * end for text in kept]
        length = np.array([len(row) for row in rows], dtype=np.int64)
        ids = np.full((len(rows), int(length.max(initial=1))), PAD, dtype=np.int64)
        for row, found in zip(ids, rows, strict=True):
            row[: len(found)] = found
        return Tokens(
            ids,
            length,
            unknown=int(sum(row.count(UNKNOWN) for row in rows)),
            cut=sum(len(text) > len(short) for text, short in zip(texts, kept, strict=True)),
        )


@dataclass(frozen=True, eq=False)
class Captions:
    """The captions of all pairs of a benchmark, in two parts, and the number texts.

    Attributes
    ----------
    numbers : 1,001 texts
    drug, line : the first part of a caption for each drug, the second for each line; None without
        identity
    identity : what stands in a caption
    tokeniser : fitted on the training entities' parts and the numbers
    """

    numbers: Tokens
    drug: Tokens | None
    line: Tokens | None
    identity: str
    tokeniser: Tokeniser

    @classmethod
    def written(
        cls,
        benchmark: Any,
        rows: tuple[np.ndarray, np.ndarray],
        identity: str = "none",
        context: int = 300,
        *,
        wraps: bool = False,
    ) -> Self:
        """All captions of a benchmark.

        Parameters
        ----------
        rows : positions of the training lines and of the training drugs
        identity : one of `IDENTITIES`, or "none": no caption, the number alone
        context : most tokens of a caption; a drug's part may take what the longest line's part
            leaves
        wraps : as in `number_words`

        Raises
        ------
        DataError
            Unknown identity, or a context without room for a drug.
        """
        spelt = [words(number_words(code, wraps=wraps)) for code in range(NUMBERS)]
        if identity == "none":
            tokeniser = Tokeniser.fitted(spelt)
            return cls(tokeniser.encode(spelt), None, None, identity, tokeniser)
        lines, drugs = benchmark.sides
        second, first = line_parts(lines.frame, identity), drug_parts(drugs.frame, identity)
        seen = [second[i] for i in rows[0]] + [first[i] for i in rows[1]]
        tokeniser = Tokeniser.fitted(spelt + seen)
        line = tokeniser.encode(second)
        # the same room for every drug, so that no pair's caption is longer than the context
        room = context - int(line.length.max())
        drug = tokeniser.encode(first, room)
        return cls(tokeniser.encode(spelt), drug, line, identity, tokeniser)
