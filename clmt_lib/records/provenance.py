"""Where numbers come from."""

import functools
import os
import platform
import resource
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clmt_lib.data.base import Benchmark

PACKAGES = (
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "torch",
    "torch-geometric",
    "rdkit",
    "transformers",
    "lightgbm",
)


def provenance(benchmark: Benchmark | None, seconds: Any = None, **more: Any) -> dict[str, Any]:
    """Where numbers come from: commit, data, versions, hardware, threads, seconds, peak memory of
    the process so far (MB).
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if platform.system() == "Linux" else 1024**2
    )
    return {
        "benchmark": benchmark and benchmark.describe(),
        "simulated": benchmark and benchmark.simulated,
        "seconds": seconds,
        "peak_memory_mb": round(peak),
        "commit": _commit(),
        "versions": versions(),
        "python": platform.python_version(),
        "hardware": hardware(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        **more,
    }


_version = functools.cache(version)  # reading a package's metadata takes milliseconds


def versions() -> dict[str, str]:
    """Installed versions of the packages that make the numbers."""
    out = {}
    for name in PACKAGES:
        try:
            out[name] = _version(name)
        except PackageNotFoundError:
            continue
    return out


def hardware() -> str:
    """Processor model and cores, without the name of the machine."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.split(":")[1].strip() for line in lines if line.startswith("model name")), model
        )
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores"


def _commit(folder=Path(__file__).parents[1]):
    """Short hash of the commit of this code, "+changes" where the code differs from it; "unknown"
    outside a checkout of it.
    """

    def git(*words):
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, cwd=folder
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "--short", "HEAD") + (
            "+changes" if git("status", "--porcelain", "--", ".") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def reproducibility_line(benchmark: Benchmark | None = None, started: float | None = None) -> str:
    """How a chapter's numbers were made: versions, data and its checksum, seconds since `started`
    (a `time.perf_counter()`) or processor seconds where other programs made it wait, peak memory.
    """
    about = provenance(benchmark)
    parts = [
        f"Python {about['python']}",
        *(f"{name} {number}" for name, number in about["versions"].items()),
    ]
    parts += [f"data {benchmark.name} {benchmark.checksum}"] if benchmark is not None else []
    if started is not None:
        busy = sum(os.times()[:4])  # of this process and its children, in programs and system
        parts.append(f"{min(time.perf_counter() - started, busy):.0f} s")
    return ", ".join([*parts, f"peak memory {about['peak_memory_mb']} MB"])
