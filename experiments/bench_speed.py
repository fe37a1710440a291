"""Speed: the published network pair by pair, in random batches and in tiles; the corrected preset
on GDSC2; making the data ready; importing.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import per_pair
import torch
import torch.nn.functional as F
from bench_tools import (
    SIZES,
    THREADS,
    bench_config,
    clock,
    fresh,
    gflop,
    interleaved,
    invented,
    matmul_gflops,
    peak_memory_mb,
    train_step,
)

from clmt_lib import data, models
from clmt_lib.models import clmt
from clmt_lib.models.clmt import published
from clmt_lib.training import pick_device

PER_PAIR, RANDOM, TILE = (
    256,
    8192,
    (969, 74),
)  # all lines and a third of the drugs: a molecule is the dearest entity to encode
PATHS = ("per_pair", "random", "tiles", "random_bfloat16", "tiles_bfloat16")
CHECKS = (
    "random_256",
    "random_library",
    "tiles_library",
)  # what of the factors is the batch, and what is a quicker dropout and GraphNorm


@contextmanager
def library_layers(net: torch.nn.Module) -> Iterator[None]:
    """PyTorch's dropout and PyG's GraphNorm in place of ours, in one network: another mask of the
    same kind, and the same norm.
    """
    ours = [(module, dict(vars(module))) for module in net.modules() if hasattr(module, "lose")]
    for module, _ in ours:
        module.lose = F.dropout
        if hasattr(module, "normalise"):
            module.normalise = lambda norm, x, graph, n: norm(x, graph, n)
    try:
        yield
    finally:
        for module, before in ours:
            for name in ("lose", "normalise"):
                module.__dict__.pop(name, None)
                if name in before:
                    setattr(module, name, before[name])


def draws(inputs):
    """path -> () -> positions of the pairs of a step."""

    def random(n):
        return lambda: torch.randint(len(inputs.pairs), (n,))

    tile, _ = published.tiles(inputs.pairs.cpu(), TILE)
    return {
        "per_pair": random(PER_PAIR),
        "random": random(RANDOM),
        "tiles": tile,
        "random_bfloat16": random(RANDOM),
        "tiles_bfloat16": tile,
        "random_256": random(PER_PAIR),
        "random_library": random(RANDOM),
        "tiles_library": tile,
    }


def steps(inputs, config, names=PATHS):
    """(network, path -> () -> None that does one whole training step: draw, forward, backward,
    AdamW).

    All paths train the same weights, as `Published` would: half precision goes with the fused
    AdamW.
    """
    torch.manual_seed(0)
    net = published.Network(inputs, config).to(inputs.device)
    optimisers = {
        fused: torch.optim.AdamW(
            net.parameters(),
            config.learning_rate,
            weight_decay=config.weight_decay,
            fused=fused or None,
        )
        for fused in (False, True)
    }
    draw, out = draws(inputs), {}
    for name in names:
        half = name.endswith("bfloat16")
        layers = partial(library_layers, net) if name.endswith("library") else nullcontext

        def objective(
            pick=draw[name], module=per_pair if name == "per_pair" else published, layers=layers
        ):
            rows = pick().to(inputs.device)
            with layers():
                return module.objective(net, inputs, inputs.pairs[rows], inputs.y[rows], config)

        out[name] = train_step(
            objective, net, optimisers[half], "bfloat16" if half else "float32", inputs.device
        )
    return net, out


def paths(short, device):
    """{sizes, paths, equality, parts}."""
    config = bench_config()
    inputs = invented(config, **SIZES, device=device)
    net, actions = steps(inputs, config, PATHS + CHECKS)
    sizes = {
        **{name: SIZES[name] for name in ("lines", "drugs", "genes")},
        "width": config.width,
        "pairs": len(inputs.pairs),
        "parameters": sum(p.numel() for p in net.parameters()),
        "atoms": len(inputs.molecules.atom),
        "bonds": inputs.molecules.bond_index.shape[1],
        "angles": inputs.molecules.angle_index.shape[1],
    }
    equality = equal(net, inputs, config)
    rounds = 2 if short else 5
    work = {
        name: gflop(action) for name, action in actions.items()
    }  # and a first step of each, which is always slower
    found = interleaved(actions, rounds, device)
    pairs = {name: len(draw()) for name, draw in draws(inputs).items()}
    for name, row in found.items():
        row |= {
            "pairs": pairs[name],
            "steps": rounds,
            "pairs_per_second": pairs[name] / row["seconds"],
            "epoch_seconds": sizes["pairs"] / pairs[name] * row["seconds"],
            "pairs_per_cpu_second": pairs[name] / row["cpu_seconds"],
        }
        row["seconds_per_step"], row["cpu_seconds_per_step"] = (
            row.pop("seconds"),
            row.pop("cpu_seconds"),
        )
        row["gflop_per_step"] = work[name]
        if name.startswith("tiles"):
            row["tile"] = TILE
    base = found["per_pair"]
    for row in found.values():
        row["times"] = row["pairs_per_second"] / base["pairs_per_second"]
        row["times_cpu"] = row["pairs_per_cpu_second"] / base["pairs_per_cpu_second"]
    return {
        "sizes": sizes,
        "paths": found,
        "equality": equality,
        "parts": parts(net, inputs, config, 1 if short else 3),
    }


def equal(net, inputs, config, pairs=PER_PAIR):
    """How far loss and gradients of the two paths are apart on the same pairs, with dropout off and
    norms in eval mode.
    """
    net.eval()
    rows = torch.randint(
        len(inputs.pairs), (pairs,), generator=torch.Generator().manual_seed(1)
    ).to(inputs.device)
    losses, gradients = [], []
    for module in (per_pair, published):
        net.zero_grad(set_to_none=True)
        out = module.objective(net, inputs, inputs.pairs[rows], inputs.y[rows], config)
        out.total.backward()
        losses.append(out.total.item())
        gradients.append(
            {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        )
    if gradients[0].keys() != gradients[1].keys():
        raise AssertionError(
            "one path has gradients that the other has not: "
            f"{sorted(gradients[0].keys() ^ gradients[1].keys())}"
        )
    whole = torch.cat([g.flatten() for g in gradients[0].values()]).norm()
    gap = max(
        (gradients[1][name] - g).norm() / g.norm().clamp(min=1e-4 * whole)
        for name, g in gradients[0].items()
    )
    net.zero_grad(set_to_none=True)
    return {
        "loss_per_pair": losses[0],
        "loss_fast": losses[1],
        "gradient_difference": gap.item(),
        "parameters": len(gradients[0]),
    }


def parts(net, inputs, config, rounds):
    """path -> part of the network -> {cpu_seconds, gflop} of its forward and backward pass in a
    step, each part by itself.
    """
    net.train()
    out, draw = {}, draws(inputs)
    for name in ("per_pair", "random", "tiles"):
        pairs = inputs.pairs[draw[name]().to(inputs.device)]
        out[name] = {}
        for part, action in _parts(net, inputs, config, pairs, name == "per_pair").items():
            out[name][part] = {
                "gflop": gflop(action),
                "cpu_seconds": statistics.median(
                    clock(action, inputs.device)[1] for _ in range(rounds)
                ),
            }
    return out


def _parts(net, inputs, config, pairs, plain):
    (cells, row), (drugs, column) = (ids.unique(return_inverse=True) for ids in pairs.unbind(1))
    c, d = pairs.unbind(1) if plain else (cells, drugs)  # which rows a step encodes
    w, device = config.width, inputs.device

    def leaf(n, dim):
        return torch.randn(n, dim, device=device, requires_grad=True)

    def both_ways(forward):
        def run():
            net.zero_grad(set_to_none=True)
            forward().sum().backward()

        return run

    def molecules():
        graphs = inputs.molecules.take(d)
        geometry = (
            per_pair.encode_molecules(net.geometry, graphs) if plain else net.geometry(graphs)
        )
        made = torch.cat([net.fingerprint(inputs.wide_bits[d]), geometry], 1)
        return net.project(made)

    def omics():
        return torch.cat(
            [
                net.expression(inputs.expression[c]),
                net.mutation(inputs.mutation[c]),
                net.copy_number(inputs.copy_number[c]),
            ],
            1,
        )

    def graph():
        x = {"cell": inputs.expression, "drug": inputs.bits}
        nodes = (
            per_pair.aggregate_first(net.graph, x, inputs.graph)
            if plain
            else net.graph(x, inputs.graph)
        )
        return nodes["cell"][c].sum() + nodes["drug"][d].sum()

    wide = [leaf(len(ids), 4 * w) for ids in (c, d)]

    def head():
        if plain:
            return per_pair.predict_pairs(
                net,
                {
                    "text": wide[0][:, :w],
                    "graph": wide[0][:, w : 2 * w],
                    "attribute": wide[0][:, 2 * w :],
                },
                {
                    "text": wide[1][:, :w],
                    "graph": wide[1][:, w : 2 * w],
                    "attribute": wide[1][:, 2 * w :],
                },
            )
        return net.head(net.head_cell(wide[0])[row] + net.head_drug(wide[1])[column])

    views = [
        {"anchor": leaf(len(ids), w), "graph": leaf(len(ids), w), "text": leaf(len(ids), w)}
        for ids in (cells, drugs)
    ]
    attribute = [leaf(len(ids), 2 * w) for ids in (cells, drugs)]

    def losses():
        batch = published.Batch(None, cells, drugs, *views, row, column)
        aims = {name: x[cells if name == "cell_type" else drugs] for name, x in inputs.aims.items()}
        return (
            published.contrastive(batch, inputs, config)
            + published.auxiliary.auxiliary_loss(net.auxiliary(*attribute), aims, config.tasks)[0]
        )

    optimiser = torch.optim.AdamW(net.parameters(), config.learning_rate)
    out = {
        "molecules": both_ways(molecules),
        "omics": both_ways(omics),
        "graph": both_ways(graph),
        "text": both_ways(
            lambda: (
                net.text_cell(inputs.text_cell[c]).sum() + net.text_drug(inputs.text_drug[d]).sum()
            )
        ),
        "head": both_ways(head),
        "contrast_and_tasks": both_ways(losses),
    }

    gradients = [torch.zeros_like(p) for p in net.parameters()]

    def update():
        for p, gradient in zip(net.parameters(), gradients, strict=True):
            p.grad = gradient
        optimiser.step()

    return out | {"optimiser": update}


def memory(path, device):
    """{peak_memory_mb} of this process after two steps of one path."""
    config = bench_config()
    step = steps(invented(config, **SIZES, device=device), config, (path,))[1][path]
    for _ in range(2):
        step()
    return {"peak_memory_mb": peak_memory_mb(device)}


def corrected(short, device):
    """The corrected preset on GDSC2, mixed split: an epoch is one step over the whole training
    table.
    """
    benchmark = data.load("gdsc2")
    split, config = data.make_split(benchmark, "mixed"), clmt.CLMTConfig.corrected()
    inputs = clmt.prepare(benchmark, split, config, device)
    torch.manual_seed(0)
    net = clmt.Network(inputs, config).to(device)
    optimiser = torch.optim.AdamW(
        net.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    actions = {
        name: train_step(lambda: clmt.objective(net, inputs, config), net, optimiser, name, device)
        for name in ("float32", "bfloat16")
    }
    work = [gflop(action) for action in actions.values()][0]
    rounds = 5 if short else 15
    found = interleaved(actions, rounds, device)
    rate, seconds = matmul_gflops(device=device), found["float32"]["seconds"]
    alone = (
        found["float32"]["cpu_seconds"] / THREADS if inputs.mask.device.type == "cpu" else seconds
    )  # an epoch, were nothing else running and both threads always busy
    return {
        "dataset": "gdsc2",
        "lines": benchmark.n_cells,
        "drugs": benchmark.n_drugs,
        "pairs": len(split.train),
        "parameters": sum(p.numel() for p in net.parameters()),
        "steps": config.steps,
        "rounds": rounds,
        "seconds_per_epoch": seconds,
        "cpu_seconds_per_epoch": found["float32"]["cpu_seconds"],
        "gflop_per_epoch": work,
        "gflops": work / alone,
        "fraction": work / alone / rate,
        "gflops_float32": rate,
        "seconds_per_epoch_bfloat16": found["bfloat16"]["seconds"],
        "cpu_seconds_per_epoch_bfloat16": found["bfloat16"]["cpu_seconds"],
    }


def training(device):
    """A whole training of the corrected preset on GDSC2: {training_seconds, training_cpu_seconds,
    peak_memory_mb}.
    """
    benchmark = data.load("gdsc2")
    split, model = data.make_split(benchmark, "mixed"), models.build("clmt")
    model.device = device
    seconds, cpu = clock(lambda: model.fit(benchmark, split), device)
    return {
        "training_seconds": seconds,
        "training_cpu_seconds": cpu,
        "peak_memory_mb": peak_memory_mb("cpu"),
    }


def preparation():
    """Seconds, and processor seconds (`_cpu`), of every part of making GDSC2 ready for the
    corrected preset, in this process, with whatever caches there are.
    """
    from clmt_lib.models.base import cosine
    from clmt_lib.models.baselines.linear import per_drug_targets
    from clmt_lib.views.controls import drug_vectors
    from clmt_lib.views.geometry import molecule_graphs
    from clmt_lib.views.molecules import fingerprints, jaccard
    from clmt_lib.views.omics import fit_omics
    from clmt_lib.views.structure import response_graph
    from clmt_lib.views.text import describe_cells, encode

    out, start = {}, (time.perf_counter(), time.process_time())

    def timed(name, action):
        begun = time.perf_counter(), time.process_time()
        made = action()
        note(name, begun)
        return made

    def note(name, begun):
        out[name], out[f"{name}_cpu"] = (
            time.perf_counter() - begun[0],
            time.process_time() - begun[1],
        )

    config = clmt.CLMTConfig.corrected()
    benchmark = timed("load", lambda: data.load("gdsc2"))
    split = data.make_split(benchmark, "mixed")
    clmt.prepare(benchmark, split, config, pick_device())
    note("ready", start)
    expression = timed("omics", lambda: fit_omics(benchmark, split)(benchmark))
    bits = timed("fingerprints", lambda: fingerprints(benchmark.drugs))
    omics = {name: benchmark.omics[name] for name in ("mutation", "copy_number")}
    timed(
        "text",
        lambda: (
            drug_vectors(benchmark.drugs, config.drug_text, 0),
            encode(describe_cells(benchmark.cells, config.cell_text, omics)),
        ),
    )
    similar = timed("neighbours", lambda: (cosine(expression), jaccard(bits)))
    target = per_drug_targets(benchmark, split)[0]
    timed(
        "response_graph",
        lambda: response_graph(benchmark.pairs[split.train], target, *similar, config.neighbours),
    )
    sample = benchmark.drugs[benchmark.drugs["smiles"].notna()].iloc[
        :: max(1, benchmark.n_drugs // 20)
    ]
    timed("conformers", lambda: molecule_graphs(sample))
    return {**out, "molecules": len(sample)}


def prepared():
    """Cold (a new process, no cache of ours), then warm (another new process, the cache full): part
    -> {cold, warm, cold_cpu, warm_cpu}; medians of three for warm.
    """
    with tempfile.TemporaryDirectory() as cache:
        cold = fresh("preparation", CLMT_CACHE=cache)
        warm = [fresh("preparation", CLMT_CACHE=cache) for _ in range(3)]
    warm = {name: statistics.median(row[name] for row in warm) for name in cold}
    parts = [name for name in cold if name != "molecules" and not name.endswith("_cpu")]
    out = {
        part: {
            "cold": cold[part],
            "warm": warm[part],
            "cold_cpu": cold[f"{part}_cpu"],
            "warm_cpu": warm[f"{part}_cpu"],
        }
        for part in parts
    }
    out["conformers"]["molecules"] = cold["molecules"]
    return {"dataset": "gdsc2", **out}


def imports():
    """Seconds of `import clmt_lib` and of `clmt --help`, medians of five new processes, Python's
    own start included.
    """
    calls = {"clmt_lib": ["-c", "import clmt_lib"], "clmt_help": ["-m", "clmt_lib", "--help"]}
    return {
        name: statistics.median(
            clock(
                lambda: subprocess.run(
                    [sys.executable, *words], check=True, stdout=subprocess.DEVNULL
                )
            )[0]
            for _ in range(5)
        )
        for name, words in calls.items()
    }


def machine(device):
    """Threads and measured rates."""
    return {
        "threads": THREADS,
        "gflops_float32": matmul_gflops(device=device),
        "gflops_bfloat16": matmul_gflops(torch.bfloat16, device=device),
    }


def measure(keep, short, device):
    """Every part, each kept (`keep(name, make)`) as soon as it is there."""
    keep("imports", imports)
    keep("machine", lambda: fresh(f"machine:{device}"))
    keep("whole", lambda: fresh(f"paths:{int(short)}:{device}"))
    keep(
        "memory",
        lambda: {
            name: fresh(f"memory:{name}:{device}")["peak_memory_mb"]
            for name in (PATHS[:3] if short else PATHS)
        },
    )
    if os.environ.get("CLMT_DATA"):
        keep("corrected", lambda: fresh(f"corrected:{int(short)}:{device}"))
        if not short:
            keep("training", lambda: fresh(f"training:{device}"))
        keep("preparation", prepared)


def assemble(found):
    """metrics.json from the kept parts."""
    out = {name: found[name] for name in ("imports", "machine", "preparation") if name in found}
    out |= found["whole"]
    for name, peak in found["memory"].items():
        out["paths"][name]["peak_memory_mb"] = peak
    if "corrected" in found:
        out["corrected"] = {**found["corrected"], **found.get("training", {})}
    return out


CHILDREN = {
    "paths": lambda short, device: paths(bool(int(short)), device),
    "memory": memory,
    "machine": machine,
    "corrected": lambda short, device: corrected(bool(int(short)), device),
    "training": training,
    "preparation": preparation,
}
