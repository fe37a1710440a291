"""CLMT: text, attribute and structure views of drugs and lines, aligned, and one pair head (Duan et
al. 2026; chapters 02 to 06).

First version, the `corrected` preset: every entity is encoded once a step, the whole training table
is one batch, supervision edges are held out of message passing,
the contrast is over unique entities, and everything fitted is fitted on the train role.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clmt_lib.models.base import (
    UNSEEN_DRUG_SPLITS,
    Configured,
    TableModel,
    check_names,
    cosine,
    selection_score,
)
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.nn.contrast import info_nce, response_alignment, soft_alignment
from clmt_lib.nn.encoders import Tower
from clmt_lib.nn.heads import LossOutput, Output, PairHead
from clmt_lib.nn.message_passing import ResponseLayer
from clmt_lib.training import TrainConfig, pick_device, train
from clmt_lib.views.controls import drug_vectors
from clmt_lib.views.molecules import fingerprints, jaccard, membership
from clmt_lib.views.omics import fit_omics
from clmt_lib.views.structure import response_graph
from clmt_lib.views.text import describe_cells, encode

SCALES = {
    "text": 10.0,
    "fingerprint": 3.0,
    "annotation": 3.0,
    "mutation": 2.0,
}  # rough: sparse or small inputs to about the spread of a z-score
CELL_VIEWS = ("expression", "mutation", "copy_number", "text", "structure")
DRUG_VIEWS = ("fingerprint", "annotation", "text", "structure")
# of soft targets: an entity whose responses correlate at .8 counts e^-2 of the entity itself
SHARPNESS = 10.0
# a new line, or a new drug, wants more dropout, and to be hidden in training as it would be in use
NEW_LINES = {"drop": 0.5, "drop_in": 0.2, "weight_decay": 0.1, "hide_cells": 0.5}
NEW_DRUGS = {"drop": 0.5, "drop_in": 0.2, "weight_decay": 0.1, "hide_drugs": 0.5}
ALIGNMENTS = ("none", "infonce", "soft", "response")


@dataclass(frozen=True)
class CLMTConfig:
    """Switches and sizes of the model.

    Attributes
    ----------
    cell_views, drug_views : which towers there are; structure is the response graph
    hidden, dim, message : widths of a tower, of an embedding, of a graph message
    drop_in, drop, drop_graph : dropout of inputs, hidden layers and messages; blind splits want
        more
    keep : share of training pairs that may travel as messages in a step; the others supervise
    hide_cells, hide_drugs : share of entities whose own responses are hidden in a step, as a new
        entity's would be
    alignment : none, infonce (views of one entity), soft (infonce whose targets are shared out by
        response similarity), or response (cosines regressed on response similarity)
    weight, temperature : of the alignment
    neighbours : k of the similarity relations
    members : trainings whose predictions are averaged
    clip : largest norm of a gradient, or None: for data on which trainings break at the peak of the
        learning rate (chapter 07)
    drug_text, cell_text : what the text towers read: a source of `views.controls.drug_vectors`, of
        `views.text.describe_cells`
    """

    cell_views: tuple = CELL_VIEWS
    drug_views: tuple = DRUG_VIEWS
    hidden: int = 256
    dim: int = 128
    message: int = 256
    drop_in: float = 0.1
    drop: float = 0.2
    drop_graph: float = 0.2
    keep: float = 0.85
    hide_cells: float = 0.0
    hide_drugs: float = 0.0
    alignment: str = "infonce"
    weight: float = 0.01
    temperature: float = 0.2
    neighbours: int = 10
    members: int = 1
    drug_text: str = "annotation"
    cell_text: str = "annotation"
    steps: int = 300
    learning_rate: float = 3e-3
    weight_decay: float = 0.3
    clip: float | None = None
    seed: int = 0

    def __post_init__(self):
        """Raises DataError for an unknown view or alignment."""
        check_names(self, cell_views=CELL_VIEWS, drug_views=DRUG_VIEWS, alignment=ALIGNMENTS)

    @classmethod
    def corrected(cls, **changes):
        """The authors' idea, rebuilt around what the data reward: every entity once, responses as
        messages, one table as a batch.
        """
        return cls(**changes)

    @staticmethod
    def published(**changes):
        """What the authors' code computes, its defects included: a
        `models.clmt.published.PublishedConfig`; `defects=()` repairs them all.
        """
        from clmt_lib.models.clmt.published import PublishedConfig

        return PublishedConfig(**changes)


@dataclass
class CLMT(Configured, TableModel):
    """`CLMTConfig` behind the interface of every model; see there for the settings.

    `device` is "auto", "cpu" or "cuda"; `checkpoint` a file name that each member's checkpoint is
    named after.
    """

    config: CLMTConfig = field(default_factory=CLMTConfig.corrected)
    device: str = "auto"
    checkpoint: Path | None = None
    progress: bool = False
    Config = CLMTConfig
    version = 1
    accelerated = True
    settings_for = {
        "cell_blind": NEW_LINES,
        "tissue_blind": NEW_LINES,
        **dict.fromkeys(UNSEEN_DRUG_SPLITS, NEW_DRUGS),
    }
    # of metrics when a run is repeated: another processor's rounding grows over a training
    tolerance = 0.02

    def fit(self, benchmark, split):
        """Train on train, keep the weights best on valid."""
        config, device = self.config, pick_device(self.device)
        self.device_used = str(device)
        views = make_views(benchmark, split, config)
        inputs = Inputs(views, config, device)
        valid = torch.as_tensor(benchmark.pairs[split.valid].T, device=device)
        tables, self.history, self.fitted = (
            [],
            [],
            {"offset": views["offset"], "spread": views["spread"]},
        )

        def score(module):
            t = module(inputs).prediction[valid[0], valid[1]].cpu().numpy().astype(np.float64)
            drug = benchmark.pairs[split.valid, 1]
            return selection_score(
                benchmark, split, views["offset"][drug] + views["spread"][drug] * t
            )

        for member in range(config.members):
            module, history = train(
                lambda: Network(inputs, config),
                lambda net: objective(net, inputs, config),
                TrainConfig(
                    config.steps,
                    config.learning_rate,
                    config.weight_decay,
                    clip=config.clip,
                    seed=config.seed + member,
                ),
                evaluate=score,
                checkpoint=self.checkpoint and self.checkpoint.with_suffix(f".{member}.pt"),
                device=device,
                progress=self.progress,
            )
            with torch.inference_mode():
                tables.append(module(inputs).prediction.cpu().numpy().astype(np.float64))
            self.history += [{"member": member, **row} for row in history]
            self.fitted |= {
                f"{member}.{name}": value.cpu().numpy()
                for name, value in module.state_dict().items()
            }
        self.table = views["offset"] + views["spread"] * np.mean(tables, axis=0)
        self.chosen = {"best_valid": min(row["valid"] for row in self.history)}
        return self


def make_views(benchmark, split, config):
    """Everything the network needs about a benchmark, as arrays fitted on the train role: inputs by
    view, graph, targets and their scale.
    """
    target, offset, spread, _ = per_drug_targets(benchmark, split)
    expression = fit_omics(benchmark, split)(benchmark)
    drug_text, bits = (
        drug_vectors(benchmark.drugs, config.drug_text, config.seed),
        fingerprints(benchmark.drugs),
    )
    omics = {name: benchmark.omics[name] for name in ("mutation", "copy_number")}
    makers = {
        "expression": lambda: expression,
        "mutation": lambda: benchmark.omics["mutation"].to_numpy(),
        "text": lambda: encode(describe_cells(benchmark.cells, config.cell_text, omics)),
        "copy_number": lambda: fit_omics(benchmark, split, "copy_number")(benchmark),
    }
    drugs = {
        "fingerprint": lambda: bits,
        "text": lambda: drug_text,
        "annotation": lambda: np.hstack(
            [membership(benchmark.drugs["target"]), membership(benchmark.drugs["pathway"])]
        ),
    }
    alike = (
        0.5 * cosine(drug_text) + 0.5 * jaccard(bits)
        if "text" in config.drug_views
        else jaccard(bits)
    )  # a view that is off is off everywhere
    graph = response_graph(
        benchmark.pairs[split.train], target, cosine(expression), alike, config.neighbours
    )
    return {
        "cell": {
            name: SCALES.get(name, 1.0) * makers[name]()
            for name in config.cell_views
            if name != "structure"
        },
        "drug": {
            name: SCALES.get(name, 1.0) * drugs[name]()
            for name in config.drug_views
            if name != "structure"
        },
        "graph": graph,
        "target": target,
        "offset": offset,
        "spread": spread,
        "similar": similar_responses(target) if config.alignment in ("soft", "response") else None,
        "compound": benchmark.drugs["compound"].factorize()[0],
    }


def similar_responses(target, rank=20, ridge=10.0, fewest=10):
    """Similarity of lines, and of drugs, in their denoised training residuals.

    Returns
    -------
    {"cell": ([C, C] correlation, [C] bool known), "drug": ([D, D], [D])}; known entities have at
    least `fewest` training pairs.
    """
    seen = np.isfinite(target)
    u, v = factorise(np.nan_to_num(target), seen, rank, ridge)
    smooth, out = u @ v.T, {}
    for name, rows, count in (("cell", smooth, seen.sum(1)), ("drug", smooth.T, seen.sum(0))):
        out[name] = cosine(rows - rows.mean(1, keepdims=True)), count >= fewest
    return out


def _there(name, x):
    """[n, 1] whether an entity has this view: a missing text or structure is a row of zeros, while
    a row of zeros in a table of mutations is a fact.
    """
    known = (x != 0).any(1, keepdim=True).float()
    return known if name in ("text", "fingerprint", "annotation") else torch.ones_like(known)


class Inputs:
    """The views on a device: a tensor for each tower, and the graph as dense [C, D], [C, C] and [D,
    D] tables.
    """

    def __init__(self, views, config, device):
        def dense(index, weight, shape):
            out = np.zeros(shape, np.float32)
            out[tuple(index)] = weight
            return torch.as_tensor(out, device=device)

        def tensor(x):
            return torch.as_tensor(np.asarray(x, dtype=np.float32), device=device)

        graph = views["graph"]
        self.cell = {name: tensor(x) for name, x in views["cell"].items()}
        self.drug = {name: tensor(x) for name, x in views["drug"].items()}
        self.there_cell, self.there_drug = (
            {name: _there(name, x) for name, x in side.items()} for side in (self.cell, self.drug)
        )
        shape = (graph.n_cells, graph.n_drugs)
        self.residual, self.mask = (
            dense(graph.responses, graph.value, shape),
            dense(graph.responses, 1.0, shape),
        )
        self.similar_cells = dense(
            graph.similar_cells[::-1], graph.weight_cells, (shape[0],) * 2
        )  # [target, source]
        self.similar_drugs = dense(graph.similar_drugs[::-1], graph.weight_drugs, (shape[1],) * 2)
        self.target = tensor(np.nan_to_num(views["target"]))
        weight = tensor(views["spread"]) ** 2
        self.weight = (
            weight / weight.mean()
        )  # [drugs]: errors count in ln uM, as they will be scored
        self.similar = views["similar"] and {
            name: (tensor(s), torch.as_tensor(known, device=device))
            for name, (s, known) in views["similar"].items()
        }
        compound = torch.as_tensor(views["compound"], device=device)
        self.same_drug = compound[:, None] == compound[None]


class Network(nn.Module):
    """Towers and graph layers, their embeddings summed per entity, one pair head."""

    def __init__(self, inputs, config):
        super().__init__()
        self.config = config
        self.cell, self.drug = (
            nn.ModuleDict(
                {
                    name: Tower(x.shape[1], config.hidden, config.dim, config.drop_in, config.drop)
                    for name, x in side.items()
                }
            )
            for side in (inputs.cell, inputs.drug)
        )
        cells, drugs = inputs.residual.shape
        self.graph_cell = ResponseLayer(drugs, config.message, config.dim, config.drop_graph)
        self.graph_drug = ResponseLayer(cells, config.message, config.dim, config.drop_graph)
        self.head = PairHead(config.dim)

    def forward(self, inputs, mask=None, hide_cell=None, hide_drug=None):
        """Output over all [C, D] pairs; `mask` [C, D] says which training responses travel,
        `hide_*` [n, 1] whose own are hidden.
        """
        mask = inputs.mask if mask is None else mask
        cell = {
            name: tower(inputs.cell[name]) * inputs.there_cell[name]
            for name, tower in self.cell.items()
        }
        drug = {
            name: tower(inputs.drug[name]) * inputs.there_drug[name]
            for name, tower in self.drug.items()
        }
        if "structure" in self.config.cell_views:
            cell |= self._listen(
                self.graph_cell, inputs.residual, mask, inputs.similar_cells, hide_cell
            )
        if "structure" in self.config.drug_views:
            drug |= self._listen(
                self.graph_drug, inputs.residual.T, mask.T, inputs.similar_drugs, hide_drug
            )
        return Output(self.head(sum(cell.values()), sum(drug.values())), cell, drug)

    @staticmethod
    def _listen(layer, residual, mask, neighbours, hide):
        own, nearby = layer(residual, mask, neighbours)
        seen = (mask.sum(1, keepdim=True) > 0).to(
            own.dtype
        )  # a node without responses has no message of its own
        return {
            "structure": own * (seen if hide is None else seen * (1 - hide)),
            "neighbours": nearby,
        }


def objective(net, inputs, config):
    """LossOutput of one step: error on the pairs held out of message passing, plus alignment."""
    mask = inputs.mask * (torch.rand_like(inputs.mask) < config.keep)
    held = inputs.mask - mask if config.keep < 1 else inputs.mask
    hide = [
        (torch.rand(n, 1, device=mask.device) < share).float()
        for n, share in zip(mask.shape, (config.hide_cells, config.hide_drugs), strict=True)
    ]
    out = net(inputs, mask, *hide)
    error = (inputs.weight * held * (out.prediction - inputs.target) ** 2).sum() / held.sum()
    aligned = (
        config.weight * alignment(out, inputs, config)
        if config.alignment != "none"
        else torch.zeros((), device=mask.device)
    )
    return LossOutput(error + aligned, {"error": error.detach(), "alignment": aligned.detach()})


def alignment(out, inputs, config):
    """Alignment loss over unique training entities: attribute with structure and with text, lines
    and drugs apart; or cosines onto response similarity.
    """
    if config.alignment == "response":
        return sum(
            response_alignment(sum(side.values()), *inputs.similar[name])
            for name, side in (("cell", out.cell), ("drug", out.drug))
        )
    total = torch.zeros((), device=inputs.mask.device)
    for name, side, attribute, seen, same in (
        ("cell", out.cell, "expression", inputs.mask.sum(1) > 0, None),
        ("drug", out.drug, "fingerprint", inputs.mask.sum(0) > 0, inputs.same_drug),
    ):
        for other in (
            "structure",
            "text",
        ):  # training entities only: a held-out line's omics must not shape a weight
            if attribute in side and other in side:
                known = seen & (side[attribute].abs().sum(1) > 0) & (side[other].abs().sum(1) > 0)
                if config.alignment == "soft":
                    similar, enough = inputs.similar[name]
                    total = total + soft_alignment(
                        side[attribute],
                        side[other],
                        (SHARPNESS * similar).softmax(1),
                        config.temperature,
                        known & enough,
                    )
                else:
                    total = total + info_nce(
                        side[attribute], side[other], config.temperature, known, same
                    )
    return total
