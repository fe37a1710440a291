"""The numbers do not move: splits, settings, and the predictions of every model that a small world
can train in a second, as they were when `numbers.json` was written.

A model computes what its own tests say it computes; here a constant, a sign or a default that is
changed by accident is noticed. Where numbers are meant to move, raise the model's version and write
the file again: `python tests/unit/test_numbers.py`.
"""

import functools
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from clmt_lib import data, models

KEPT = Path(__file__).with_name("numbers.json")
BLIND = ("mixed", "cell_blind", "drug_blind")
ONE = {  # what takes seconds is asked about one split
    "clmt_published": ("mixed",),
    "clmt_repaired": ("drug_blind",),
    "ridge": ("mixed",),
    "elastic_net_per_drug": ("mixed",),
}
SMALL = {"members": 1, "steps": 12}  # a network after a few steps: more would carry last bits far
SETTINGS = {
    **{name: {} for name in ("global_mean", "drug_mean", "cell_mean", "tissue_drug_mean")},
    **{name: {} for name in ("effects", "neighbours_fingerprint", "neighbours_text", "als")},
    **{name: {} for name in ("ridge", "ridge_per_drug", "elastic_net_per_drug")},
    **{f"kernel_{name}": {} for name in ("identity", "fingerprint", "annotation", "text", "words")},
    **{f"kernel_{name}": {} for name in ("mechanism", "omics", "auxiliary", "masked")},
    **{f"drugs_{name}": {} for name in ("random", "shuffled", "name", "fingerprint", "pathway")},
    **{f"drugs_{name}": {} for name in ("targets", "annotation", "text", "mechanism", "long")},
    **{name: {} for name in ("drugs_steps", "processes", "target_states", "learned_kernel")},
    **{f"clmt_{name}": SMALL for name in ("response", "unaligned", "soft", "long")},
    "clmt": {"members": 2, "steps": 12},
    "clmt_published": {"epochs": 1, "batch": 2048},  # a handful of steps, as above
    "clmt_repaired": {"epochs": 1, "batch": 2048},
    "cldr": {"updates": 12, "alignment": "soft", "text_width": 16, "text_heads": 2},
    "stack": {"inner": 2},
    "kernel_head": {"steps": 4},
}
TOLERANCE = {  # by the first word of the name; of everything else 1e-5
    **dict.fromkeys(("clmt", "cldr"), 5e-3),  # last bits grow with every step
    **dict.fromkeys(("kernel", "learned", "stack"), 2e-4),  # solved to a relative residual of 1e-5
}


@functools.cache
def world():
    """The small simulated world that all numbers are of."""
    return data.load("simulated", cells=40)


def predictions(name, kind):
    """A few predictions of a model for the test set of a split."""
    benchmark = world()
    split = data.make_split(benchmark, kind)
    model = models.build(name, **SETTINGS[name])
    model.device = "cpu"
    rows = np.linspace(0, len(split.test) - 1, 8).astype(int)
    found = model.fit(benchmark, split).predict(benchmark.pairs[split.test[rows]])
    return [round(float(value), 6) for value in found]


def dealt(kind):
    """A checksum of the pairs of each set of each fold."""
    benchmark = world()
    splits = [data.make_split(benchmark, kind, fold=fold, seed=1) for fold in range(2)]
    return [
        zlib.crc32(np.asarray(getattr(split, part), dtype="<i8").tobytes())
        for split in splits
        for part in ("train", "valid", "test")
    ]


def settings(name):
    """Every setting of a model, as a run's id is made from them, by kind of split."""
    found = {kind: models.resolve(name, {}, kind) for kind in BLIND}
    found = json.loads(json.dumps(found, sort_keys=True))
    same = all(values == found["mixed"] for values in found.values())
    return {"any": found["mixed"]} if same else found


def load():
    """The numbers that were written down."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", load()["splits"])
def test_splits_deal_as_before(kind):
    assert dealt(kind) == load()["splits"][kind]


@pytest.mark.parametrize(
    "name, kind", [(name, kind) for name in SETTINGS for kind in ONE.get(name, BLIND)]
)
def test_models_predict_what_they_predicted(name, kind):
    tolerance = TOLERANCE.get(name.split("_")[0], 1e-5)
    assert np.allclose(predictions(name, kind), load()["models"][name][kind], atol=tolerance)


@pytest.mark.parametrize("name", models.names())
def test_settings_are_what_they_were(name):
    """A changed default would give every run a new id."""
    assert settings(name) == load()["settings"][name]


def write(found):
    """Write all numbers anew, a line for each name."""
    parts = [
        f'"{part}": {{\n'
        + ",\n".join(f'"{name}": {json.dumps(values)}' for name, values in table.items())
        + "\n}"
        for part, table in found.items()
    ]
    KEPT.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write(
        {
            "splits": {kind: dealt(kind) for kind in data.KINDS},
            "models": {
                name: {kind: predictions(name, kind) for kind in ONE.get(name, BLIND)}
                for name in SETTINGS
            },
            "settings": {name: settings(name) for name in models.names()},
        }
    )
