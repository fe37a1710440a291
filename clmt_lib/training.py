"""One visible training loop that knows no model (chapter 06).

A network is trained by `train(build, loss, config)`: `build` makes it, `loss` says how wrong it is,
`config` how long and how hard to train. Full batch by default; `batches` takes any iterable of
batches, such as a `DataLoader`. What else should happen on the way (a clock, a plot, a log) is a
`Callback`, so that nobody has to change the loop or the library to look inside it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from clmt_lib.io import DataError, atomic_write
from clmt_lib.nn.heads import LossOutput

SCHEDULES = ("one_cycle", "step", "cosine")


@dataclass(frozen=True)
class TrainConfig:
    """How long and how hard to train.

    Attributes
    ----------
    steps : optimiser steps (one step sees every training pair when the loss is full batch)
    learning_rate, weight_decay : of AdamW; the learning rate is the highest of the schedule
    schedule : "one_cycle" (Smith and Topin 2018); "step": constant, a tenth from step `milestone`
        on; or "cosine": a straight line up over `warmup` steps, then half a cosine down to zero
        (Loshchilov and Hutter 2017)
    evaluate_every : steps between evaluations on the validation set; the best weights seen are kept
    patience : evaluations without improvement before stopping; None never stops early
    checkpoint_every : steps between checkpoints
    seed : of initialisation, of dropout, and of the order of a loader that follows torch's seed
    milestone : of the schedule "step"; None keeps the rate constant
    clip : gradients whose norm is larger are scaled down to it (Pascanu et al. 2013); None lets any
        through
    fused : AdamW in one pass over the weights, several times faster for a network of millions of
        them; rounds differently
    warmup : of the schedule "cosine", in steps

    Raises
    ------
    DataError
        Unknown schedule, or a warm-up that is no part of the training.
    """

    steps: int = 400
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    evaluate_every: int = 20
    patience: int | None = None
    checkpoint_every: int = 50
    seed: int = 0
    schedule: str = "one_cycle"
    milestone: int | None = None
    clip: float | None = None
    fused: bool = False
    warmup: int = 0

    def __post_init__(self) -> None:
        """Refuse what the loop could only fail on later."""
        if self.schedule not in SCHEDULES:
            raise DataError(
                f"unknown schedule {self.schedule!r}", remedy=f"use {', '.join(SCHEDULES)}"
            )
        if not 0 <= self.warmup <= self.steps:
            raise DataError(
                f"a warm-up of {self.warmup} steps in a training of {self.steps}",
                remedy="give a number of steps from 0 to `steps`",
            )
        if self.warmup and self.schedule != "cosine":
            raise DataError(
                f"the schedule {self.schedule!r} has no warm-up", remedy="use schedule='cosine'"
            )


class Callback:
    """Watches a training; a subclass says what it wants to hear of.

    It is called inside the loop, under its seed: one that draws random numbers from torch changes
    the training, one that only looks does not. A resumed training calls it for the steps it still
    has to do.
    """

    def on_step(self, step: int, module: nn.Module, out: LossOutput, learning_rate: float) -> None:
        """After every optimiser step: `out` is the loss before it, `learning_rate` its rate."""

    def on_evaluate(self, step: int, module: nn.Module, row: dict[str, float]) -> None:
        """After every evaluation, `module` in eval mode: `row` is the new row of the history."""


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """torch.device: "auto" takes a GPU where there is one.

    Raises
    ------
    DataError
        "cuda" on a machine without.
    """
    if torch.device("cpu" if device == "auto" else device).type == "cuda":
        if not torch.cuda.is_available():
            raise DataError(
                "no GPU that PyTorch can use is here (cuda)",
                remedy="say auto or cpu, or install the PyTorch build for your GPU",
            )
    return (
        torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device == "auto"
        else torch.device(device)
    )


def train(
    build: Callable[[], nn.Module],
    loss: Callable[..., LossOutput],
    config: TrainConfig,
    *,
    batches: Iterable[Any] | None = None,
    evaluate: Callable[[nn.Module], float | tuple[float, ...]] | None = None,
    checkpoint: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train a module, resuming from `checkpoint` if it is there: an interrupted and an undisturbed
    run end with the same weights.

    Parameters
    ----------
    build : () -> nn.Module, called under the seed
    loss : module -> LossOutput, or (module, batch) -> LossOutput where there are `batches`; moving
        the batch to the device is its business
    batches : an iterable that can be gone through again and again, such as a DataLoader; None for a
        full batch. One pass after the other, a batch a step. Its order may hang on torch's global
        generator, which the loop seeds and a checkpoint restores; one with a generator of its own
        is not resumed exactly.
    evaluate : module -> float, lower is better; None keeps the last weights. Several criteria (a
        tuple) count as better when ANY of them is, and all of them are then
        overwritten: the authors' rule, which can ratchet downhill (chapter 06)
    checkpoint : file to write now and then (atomically), or None
    callbacks : told of every step and every evaluation

    Returns
    -------
    (module with the best weights, in eval mode; history: list of dicts of step, named losses and
    valid)

    Raises
    ------
    DataError
        `batches` holds none.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        module = build().to(device)
        optimiser = torch.optim.AdamW(
            module.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=config.fused or None,
        )
        schedule = _schedule(optimiser, config)
        state: dict[str, Any] = {
            "step": 0,
            "best": None,
            "weights": None,
            "since": 0,
            "history": [],
        }
        state |= {"taken": 0, "pass_began": None}  # batches of this pass, its generator
        state = _resume(checkpoint, module, optimiser, schedule, state, config, device)
        stream = None if batches is None else _batches(batches, state)
        for step in _bar(range(state["step"], config.steps), progress):
            if config.patience is not None and state["since"] >= config.patience:
                break
            batch = () if stream is None else (next(stream),)
            module.train()
            out = loss(module, *batch)
            optimiser.zero_grad(set_to_none=True)
            out.total.backward()
            if config.clip is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip)
            rate = optimiser.param_groups[0]["lr"]
            optimiser.step()
            schedule.step()
            state["step"] = step + 1
            for callback in callbacks:
                callback.on_step(state["step"], module, out, rate)
            if state["step"] % config.evaluate_every == 0 or state["step"] == config.steps:
                row = _evaluate(module, out, evaluate, state)
                for callback in callbacks:
                    callback.on_evaluate(state["step"], module, row)
            if checkpoint is not None and state["step"] % config.checkpoint_every == 0:
                _save(checkpoint, module, optimiser, schedule, state, config, device)
        if state["weights"] is not None:
            module.load_state_dict(state["weights"])
    return module.eval(), state["history"]


def _schedule(
    optimiser: torch.optim.Optimizer, config: TrainConfig
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, config.learning_rate, total_steps=config.steps
        )
    if config.schedule == "cosine":

        def share(step: int) -> float:  # of the learning rate
            if step < config.warmup:
                return (step + 1) / config.warmup
            done = (step - config.warmup) / max(1, config.steps - config.warmup)
            return 0.5 * (1 + math.cos(math.pi * done))

        return torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    return torch.optim.lr_scheduler.MultiStepLR(
        optimiser, [config.milestone or config.steps], gamma=0.1
    )


def _batches(batches: Iterable[Any], state: dict[str, Any]) -> Iterator[Any]:
    """Batch after batch, pass after pass; `state` knows where in a pass one is.

    A pass is gone into again by drawing its order again: the generator is put back to where the
    pass began, the batches that were taken are passed over, and the generator goes on from where
    the checkpoint had it.
    """
    while True:
        now = torch.get_rng_state()
        if state["taken"]:
            torch.set_rng_state(state["pass_began"])
            rest = iter(batches)
            for _ in islice(rest, state["taken"]):
                pass
            torch.set_rng_state(now)
        else:
            state["pass_began"], rest = now, iter(batches)
        empty = not state["taken"]
        for batch in rest:
            empty = False
            state["taken"] += 1
            yield batch
        if empty:
            raise DataError(
                "no batch to train on",
                remedy="give an iterable with batches that can be gone through again and again",
            )
        state["taken"] = 0


def _bar(steps: range, progress: bool) -> Iterable[int]:
    from tqdm import tqdm

    return tqdm(
        steps, desc="training", unit="step", disable=None if progress else True
    )  # None: a bar in a terminal, nothing in a notebook


def _evaluate(
    module: nn.Module,
    out: LossOutput,
    evaluate: Callable[[nn.Module], float | tuple[float, ...]] | None,
    state: dict[str, Any],
) -> dict[str, float]:
    """The new row of the history; the weights are kept where they are the best so far."""
    module.eval()
    found = None
    if evaluate is not None:
        with torch.inference_mode():
            value = evaluate(module)
        found = [float(part) for part in (value if isinstance(value, tuple) else (value,))]
    parts = {name: round(float(value), 5) for name, value in out.parts.items()}
    row = {"step": state["step"], **parts}
    row |= {} if found is None else {"valid": round(found[0], 5)}
    state["history"].append(row)
    state["since"] += 1
    if found is not None and (
        state["best"] is None
        or any(new < old for new, old in zip(found, state["best"], strict=True))
    ):
        state.update(
            best=found,
            since=0,
            weights={name: value.detach().clone() for name, value in module.state_dict().items()},
        )
    return row


def _save(
    path: str | Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    state: dict[str, Any],
    config: TrainConfig,
    device: torch.device,
) -> None:
    random = {
        "cpu": torch.get_rng_state(),
        **({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}),
    }
    with atomic_write(path, "wb") as file:
        torch.save(
            {
                "config": asdict(config),
                "module": module.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "state": state,
                "random": random,
            },
            file,
        )


def _shapes(weights: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def _resume(
    path: str | Path | None,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    state: dict[str, Any],
    config: TrainConfig,
    device: torch.device,
) -> dict[str, Any]:
    """What `_save` left, put into place; `state` where there is nothing, it is damaged, or it is of
    another training: that starts afresh.
    """
    if path is None or not Path(path).exists():
        return state
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        fits = saved["config"] == asdict(config) and _shapes(saved["module"]) == _shapes(
            module.state_dict()
        )
        fits = fits and saved["random"].keys() == (
            {"cpu", "cuda"} if device.type == "cuda" else {"cpu"}
        )
        fits = (
            fits
            and saved["state"].keys() == state.keys()
            and {"optimiser", "schedule"} <= saved.keys()
        )
    except (
        EOFError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        UnpicklingError,
    ):
        return state
    if not fits:
        return state
    module.load_state_dict(saved["module"])
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict(saved["schedule"])
    torch.set_rng_state(saved["random"]["cpu"].cpu())
    if "cuda" in saved["random"]:
        torch.cuda.set_rng_state(saved["random"]["cuda"].cpu(), device)
    if saved["state"]["pass_began"] is not None:
        saved["state"]["pass_began"] = saved["state"]["pass_began"].cpu()
    return saved["state"]
