"""Per-drug results of a grid's blind splits, as the records `drugs-<grid>-<dataset>-<split>` that
chapter 09b reads.

python experiments/by_drug.py experiments/configs/text.yaml
"""

import sys
from itertools import groupby
from pathlib import Path

from clmt_lib import data, records
from clmt_lib.records.by_drug import summarise_drugs


def main(path):
    """One record for each benchmark and split of the grid `path`."""
    configs, loaded = sorted(records.read_grid(path), key=lambda c: (c.label, c.split)), {}
    for (label, split), runs in groupby(configs, key=lambda c: (c.label, c.split)):
        runs = list(runs)
        if label not in loaded:
            loaded = {label: data.load(runs[0].dataset, **runs[0].options)}
        record = summarise_drugs(runs, Path(path).stem, benchmark=loaded[label])
        print(
            f"{label} {split}: {len(record.metrics['rows'])} test drugs; {record.path}"
            if record
            else f"{label} {split}: no run is in",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
