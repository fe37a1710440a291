"""Do tests and notebooks say the same on other processors? Run by hand: `make portability`.

OpenBLAS (numpy, scipy), numpy's own loops, PyTorch, MKL and oneDNN choose their kernels by
processor, and the last bits of a product differ between them. Each can be told to behave like
another processor. Here the tests of what ranks or chooses, and every notebook, run under each
kernel that this machine can imitate.

QUICK=1 takes all libraries to one level at a time (oldest, AVX2, AVX-512) and two threads; without
it each library's kernels come one by one, too. What is done stands in _build/portability.json and
is not run again while library, tests and notebooks are the same.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from numpy._core._multiarray_umath import __cpu_dispatch__ as DISPATCH  # what numpy may choose

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / "_build" / "portability.json"
NPY, ONEDNN, MKL = "NPY_DISABLE_CPU_FEATURES", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
NUMPY = {  # level -> features that numpy leaves off
    "baseline": " ".join(DISPATCH),
    "AVX2": " ".join(name for name in DISPATCH if "AVX512" in name or "V4" in name),
}
TOGETHER = {
    "as it is": {},
    "oldest": {
        "OPENBLAS_CORETYPE": "Prescott",
        "ATEN_CPU_CAPABILITY": "default",
        ONEDNN: "SSE41",
        MKL: "COMPATIBLE",
        NPY: NUMPY["baseline"],
    },
    "AVX2": {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        ONEDNN: "AVX2",
        MKL: "AVX2",
        NPY: NUMPY["AVX2"],
    },
    "AVX-512": {
        "OPENBLAS_CORETYPE": "SkylakeX",
        "ATEN_CPU_CAPABILITY": "avx512",
        ONEDNN: "AVX512_CORE",
    },
    "two threads": dict.fromkeys(THREADS, "2"),
}
ALONE = {
    f"{library} {level}": {name: level}
    for library, name, levels in (
        ("OpenBLAS", "OPENBLAS_CORETYPE", ("Haswell", "SkylakeX", "Zen", "Prescott")),
        ("PyTorch", "ATEN_CPU_CAPABILITY", ("default", "avx2", "avx512")),
        ("oneDNN", ONEDNN, ("SSE41", "AVX2", "AVX512_CORE")),
        ("MKL", MKL, ("COMPATIBLE", "AVX2")),
    )
    for level in levels
}
ALONE |= {f"numpy {level}": {NPY: off} for level, off in NUMPY.items()}
RANKS = (  # the tests of what ranks or chooses
    *("ties", "numbers", "references", "splits", "metrics", "tasks", "bootstrap", "models"),
    *("stack", "hetero", "text", "controls"),
)
PROBE = """
import numpy, scipy.linalg, torch, threadpoolctl
x = numpy.random.default_rng(0).normal(size=(200, 200))
numpy.linalg.solve(x, x @ x)
torch.nn.functional.conv1d(torch.ones(2, 3, 8), torch.ones(4, 3, 2))
torch.from_numpy(x) @ torch.from_numpy(x)
blas = {i["architecture"] for i in threadpoolctl.threadpool_info() if "architecture" in i}
print(*sorted(blas), torch.backends.cpu.get_cpu_capability(), sep="/")
"""


def probe(environment: dict) -> str | None:
    """Name the kernels that really run in an environment; None where the processor cannot."""
    found = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True
    )
    return found.stdout.strip() if found.returncode == 0 else None


def measure(environment: dict, jobs: int, notebooks: list[str]) -> dict:
    """Run the tests and the notebooks; how many passed and failed, which failed, seconds."""
    files = [f"tests/unit/test_{word}.py" for word in RANKS]
    rounds = [[name for name in files if (ROOT / name).exists()], ["--nbval", *notebooks]]
    result = {"passed": 0, "failed": 0, "which": []}
    began = time.monotonic()
    for arguments in rounds:
        command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"]
        command += ["-n", str(jobs), "--dist", "loadfile", *arguments]
        out = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        for count, word in re.findall(r"(\d+) (passed|failed|error)", out.stdout.splitlines()[-1]):
            result["passed" if word == "passed" else "failed"] += int(count)
        result["which"] += re.findall(r"^(?:FAILED|ERROR) (\S+)", out.stdout, re.MULTILINE)
    return result | {"seconds": round(time.monotonic() - began)}


def fingerprint() -> str:
    """A digest of library, tests and notebooks."""
    digest = hashlib.sha256()
    for folder, pattern in (("clmt_lib", "*.py"), ("tests", "*.py"), ("notebooks", "*.ipynb")):
        for path in sorted((ROOT / folder).rglob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def main() -> None:
    """Run what is missing, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="all libraries together only")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")
    parser.add_argument("--jobs", type=int, default=2, help="cores: test processes times threads")
    parser.add_argument("--notebooks", nargs="*", default=["notebooks"], help="some of them only")
    asked = parser.parse_args()
    known = json.loads(STATE.read_text()) if STATE.exists() and not asked.fresh else {}
    now, rows = fingerprint() + " ".join(asked.notebooks), []
    for kernel, wanted in (TOGETHER if asked.quick else TOGETHER | ALONE).items():
        environment = {**os.environ, **dict.fromkeys(THREADS, "1"), **wanted}
        # embeddings that another kernel computed must not be found in the cache
        environment["CLMT_CACHE"] = str(STATE.parent / "cache" / kernel.replace(" ", "-"))
        ran = probe(environment)
        if ran is None:
            rows.append((kernel, "not possible on this processor", "", "", ""))
            continue
        # OpenBLAS and PyTorch say what they run (another core may stand for one that was not
        # built: Haswell for Zen); what runs the same kernels as a row above shares its result.
        level = {off: name for name, off in NUMPY.items()}.get(wanted.get(NPY), "-")
        told = wanted.get(ONEDNN, "-"), wanted.get(MKL, "-"), level, environment[THREADS[0]]
        ran = "/".join([ran, *told])
        result = known.get(ran, {})
        if result.get("of") != now:
            print(f"running: {kernel} ({ran})", flush=True)
            # threads of several processes that share a core wait for each other, for minutes
            jobs = max(1, asked.jobs // int(environment[THREADS[0]]))
            result = measure(environment, jobs, asked.notebooks) | {"of": now}
            known[ran] = result
            STATE.parent.mkdir(exist_ok=True)
            STATE.with_suffix(".new").write_text(json.dumps(known, indent=1))
            STATE.with_suffix(".new").replace(STATE)
        rows.append((kernel, ran, *(result[n] for n in ("passed", "failed", "seconds"))))
    heads = "kernel", "OpenBLAS/PyTorch/oneDNN/MKL/numpy/threads", "passed", "failed", "seconds"
    for row in [heads, *rows]:
        print("{:22} {:42} {:>7} {:>7} {:>8}".format(*row))
    failed = {(row[0], name) for row in rows if row[1] in known for name in known[row[1]]["which"]}
    for kernel, name in sorted(failed):
        print(f"failed under {kernel}: {name}")
    sys.exit(bool(failed) or any(row[3] for row in rows if row[3] != ""))


if __name__ == "__main__":
    main()
