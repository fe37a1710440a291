"""One thread for every test and every notebook kernel: the stored outputs are those of one thread.

Property-based tests draw the same examples every time, and leave nothing in the tree but in _build.
"""

import os
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("MPLBACKEND", None)  # "agg" would silently empty every plot of a notebook
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).parent / "_build" / "hypothesis")
)


def pytest_configure(config):
    """Set hypothesis up, where it is installed (the notebooks alone do without)."""
    try:
        from hypothesis import settings
    except ImportError:
        return
    settings.register_profile("same", derandomize=True, deadline=None, database=None)
    settings.load_profile("same")
