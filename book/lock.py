"""Write requirements.lock: every package of every extra but `grid` at one exact version, torch
apart.

`make lock` runs this.
pip resolves pyproject.toml afresh without installing anything; torch and the CUDA packages it
brings are left out,
because the CPU and the GPU build differ and `make` chooses between them.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from clmt_lib.io import atomic_write

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Made by `make lock` from pyproject.toml (all extras but `grid`, and the build backend)
# on Python {python}; do not edit. torch is left out, because its CPU and GPU builds differ:
# the Makefile installs torch=={torch} first.
"""
OPTIONAL = {"grid"}  # Snakemake brings many packages, and no chapter or test needs it
APART = re.compile(r"^(torch|triton|nvidia-.+|cuda-.+|clmt-lib)$")


def resolve(project):
    """What pip would install for `project` (the parsed pyproject.toml), as {name: version}."""
    extras = ",".join(sorted(set(project["project"]["optional-dependencies"]) - OPTIONAL))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        wanted = [f".[{extras}]", *project["build-system"]["requires"]]
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--report",
            str(report),
            *wanted,
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    names = {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in found
    }
    return dict(sorted(names.items()))


def main():
    """Resolve, and replace requirements.lock only when that worked."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    versions = resolve(project)
    pins = "".join(
        f"{name}=={version}\n" for name, version in versions.items() if not APART.match(name)
    )
    header = HEADER.format(
        python=".".join(map(str, sys.version_info[:2])), torch=versions["torch"].split("+")[0]
    )
    with atomic_write(ROOT / "requirements.lock") as file:
        file.write(header + pins)
    print(
        f"requirements.lock: {pins.count('==')} packages pinned. Next: make test, then commit it."
    )


if __name__ == "__main__":
    main()
