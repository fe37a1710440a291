"""One visible training loop that knows no model (chapter 06)."""

from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch

from clmt_lib.io import atomic_write


@dataclass(frozen=True)
class TrainConfig:
    """How long and how hard to train.

    Attributes
    ----------
    steps : optimiser steps (one step sees every training pair when the loss is full batch)
    learning_rate, weight_decay : of AdamW
    schedule : "one_cycle" (Smith and Topin 2018), or "step": constant, a tenth from step
        `milestone` on
    evaluate_every : steps between looks at the valid role; the best weights seen are kept
    patience : evaluations without improvement before stopping; None never stops early
    checkpoint_every : steps between checkpoints
    seed : of initialisation and dropout
    clip : gradients whose norm is larger are scaled down to it (Pascanu et al. 2013); None lets any
        through
    fused : AdamW in one pass over the weights, several times faster for a network of millions of
        them; rounds differently
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


def pick_device(device="auto"):
    """torch.device: "auto" takes a GPU where there is one."""
    return (
        torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device == "auto"
        else torch.device(device)
    )


def train(build, loss, config, *, evaluate=None, checkpoint=None, device="cpu", progress=False):
    """Train a module, resuming from `checkpoint` if it is there: an interrupted and an undisturbed
    run end with the same weights.

    Parameters
    ----------
    build : () -> nn.Module, called under the seed
    loss : module -> LossOutput
    evaluate : module -> float, lower is better; None keeps the last weights. Several criteria (a
        tuple) count as better when ANY of them is, and all of them are then
        overwritten: the authors' rule, which can ratchet downhill (chapter 06)
    checkpoint : file to write now and then (atomically), or None

    Returns
    -------
    (module with the best weights, in eval mode; history: list of dicts of step, named losses and
    valid)
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
        state = {"step": 0, "best": None, "weights": None, "since": 0, "history": []}
        state = _resume(checkpoint, module, optimiser, schedule, state, config, device)
        for step in _bar(range(state["step"], config.steps), progress):
            if config.patience is not None and state["since"] >= config.patience:
                break
            module.train()
            out = loss(module)
            optimiser.zero_grad(set_to_none=True)
            out.total.backward()
            if config.clip is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip)
            optimiser.step()
            schedule.step()
            state["step"] = step + 1
            if state["step"] % config.evaluate_every == 0 or state["step"] == config.steps:
                _look(module, out, evaluate, state)
            if checkpoint is not None and state["step"] % config.checkpoint_every == 0:
                _save(checkpoint, module, optimiser, schedule, state, config, device)
        if state["weights"] is not None:
            module.load_state_dict(state["weights"])
    return module.eval(), state["history"]


def _schedule(optimiser, config):
    if config.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, config.learning_rate, total_steps=config.steps
        )
    return torch.optim.lr_scheduler.MultiStepLR(
        optimiser, [config.milestone or config.steps], gamma=0.1
    )


def _bar(steps, progress):
    from tqdm import tqdm

    return tqdm(
        steps, desc="training", unit="step", disable=None if progress else True
    )  # None: a bar in a terminal, nothing in a notebook


def _look(module, out, evaluate, state):
    module.eval()
    with torch.inference_mode():
        found = evaluate(module) if evaluate is not None else None
        found = (
            found
            if found is None
            else [float(value) for value in (found if isinstance(found, tuple) else (found,))]
        )
    parts = {name: round(float(value), 5) for name, value in out.parts.items()}
    state["history"].append(
        {"step": state["step"], **parts, **({} if found is None else {"valid": round(found[0], 5)})}
    )
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


def _save(path, module, optimiser, schedule, state, config, device):
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


def _shapes(weights):
    return {name: value.shape for name, value in weights.items()}


def _resume(path, module, optimiser, schedule, state, config, device):
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
    return saved["state"]
