"""What is costly and never changes is kept on disk, by content: text embeddings, conformers. A
cache that is lost, damaged or locked only costs time.
"""

import hashlib
import os
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np


def cache_file(kind, parts, suffix="npy"):
    """Path for something made from `parts` (texts), under `CLMT_CACHE` or the user's cache folder:
    other parts, another file.
    """
    folder = Path(os.environ.get("CLMT_CACHE") or Path("~/.cache/clmt_lib").expanduser())
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]
    return folder / f"{kind}-{digest}.{suffix}"


def read(path):
    """The stored array, or dictionary of arrays (.npz); None where there is none or it cannot be
    read.
    """
    try:
        if not path or not path.exists():
            return None
        stored = np.load(path)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            return stored
        with stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def write(path, table):
    """Keep an array, or a dictionary of arrays (.npz); whole or not at all. A folder that cannot be
    written is passed over.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            np.savez(part, **table) if isinstance(table, dict) else np.save(part, table)
        os.replace(part.name, path)
    except OSError:
        return
