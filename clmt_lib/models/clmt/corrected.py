"""CLMT: text, attribute and structure views of drugs and lines, aligned, and one pair head (Duan et
al. 2026; chapters 02 to 06).

First version, the `corrected` preset: every entity is encoded once a step, the whole training table
is one batch, supervision edges are held out of message passing,
the contrast is over unique entities, and everything fitted is fitted on the train role.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.io import DataError
from clmt_lib.models.base import check_names, cosine
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.network import NetworkModel
from clmt_lib.nn.contrast import info_nce, multi_view, response_alignment, soft_alignment
from clmt_lib.nn.encoders import Tower
from clmt_lib.nn.fusion import masked, masked_sum
from clmt_lib.nn.heads import LossOutput, Output, PairHead
from clmt_lib.nn.message_passing import ResponseLayer
from clmt_lib.tasks import UNSEEN_DRUG_SPLITS
from clmt_lib.training import TrainConfig
from clmt_lib.views.base import (
    Annotation,
    Fingerprint,
    Raw,
    Recipe,
    Standardised,
    Text,
    fit_views,
    make_views,
)
from clmt_lib.views.controls import CONTROLS
from clmt_lib.views.molecules import jaccard
from clmt_lib.views.structure import ResponseGraph, nearest_of_new, response_graph

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

    cell_views: tuple[str, ...] = CELL_VIEWS
    drug_views: tuple[str, ...] = DRUG_VIEWS
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

    def __post_init__(self) -> None:
        """Raises DataError for an unknown view or alignment."""
        check_names(self, cell_views=CELL_VIEWS, drug_views=DRUG_VIEWS, alignment=ALIGNMENTS)

    @classmethod
    def corrected(cls, **changes: Any) -> "CLMTConfig":
        """The authors' idea, rebuilt around what the data reward: every entity once, responses as
        messages, one table as a batch.
        """
        return cls(**changes)

    @staticmethod
    def published(**changes: Any) -> Any:
        """What the authors' code computes, its defects included: a
        `models.clmt.published.PublishedConfig`; `defects=()` repairs them all.
        """
        from clmt_lib.models.clmt.published import PublishedConfig

        return PublishedConfig(**changes)


@dataclass
class CLMT(NetworkModel):
    """`CLMTConfig` behind the interface of every model; see there for the settings.

    Of a line or a drug that was not there at fit, the towers read its views, by the transforms
    fitted on the training set, and the graph tells it what its nearest training entities have to
    say; it has no response of its own. That is what a line or drug of a blind split gets, too.

    Attributes
    ----------
    table : [C, D] predictions for the entities it was fitted with
    """

    config: CLMTConfig = field(default_factory=CLMTConfig.corrected)
    table: Any = field(default=None, init=False, repr=False)
    Config = CLMTConfig
    version = 1
    settings_for = {
        "cell_blind": NEW_LINES,
        "tissue_blind": NEW_LINES,
        **dict.fromkeys(UNSEEN_DRUG_SPLITS, NEW_DRUGS),
        "both_blind": NEW_LINES | NEW_DRUGS,
    }
    # of metrics when a run is repeated: another processor's rounding grows over a training
    tolerance = 0.02

    def prepare(self, benchmark: Any, split: Any, device: torch.device) -> "Inputs":
        """See `prepare`."""
        return prepare(benchmark, split, self.config, device)

    def build(self, inputs: "Inputs") -> "Network":
        """See `Network`."""
        return Network(inputs, self.config)

    def loss(self, net: "Network", inputs: "Inputs", *batch: Any) -> LossOutput:
        """See `objective`."""
        return objective(net, inputs, self.config)

    def schedule(self, inputs: "Inputs") -> TrainConfig:
        """One cycle over the whole table."""
        config = self.config
        return TrainConfig(
            config.steps, config.learning_rate, config.weight_decay, clip=config.clip
        )

    def predicted(self, net: "Network", inputs: "Inputs", pairs: np.ndarray) -> np.ndarray:
        """[n] of one network."""
        row, column = torch.as_tensor(pairs.T.copy(), device=inputs.mask.device)
        found = net(inputs).prediction[row, column].cpu().numpy().astype(np.float64)
        drug = pairs[:, 1]
        return inputs.offset[drug] + inputs.spread[drug] * found

    def fit(self, benchmark: Any, split: Any) -> Self:
        """Train, then predict the whole table."""
        super().fit(benchmark, split)
        self.table = self._table(self.inputs)
        return self

    def _table(self, inputs: "Inputs") -> np.ndarray:
        """[C, D] mean of the networks, in the benchmark's units."""
        with torch.inference_mode():
            tables = [
                net(inputs).prediction.cpu().numpy().astype(np.float64) for net in self.networks
            ]
        return inputs.offset + inputs.spread * np.mean(tables, axis=0)

    def predict(self, pairs: np.ndarray, benchmark: Any = None) -> np.ndarray:
        """[n] predictions of [n, 2] positions (line, drug), here or in another benchmark."""
        pairs, table = np.asarray(pairs), self.table
        if benchmark is not None:
            pairs, inputs = self.placed(pairs, benchmark)
            if inputs is not self.inputs:
                known = tuple(slice(n) for n in table.shape)
                table = self._table(inputs)
                table[known] = self.table  # to the last bit, whoever else is asked about
        return table[tuple(pairs.T)]

    def extended(self, more: Mapping[str, Any]) -> "Inputs":
        """See `Inputs.extended`."""
        return self.inputs.extended(more, self.config)

    def state(self) -> dict[str, np.ndarray]:
        """Every weight, and what turns the targets back into the benchmark's units."""
        return {"offset": self.inputs.offset, "spread": self.inputs.spread} | super().state()


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the network reads of C lines and D drugs: tensors on one device.

    Attributes
    ----------
    cell, drug : view -> [n, features]: of every tower, and what similarity is read from
    present_cell, present_drug : view -> [n] bool, who has it
    recipes : side -> view -> how it was made, fitted on the training set
    graph : the response graph that the four tables below are of
    residual, mask : [C, D] standardised training response of a pair, and whether there is one
    similar_cells, similar_drugs : [C, C], [D, D] weights, row = who listens
    target : [C, D] what is predicted: training residuals after drug and line effects, in the drug's
        standard deviations; 0 where there is none
    weight : [D] of a squared error, so that it counts in the benchmark's units, as it is scored
    offset, spread : [D] float64 arrays; a prediction is offset + spread x output
    new_offset, new_spread : the same for a drug without a training response
    similar : side -> ([n, n] similarity of training responses, [n] bool known); empty where the
        alignment does not ask for it
    same_drug : [D, D] bool, two ids of one compound
    """

    cell: dict[str, torch.Tensor]
    drug: dict[str, torch.Tensor]
    present_cell: dict[str, torch.Tensor]
    present_drug: dict[str, torch.Tensor]
    recipes: dict[str, dict[str, Recipe]]
    graph: ResponseGraph
    residual: torch.Tensor
    mask: torch.Tensor
    similar_cells: torch.Tensor
    similar_drugs: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    offset: np.ndarray
    spread: np.ndarray
    new_offset: float
    new_spread: float
    similar: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    same_drug: torch.Tensor

    def in_units(self, prediction: torch.Tensor) -> np.ndarray:
        """[C, D] float64 what a network says, in the benchmark's units."""
        return self.offset + self.spread * prediction.cpu().numpy().astype(np.float64)

    def with_graph(self, graph: ResponseGraph) -> Self:
        """The same inputs with another response graph."""
        return replace(self, graph=graph, **_tables(graph, self.mask.device))

    def extended(self, more: Mapping[str, Any], config: CLMTConfig) -> Self:
        """The same inputs with further lines or drugs at the end: their views by the fitted
        recipes, no responses, and the training entities they resemble most as neighbours.

        Parameters
        ----------
        more : "cell" or "drug" -> `Side` of the further entities
        """
        out = self
        for name, side in more.items():
            out = out._with(side, name == "cell", config)
        return out

    def _with(self, side: Any, cells: bool, config: CLMTConfig) -> Self:
        name, n, device = "cell" if cells else "drug", len(side), self.mask.device
        recipe = self.recipes[name].get("text")
        if not cells and isinstance(recipe, Text) and recipe.source in CONTROLS:
            raise DataError(
                f"the control {recipe.source!r} has no vector for the drug {side.ids[0]!r}",
                remedy="predict new drugs with a model that reads their own text",
            )
        views = make_views(side, self.recipes[name])
        old = self.cell if cells else self.drug
        new = {view: made.tensor(device) for view, made in views.items()}
        there = self.present_cell if cells else self.present_drug
        known = (self.mask.sum(int(cells)) > 0).cpu().numpy()
        weights = nearest_of_new(
            self._resemblance(new, old, cells, config), known, config.neighbours
        )
        similar = self.similar_cells if cells else self.similar_drugs
        heard = torch.as_tensor(weights, dtype=similar.dtype, device=device)
        grown: dict[str, Any] = {
            f"similar_{name}s": torch.cat([F.pad(similar, (0, n)), F.pad(heard, (0, n))]),
            name: {view: torch.cat([x, new[view]]) for view, x in old.items()},
            f"present_{name}": {
                view: torch.cat([x, views[view].mask(device)]) for view, x in there.items()
            },
        }
        wider = (0, 0, 0, n) if cells else (0, n)
        grown |= {
            field: F.pad(getattr(self, field), wider) for field in ("residual", "mask", "target")
        }
        if not cells:
            grown |= {
                "weight": F.pad(self.weight, (0, n)),
                "same_drug": F.pad(self.same_drug, (0, n, 0, n)),
                "offset": np.append(self.offset, np.full(n, self.new_offset)),
                "spread": np.append(self.spread, np.full(n, self.new_spread)),
            }
        return replace(self, **grown)

    @staticmethod
    def _resemblance(
        new: dict[str, torch.Tensor], old: dict[str, torch.Tensor], cells: bool, config: CLMTConfig
    ) -> np.ndarray:
        """[new, known] as `prepare` has it among the known."""

        def alike(view: str, how: Any) -> np.ndarray:
            both = torch.cat([new[view], old[view]]).cpu().numpy().astype(np.float64)
            return how(both)[: len(new[view]), len(new[view]) :]

        if cells:
            return alike("expression", cosine)
        bits = alike("fingerprint", lambda x: jaccard((x != 0).astype(np.float64)))
        return 0.5 * alike("text", cosine) + 0.5 * bits if "text" in config.drug_views else bits


def recipes(config: CLMTConfig) -> dict[str, dict[str, Recipe]]:
    """How the views are made: those of the towers, and those by which neighbours are found."""
    makers = {
        "cell": {
            "expression": Standardised("expression"),
            "mutation": Raw("mutation", scale=SCALES["mutation"]),
            "copy_number": Standardised("copy_number"),
            "text": Text(config.cell_text, scale=SCALES["text"]),
        },
        "drug": {
            "fingerprint": Fingerprint(scale=SCALES["fingerprint"]),
            "annotation": Annotation(scale=SCALES["annotation"]),
            "text": Text(config.drug_text, seed=config.seed, scale=SCALES["text"]),
        },
    }
    wanted = {
        "cell": ("expression", *config.cell_views),
        "drug": ("fingerprint", *config.drug_views),
    }
    return {
        side: {view: made[view] for view in wanted[side] if view != "structure"}
        for side, made in makers.items()
    }


def prepare(
    benchmark: Any, split: Any, config: CLMTConfig, device: torch.device | str = "cpu"
) -> Inputs:
    """Everything the network needs about a benchmark, fitted on the training set.

    Raises
    ------
    DataError
        The benchmark lacks what a view is made from.
    """
    views = fit_views(benchmark, split, recipes(config))
    target, offset, spread, _ = per_drug_targets(benchmark, split)
    cell, drug = views["cell"], views["drug"]
    alike = jaccard(drug["fingerprint"].values)
    if "text" in config.drug_views:  # a view that is off is off everywhere
        alike = 0.5 * cosine(drug["text"].values) + 0.5 * alike
    graph = response_graph(
        benchmark.pairs[split.train],
        target,
        cosine(cell["expression"].values),
        alike,
        config.neighbours,
    )

    def tensor(x: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(x, dtype=np.float32), device=device)

    weight, measured = tensor(spread) ** 2, np.isfinite(target).any(0)
    similar = similar_responses(target) if config.alignment in ("soft", "response") else {}
    compound = torch.as_tensor(benchmark.drugs["compound"].factorize()[0], device=device)
    return Inputs(
        cell={name: view.tensor(device) for name, view in cell.items()},
        drug={name: view.tensor(device) for name, view in drug.items()},
        present_cell={name: view.mask(device) for name, view in cell.items()},
        present_drug={name: view.mask(device) for name, view in drug.items()},
        recipes=views.recipes,
        graph=graph,
        **_tables(graph, device),
        target=tensor(np.nan_to_num(target)),
        weight=weight / weight.mean(),
        offset=offset,
        spread=spread,
        new_offset=float(benchmark.y[split.train].mean()),  # its effect is zero
        new_spread=float(np.nanmean(np.nanstd((target * spread)[:, measured], axis=0))),
        similar={
            name: (tensor(s), torch.as_tensor(known, device=device))
            for name, (s, known) in similar.items()
        },
        same_drug=compound[:, None] == compound[None],
    )


def _tables(graph: ResponseGraph, device: torch.device | str) -> dict[str, Any]:
    """The graph as dense [C, D], [C, C] and [D, D] tables."""

    def dense(index: Any, weight: Any, shape: tuple[int, int]) -> torch.Tensor:
        out = np.zeros(shape, np.float32)
        out[tuple(index)] = weight
        return torch.as_tensor(out, device=device)

    shape = (graph.n_cells, graph.n_drugs)
    return {
        "residual": dense(graph.responses, graph.value, shape),
        "mask": dense(graph.responses, 1.0, shape),
        # [target, source]
        "similar_cells": dense(graph.similar_cells[::-1], graph.weight_cells, (shape[0],) * 2),
        "similar_drugs": dense(graph.similar_drugs[::-1], graph.weight_drugs, (shape[1],) * 2),
    }


def similar_responses(
    target: np.ndarray, rank: int = 20, ridge: float = 10.0, fewest: int = 10
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
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


class Network(nn.Module):
    """Towers and graph layers, their embeddings summed per entity, one pair head.

    Shapes
    ------
    inputs : `Inputs` of C lines and D drugs; out : `Output` with predictions [C, D]
    """

    def __init__(self, inputs: Inputs, config: CLMTConfig) -> None:
        super().__init__()
        self.config = config
        self.cell, self.drug = (
            nn.ModuleDict(
                {
                    name: Tower(
                        x[name].shape[1], config.hidden, config.dim, config.drop_in, config.drop
                    )
                    for name in names
                    if name != "structure"
                }
            )
            for x, names in ((inputs.cell, config.cell_views), (inputs.drug, config.drug_views))
        )
        cells, drugs = inputs.residual.shape
        self.graph_cell = ResponseLayer(drugs, config.message, config.dim, config.drop_graph)
        self.graph_drug = ResponseLayer(cells, config.message, config.dim, config.drop_graph)
        self.head = PairHead(config.dim)

    def forward(
        self,
        inputs: Inputs,
        mask: torch.Tensor | None = None,
        hide_cell: torch.Tensor | None = None,
        hide_drug: torch.Tensor | None = None,
    ) -> Output:
        """Output over all [C, D] pairs.

        Parameters
        ----------
        mask : [C, D] 0/1, which training responses travel as messages; None for all of them
        hide_cell, hide_drug : [n] bool, entities whose own responses are hidden from them, as a new
            entity's are; what they tell their neighbours is not
        """
        mask = inputs.mask if mask is None else mask
        cell = {name: tower(inputs.cell[name]) for name, tower in self.cell.items()}
        drug = {name: tower(inputs.drug[name]) for name, tower in self.drug.items()}
        there_cell = {name: inputs.present_cell[name] for name in cell}
        there_drug = {name: inputs.present_drug[name] for name in drug}
        if "structure" in self.config.cell_views:
            cell |= self._listen(self.graph_cell, inputs.residual, mask, inputs.similar_cells)
            there_cell["structure"] = self._speaks(mask, hide_cell)
        if "structure" in self.config.drug_views:
            drug |= self._listen(self.graph_drug, inputs.residual.T, mask.T, inputs.similar_drugs)
            there_drug["structure"] = self._speaks(mask.T, hide_drug)
        cell, drug = masked(cell, there_cell), masked(drug, there_drug)
        prediction = self.head(masked_sum(cell, {}), masked_sum(drug, {}))
        return Output(prediction, cell, drug, there_cell, there_drug)

    @staticmethod
    def _listen(
        layer: ResponseLayer, residual: torch.Tensor, mask: torch.Tensor, neighbours: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """What an entity's own responses say, and those of its neighbours. A new entity sends
        nothing, and stands behind those that the layer knows.
        """
        known = layer.sender.shape[0] // 2
        own, nearby = layer(residual[:, :known], mask[:, :known], neighbours)
        return {"structure": own, "neighbours": nearby}

    @staticmethod
    def _speaks(mask: torch.Tensor, hide: torch.Tensor | None) -> torch.Tensor:
        """[n] bool: an entity without responses has no message of its own, nor has a hidden one."""
        seen = mask.sum(1) > 0
        return seen if hide is None else seen & ~hide


def objective(net: Network, inputs: Inputs, config: CLMTConfig) -> LossOutput:
    """LossOutput of one step: error on the pairs held out of message passing, plus alignment.

    A pair supervises or travels as a message, never both: what a network is asked about must not
    be what it was told.
    """
    mask = inputs.mask * (torch.rand_like(inputs.mask) < config.keep)
    held = inputs.mask - mask if config.keep < 1 else inputs.mask
    hide = [
        torch.rand(n, device=mask.device) < share
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


def alignment(out: Output, inputs: Inputs, config: CLMTConfig) -> torch.Tensor:
    """Alignment loss over unique training entities: attribute with structure and with text, lines
    and drugs apart; or cosines onto response similarity.

    Training entities only: a held-out line's omics must not shape a weight.
    """
    if config.alignment == "response":
        cells, drugs = (
            response_alignment(masked_sum(side, {}), *inputs.similar[name])
            for name, side in (("cell", out.cell), ("drug", out.drug))
        )
        return cells + drugs
    total = torch.zeros((), device=inputs.mask.device)
    for name, side, present, attribute, seen, same in (
        ("cell", out.cell, out.present_cell, "expression", inputs.mask.sum(1) > 0, None),
        (
            "drug",
            out.drug,
            out.present_drug,
            "fingerprint",
            inputs.mask.sum(0) > 0,
            inputs.same_drug,
        ),
    ):
        loss = partial(info_nce, temperature=config.temperature)
        if config.alignment == "soft":
            similar, enough = inputs.similar[name]
            targets = (SHARPNESS * similar).softmax(1)
            loss = partial(soft_alignment, targets=targets, temperature=config.temperature)
            seen, same = seen & enough, None
        pairs = [
            (attribute, other)
            for other in ("structure", "text")
            if attribute in side and other in side
        ]
        known = {view: seen & there for view, there in present.items()}
        total = total + multi_view(side, known, same, pairs, loss)
    return total
