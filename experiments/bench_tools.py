"""What the parts of the bench share: simulated tensors of the published size, and clocks."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from clmt_lib.data.response import simulated
from clmt_lib.models.clmt.published import Inputs, PublishedConfig, Relation
from clmt_lib.views.geometry import molecule_graphs

THREADS = 2
AS_PUBLISHED = (
    "no_drug_to_cell",
    "unweighted_responses",
    "supervision_edges_in_messages",
)  # of the defects, those that say how large the graph is
SIZES = {
    "lines": 969,
    "drugs": 222,
    "genes": 8000,
    "mutations": 636,
    "copy_numbers": 694,
    "text": 768,
    "bits": 2048,
}


def bench_config(**changes):
    """The authors' widths and graph; their other defects are off, as some make an entity's encoding
    depend on its batch-mates or on chance.
    """
    return PublishedConfig(**{"defects": AS_PUBLISHED, **changes})


@dataclass(frozen=True, eq=False)
class Tensors(Inputs):
    """`Inputs` of the network whose graph is given and not made from similarities."""

    graph: dict[Relation, torch.Tensor]


def invented(
    config: PublishedConfig,
    lines: int = 969,
    drugs: int = 222,
    genes: int = 8000,
    mutations: int = 636,
    copy_numbers: int = 694,
    text: int = 768,
    bits: int = 2048,
    device: str = "cpu",
) -> Tensors:
    """Inputs of the network, drawn at random: real molecules (those of the simulated world, in
    turn), everything else noise of the right size.

    Every pair is measured, and the graph is the published one (`AS_PUBLISHED`) with random
    neighbours.
    """
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw).to(device)

    def some(share: float, *shape: int) -> torch.Tensor:
        return (torch.rand(*shape, generator=draw) < share).float().to(device)

    def neighbours(n: int) -> torch.Tensor:
        k = min(config.neighbours, n - 1)
        chosen = torch.randint(n, (n, k), generator=draw)
        return torch.zeros(n, n).scatter(1, chosen, 1.0).to(device)

    def classes(n: int, size: int) -> torch.Tensor:
        return torch.randint(n, (size,), generator=draw).to(device)

    known = molecule_graphs(simulated.facts())
    pairs = torch.cartesian_prod(torch.arange(lines), torch.arange(drugs)).to(device)
    number = {"cell_type": 28, "pathway": 23}
    return Tensors(
        expression=torch.rand(lines, genes, generator=draw).to(device),
        mutation=some(0.02, lines, mutations),
        copy_number=normal(lines, copy_numbers),
        molecules=known.take(torch.arange(drugs) % known.n).to(device),
        bits=some(0.03, drugs, bits),
        wide_bits=some(0.04, drugs, bits),
        text_cell=normal(lines, text),
        text_drug=normal(drugs, text),
        has_text_cell=torch.ones(lines, dtype=torch.bool, device=device),
        has_text_drug=torch.ones(drugs, dtype=torch.bool, device=device),
        pairs=pairs,
        y=normal(len(pairs)),
        graph={
            ("cell", "similar", "cell"): neighbours(lines),
            ("drug", "similar", "drug"): neighbours(drugs),
            ("cell", "response", "drug"): torch.ones(drugs, lines, device=device),
        },
        same_drug=torch.eye(drugs, dtype=torch.bool, device=device),
        classes=number,
        aims={
            "cell_type": classes(number["cell_type"], lines),
            "pathway": classes(number["pathway"], drugs),
            "threshold": normal(drugs),
        },
        links=None,
        recipes={},
        fitted={},
    )


def synchronise(device):
    """Wait for a GPU; nothing to wait for on a processor."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def clock(action, device="cpu"):
    """(seconds, processor seconds of all threads) of one call."""
    synchronise(device)
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    synchronise(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def interleaved(actions, rounds, device="cpu"):
    """name -> {seconds, cpu_seconds}, medians over rounds in which every action has its turn, so
    that whatever else the machine does falls on all of them alike.
    """
    found = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            found[name].append(clock(action, device))
    return {
        name: dict(zip(("seconds", "cpu_seconds"), map(statistics.median, zip(*rows))))
        for name, rows in found.items()
    }


def gflop(action):
    """Floating-point operations of the matrix products and convolutions in one call, in 10^9."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops() / 1e9


def peak_memory_mb(device="cpu"):
    """Most memory this process held so far; on a GPU, of its memory."""
    if torch.device(device).type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20)
    return round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1024 if sys.platform == "linux" else 1024**2)
    )


def matmul_gflops(dtype=torch.float32, n=2048, rounds=9, device="cpu"):
    """Rate of a square matrix product on all `THREADS`, 10^9 operations a second, from the
    processor seconds of the best of some: what this machine can do when it is left alone.
    """
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    a @ b
    wall, cpu = map(min, zip(*(clock(lambda: a @ b, device) for _ in range(rounds))))
    return 2 * n**3 / (cpu / THREADS if torch.device(device).type == "cpu" else wall) / 1e9


def fresh(part, **environment):
    """What `bench.py --child PART` prints as its last line, from a fresh process."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("bench.py")), "--child", part],
        env={**os.environ, **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def train_step(objective, net, optimiser, precision="float32", device="cpu"):
    """A () -> None that does one training step; `objective` is () -> LossOutput."""

    def step():
        net.train()
        with torch.autocast(
            torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16"
        ):
            out = objective()
        optimiser.zero_grad(set_to_none=True)
        out.total.backward()
        optimiser.step()

    return step
