"""Captions: the route of CLDR's authors, every caption and number by itself and padded to the
context, and the shared route, every drug's beginning once a step and every number once.

Text towers of the published size, a pre-training step of captions and number graph: forward,
backward, AdamW. The published batch is 256 random pairs; the shared one is a tile of the table, cut
into blocks of 256 for the loss.
"""

import torch
from bench_tools import gflop, interleaved, train_step

from clmt_lib import data
from clmt_lib.models.cldr import CLDRConfig, Network, aligned, prepare

BATCH, TILE = 256, (64, 32)
SETTINGS = {"batch": BATCH, "tile": list(TILE)}
SIZES = {"text_width": 128, "text_layers": 3, "text_heads": 8, "dim": 128}
ROUTES = {"published": ("whole_context_padded",), "shared": ()}


def actions(lines=120, device="cpu", **sizes):
    """({part: {route: () -> a whole training step}}, {route: pairs a step}, {text: mean tokens}).

    Parts are captions with numbers, and the same with the number graph, which encodes all numbers.
    """
    world = data.load("simulated", cells=lines)
    split, out, pairs = data.make_split(world, "mixed"), {}, {}
    for part, graph in (("captions", False), ("captions_and_graph", True)):
        for route, defects in ROUTES.items():
            config = CLDRConfig(
                alignment="clip",
                caption="published",
                graph=graph,
                defects=defects,
                tile=TILE,
                **{**SIZES, **sizes},
            )
            inputs = prepare(world, split, config, device)
            torch.manual_seed(0)
            net = Network(inputs, config).to(device)
            optimiser = torch.optim.AdamW(net.parameters(), config.learning_rate)
            rows = drawn(inputs, route)
            pairs[route] = len(rows)

            def objective(net=net, inputs=inputs, rows=rows, config=config):
                return aligned(net, inputs, rows, config)

            step = train_step(objective, net, optimiser, "float32", device)
            out.setdefault(part, {})[route] = step
    tokens = {name: float(inputs.text[name][1].float().mean()) for name in inputs.text}
    return out, pairs, tokens


def drawn(inputs, route):
    """Positions of the training pairs of one step."""
    made = torch.Generator().manual_seed(0)
    n = len(inputs.pairs)
    if route == "published":
        return torch.randperm(n, generator=made)[:BATCH]
    lines, drugs = (
        ids.unique()[torch.randperm(len(ids.unique()), generator=made)[:size]]
        for ids, size in zip(inputs.pairs.unbind(1), TILE)
    )
    inside = torch.isin(inputs.pairs[:, 0], lines) & torch.isin(inputs.pairs[:, 1], drugs)
    return inside.nonzero()[:, 0]


def measured(short, device):
    """part -> {route: seconds, pairs a second, operations, and how many times the published}."""
    made, pairs, tokens = actions(device=device)
    out = {"tokens": tokens}
    for part, routes in made.items():
        work = {name: gflop(step) for name, step in routes.items()}
        found = interleaved(routes, 1 if short else 3, device)
        for name, row in found.items():
            row |= {
                "pairs": pairs[name],
                "pairs_per_second": pairs[name] / row["seconds"],
                "pairs_per_cpu_second": pairs[name] / row["cpu_seconds"],
                "gflop_per_step": work[name],
                "gflop_per_pair": work[name] / pairs[name],
            }
        for row in found.values():
            base = found["published"]["pairs_per_cpu_second"]
            row["times_cpu"] = row["pairs_per_cpu_second"] / base
        out[part] = found
    return out


def measure(keep, short, device):
    """One part."""
    keep("routes", lambda: measured(short, device))


def assemble(found):
    """metrics.json from the kept part."""
    return found["routes"]


CHILDREN = {}
