"""The bench: how fast, how costs grow, how soon a score is reached (chapter 14).

`make bench`, or

    python experiments/bench.py [speed] [curves] [captions] [accuracy] [--short] [--fresh]

Writes the records `bench-speed`, `bench-curves`, `bench-captions` and `bench-accuracy`. Each part
of a record is kept as soon as it is measured, so an interrupted bench goes on where it stopped,
and a finished record is left alone unless `--fresh`, or unless it was `--short` and this is not.
What needs real tables is left out where CLMT_DATA is not set.
Seconds are wall time; beside them stand the processor seconds of all threads, which other work on
the machine disturbs less.
Best run on a quiet machine: the load at its start and at its end is part of the record.
"""

import os

THREADS = "2"
if __name__ == "__main__":  # before torch is imported
    os.environ |= dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), THREADS
    )  # the same for every path
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # a waiting thread sleeps, so that processor seconds are seconds of work

import argparse  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import bench_accuracy  # noqa: E402
import bench_captions  # noqa: E402
import bench_curves  # noqa: E402
import bench_speed  # noqa: E402
import torch  # noqa: E402

from clmt_lib import records  # noqa: E402
from clmt_lib.io import atomic_write  # noqa: E402
from clmt_lib.records.store import rounded  # noqa: E402
from clmt_lib.training import pick_device  # noqa: E402

BENCHES = {
    "speed": bench_speed,
    "curves": bench_curves,
    "captions": bench_captions,
    "accuracy": bench_accuracy,
}


def main(words=None):
    """Run the benches asked for, all of them by default."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("benches", nargs="*", help=f"some of: {', '.join(BENCHES)}")
    ask.add_argument("--short", action="store_true", help="fewer repeats and sizes")
    ask.add_argument("--fresh", action="store_true", help="measure again what is there")
    ask.add_argument("--device", default="auto")
    ask.add_argument("--child", help=argparse.SUPPRESS)
    said = ask.parse_args(words)
    torch.set_num_threads(int(THREADS))
    if said.child:
        name, *more = said.child.split(":")
        children = {
            key: action for module in BENCHES.values() for key, action in module.CHILDREN.items()
        }
        print(json.dumps(children[name](*more)))
        return
    unknown = sorted(set(said.benches) - set(BENCHES))
    if unknown:
        ask.error(f"unknown bench {unknown[0]!r}; use some of: {', '.join(BENCHES)}")
    for name in said.benches or BENCHES:
        bench(name, BENCHES[name], said.short, said.fresh, str(pick_device(said.device)))


def bench(name, module, short, again, device):
    """One record, whole or not at all; its parts wait among the runs until all are there."""
    record = f"bench-{name}" if device == "cpu" else f"bench-{name}-{device}"
    work = records.home() / "runs" / (f".work-{record}" + ("-short" if short else ""))
    if records.exists(record) and not again:
        was_short = records.read(record).config.get("short")
        if short or not was_short:
            print(f"{record}: there (--fresh measures again)")
            return
    if again:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    found, start, load = {}, time.perf_counter(), list(os.getloadavg())

    def keep(part, make):
        file = work / f"{part}.part"
        if not file.exists():
            begun = time.perf_counter()
            with atomic_write(file) as out:
                out.write(json.dumps(rounded(make())))
            print(f"{record}: {part} in {time.perf_counter() - begun:.0f} s", flush=True)
        found[part] = json.loads(file.read_text())
        return found[part]

    module.measure(keep, short, device)
    settings = {"bench": name, "short": short, "device": device, **getattr(module, "SETTINGS", {})}
    about = {
        **records.provenance(None, time.perf_counter() - start),
        "threads": THREADS,
        "load_before": load,
        "load": list(os.getloadavg()),
        "device": device,
    }
    parts = {"config": settings, "metrics": module.assemble(found), "provenance": about}
    records.write_derived(record, parts)
    shutil.rmtree(work)
    print(f"{record}: done")


if __name__ == "__main__":
    sys.exit(main())
