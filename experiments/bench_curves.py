"""Cost curves: what a training step costs when there are more lines, more drugs, both, or more
pairs (simulated tensors).
"""

from functools import partial

import numpy as np
import torch
from bench_tools import bench_config, clock, fresh, invented, peak_memory_mb, train_step

from clmt_lib.models.clmt import published

BASE = {"lines": 625, "drugs": 188, "genes": 2000}  # times 16: 10,000 lines, 3,008 drugs
WIDTH, PAIRS = 128, 8192
SETTINGS = {"base": {**BASE, "pairs": PAIRS, "width": WIDTH}}
FACTORS = (1, 2, 4, 8, 16)
BOTH = FACTORS[:3]  # lines and drugs together: tables of all pairs grow with the square
MOST_SECONDS = 20.0  # of processor time a step; a curve ends before the next size would take longer


def curve(name, short, device):
    """{"rows": the places of a curve in growing order, "stopped": why it ended early, or None}.
    Memory only grows on the way, so each place shows its own.
    """
    rows, grown = [], "lines and drugs" if name == "both" else name
    for factor in BOTH if name == "both" else FACTORS[:3] if short else FACTORS:
        if rows and 2 * rows[-1]["cpu_seconds"] > MOST_SECONDS:
            return {
                "rows": rows,
                "stopped": f"a step with {factor} times the {grown} would take longer than "
                f"{MOST_SECONDS:.0f} s of processor time",
            }
        rows.append({"factor": factor, **point(*sizes(name, factor), 1 if short else 3, device)})
    return {"rows": rows, "stopped": None}


def point(lines, drugs, pairs, rounds, device):
    """{lines, drugs, pairs, steps, seconds, cpu_seconds, peak_memory_mb}: medians of `rounds` steps
    over `pairs` random pairs, after a first one.
    """
    config = bench_config(width=WIDTH)
    inputs = invented(config, lines, drugs, BASE["genes"], device=device)
    torch.manual_seed(0)
    net = published.Network(inputs, config).to(device)
    optimiser = torch.optim.AdamW(net.parameters(), config.learning_rate)

    def objective():
        rows = torch.randint(len(inputs.pairs), (pairs,)).to(inputs.device)
        return published.objective(net, inputs, inputs.pairs[rows], inputs.y[rows], config)

    step = train_step(objective, net, optimiser, device=device)
    step()
    seconds, cpu = np.median([clock(step, device) for _ in range(rounds)], axis=0)
    return {
        "lines": lines,
        "drugs": drugs,
        "pairs": pairs,
        "steps": rounds,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_memory_mb": peak_memory_mb(device),
    }


def sizes(name, factor):
    """Lines, drugs, pairs a step at one place of a curve."""
    lines, drugs = (
        BASE[side] * (factor if name in (side, "both") else 1) for side in ("lines", "drugs")
    )
    return lines, drugs, PAIRS * (factor if name == "pairs" else 1)


def measure(keep, short, device):
    """Every curve in a process of its own."""
    for name in ("pairs", "lines", "drugs", "both"):
        keep(name, partial(fresh, f"curve:{name}:{int(short)}:{device}"))


def slope(rows):
    """Least-squares slope of log processor seconds on log factor."""
    x, y = (np.log([row[key] for row in rows]) for key in ("factor", "cpu_seconds"))
    return float(np.polyfit(x, y, 1)[0])


def assemble(found):
    """metrics.json: the curves, their exponents, and what doubling costs by them."""
    exponents = {name: slope(curve["rows"]) for name, curve in found.items()}
    return {
        **{name: curve["rows"] for name, curve in found.items()},
        "exponents": exponents,
        "doubling": {name: 2**value for name, value in exponents.items()},
        "stopped": {name: curve["stopped"] for name, curve in found.items() if curve["stopped"]},
    }


CHILDREN = {"curve": lambda name, short, device: curve(name, bool(int(short)), device)}
