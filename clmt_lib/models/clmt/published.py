"""CLMT as its authors' public code computes it, each defect of that code a switch (Duan et al.
2026; chapters 03 to 06).

What the code does was read in its public repository (myduan18/CLMT, commit b4707bc); where in it
each defect sits stands in the chapter published_code, as far as it is one place.
Not kept, and the same in every variant measured here:

* Neighbour sampling: its library has no wheels. All messages of the whole graph are computed
  instead, which is what sampling estimates.
* Entities are encoded once a batch, not once a pair: dropout is drawn, and norms count, once an
  entity. In eval mode, without the defects that make the batch matter,
  the result is the same to rounding.
* Every step draws its batch afresh from all training pairs; a pass is as many steps as would show
  every pair once.
* The second convolution over bonds and the self-loops of bonds: nothing depends on the one, and
  GINE hears itself without the other. Two linear layers with only BatchNorm
  between are one linear layer.
* The target of the threshold task is standardised: in ln uM its squared error outweighs everything
  else.
* The authors' tables and texts, and PubMedBERT, could not be had: copy number is a log ratio
  instead of 0/1, a drug has one pathway, and texts are made by `views.text`
  and read by the bundled encoder.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.models.base import check_names
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.clmt import auxiliary
from clmt_lib.models.network import NetworkModel
from clmt_lib.nn.contrast import info_nce
from clmt_lib.nn.encoders import Dropout
from clmt_lib.nn.heads import LossOutput
from clmt_lib.nn.message_passing import HeteroSAGE, Relation
from clmt_lib.nn.molecular import FingerprintEncoder, GeometricEncoder
from clmt_lib.tasks.metrics import pearson, rmse
from clmt_lib.training import TrainConfig
from clmt_lib.views.base import (
    Fingerprint,
    Molecules,
    Ranged,
    Raw,
    Recipe,
    Text,
    fit_views,
    make_views,
)
from clmt_lib.views.geometry import MoleculeGraphs
from clmt_lib.views.structure import relations
from clmt_lib.views.text import BUNDLED

DEFECTS = {  # switch -> what the authors' code does where it is on; off is the repair
    "dropout_at_test": "dropout of the drug encoder stays on at validation and test: "
    "predictions are random",
    "graph_norm_over_batch": "GraphNorm gets no batch vector: all molecules of a batch are "
    "normalised as one",
    "shuffled_test": "test batches are drawn in random order: a prediction's batch-mates change",
    "nearest_dropped": "the nearest neighbour is dropped: ranks 2 to k + 1 are kept",
    "reversed_neighbours": "similarity edges run backwards: a node receives from those that "
    "list it, or nobody",
    "no_drug_to_cell": "no edge leads from a drug to a line: a line's structure knows nothing "
    "of its responses",
    "unweighted_responses": "a response edge says that a pair was measured, not what was measured",
    "transductive_neighbours": "lines and drugs of the test set are neighbours too: their "
    "features reach the weights",
    "supervision_edges_in_messages": "the pairs a batch is asked about also carry messages",
    "test_graph_of_test_pairs": "at validation and test the response edges are those of the "
    "pairs asked about (without unweighted_responses: none, as "
    "their responses are unknown)",
    "scaled_on_all_cells": "expression is scaled, and genes are chosen, on all lines, test "
    "lines included",
    "threshold_from_all_responses": "the auxiliary drug threshold is computed from test "
    "responses too",
    "false_negatives": "the contrast is over pairs: the same drug in another pair of the batch "
    "counts as a negative",
    "positive_left_out": "the positive is missing from the denominator of the contrastive loss",
    "one_direction": "the contrast runs from attribute to the other view only",
    "text_tail": "a text is read from its character 800 on; a shorter one is empty",
    "missing_as_text": "an empty text is encoded like any other: all entities without text "
    "share one vector, and are contrasted",
    "or_selection": "an epoch is kept when RMSE or correlation is better, and both marks are "
    "then overwritten",
}
SITES = ("text", "graph", "attribute")


@dataclass(frozen=True)
class PublishedConfig:
    """Sizes, weights and defects; the defaults are the authors', but for `batch` and `epochs`,
    sized for a CPU.

    Attributes
    ----------
    defects : switches that are on, names of `DEFECTS`
    width : of an embedding (256); every other width is a multiple of it
    batch : pairs a step (256 in the code)
    tile : (lines, drugs): a step takes the training pairs of so many random lines with so many
        random drugs instead of `batch` random pairs; empty for random pairs.
        Fewer entities are encoded for each pair, and pairs of a step share them: cheaper, and not
        the same training (chapter 14)
    mates : pairs that meet where it matters who meets: in a contrast over pairs, and under a norm
        over the batch at test (256 in the code)
    epochs, patience : most passes over the training pairs (300 in the code), and looks without
        improvement before stopping; it looks every other pass
    alpha, beta : weights of the contrastive losses (1e-2 is the code's default) and of the
        auxiliary tasks
    views : which parts of an entity enter the head
    tasks : auxiliary tasks
    drug_text, cell_text : sources of `views.text.describe_drugs` and `describe_cells`
    neighbours : k of the similarity edges
    conformers : tried per molecule, the lowest energy is kept (10 in the code)
    genes : most variable genes kept
    precision : "float32", or "bfloat16": matrix products of a training step in half precision and
        AdamW fused, where the processor is faster at it (chapter 14);
        weights and predictions stay float32
    """

    defects: tuple = tuple(DEFECTS)
    width: int = 256
    batch: int = 1024
    tile: tuple = ()
    mates: int = 256
    epochs: int = 60
    patience: int = 5
    learning_rate: float = 1e-3
    weight_decay: float = 0.005
    milestone: int = 60
    drop: float = 0.3
    alpha: float = 0.01
    beta: float = 0.5
    temperature: float = 0.3
    views: tuple = SITES
    tasks: tuple = auxiliary.TASKS
    drug_text: str = "annotation"
    cell_text: str = "annotation"
    encoder: str = BUNDLED
    neighbours: int = 20
    conformers: int = 1
    genes: int = 8000
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DataError for an unknown defect, view, task or precision."""
        check_names(
            self,
            defects=DEFECTS,
            views=SITES,
            tasks=auxiliary.TASKS,
            precision=("float32", "bfloat16"),
        )

    def has(self, defect: str) -> bool:
        """Whether this defect is on."""
        return defect in self.defects


@dataclass
class Published(NetworkModel):
    """`PublishedConfig` behind the interface of every model.

    Predictions are made batch by batch of the pairs asked about, because with some defects the
    batch matters. A line or drug that was not there at fit is one more node of the graph, without
    responses; with `transductive_neighbours` it speaks to the others, too.
    """

    config: PublishedConfig = field(default_factory=PublishedConfig)
    Config = PublishedConfig
    version = 1
    tolerance = 0.05

    def prepare(self, benchmark: Any, split: Any, device: torch.device) -> "Inputs":
        """See `prepare`."""
        return prepare(benchmark, split, self.config, device)

    def build(self, inputs: "Inputs") -> "Network":
        """See `Network`."""
        return Network(inputs, self.config)

    def _draw(self, inputs: "Inputs") -> tuple[Callable[[], torch.Tensor], int]:
        """(() -> positions into the training pairs of one step; steps of a pass)."""
        pairs, config = inputs.pairs, self.config
        if config.tile:
            draw, size = tiles(pairs.cpu(), config.tile)
        else:
            draw, size = lambda: torch.randperm(len(pairs))[: config.batch], config.batch
        return draw, max(1, len(pairs) // size)

    def batches(self, inputs: "Inputs") -> "Draws":
        """Every step draws its pairs afresh."""
        return Draws(*self._draw(inputs))

    def loss(self, net: "Network", inputs: "Inputs", *batch: torch.Tensor) -> LossOutput:
        """See `objective`; `batch` is positions into the training pairs."""
        rows, device = batch[0].to(inputs.device), inputs.device.type
        half = self.config.precision == "bfloat16"
        with torch.autocast(device, torch.bfloat16, enabled=half):
            return objective(net, inputs, inputs.pairs[rows], inputs.y[rows], self.config)

    def schedule(self, inputs: "Inputs") -> TrainConfig:
        """As in the code: a constant rate, a tenth from a milestone on, patience."""
        config, steps = self.config, self._draw(inputs)[1]
        return TrainConfig(
            config.epochs * steps,
            config.learning_rate,
            config.weight_decay,
            evaluate_every=2 * steps,
            patience=config.patience,
            checkpoint_every=4 * steps,
            schedule="step",
            milestone=config.milestone * steps,
            fused=config.precision == "bfloat16",
        )

    def score(
        self, net: "Network", inputs: "Inputs", benchmark: Any, split: Any
    ) -> float | tuple[float, ...]:
        """The score that selects everywhere, or, as in the code, either of two criteria."""
        if not self.config.has("or_selection"):
            return super().score(net, inputs, benchmark, split)
        measured = benchmark.y[split.valid]
        predicted = self.predicted(net, inputs, benchmark.pairs[split.valid])
        return rmse(measured, predicted), -pearson(measured, predicted)

    def fit(self, benchmark: Any, split: Any) -> Self:
        """Train on the training set, keep the weights that are best on the validation set."""
        super().fit(benchmark, split)
        steps = self._draw(self.inputs)[1]
        self.chosen = {**self.chosen, "epochs": self.history[-1]["step"] // steps}
        return self

    def predict(self, pairs: np.ndarray, benchmark: Any = None) -> np.ndarray:
        """[n] ln IC50 (ln uM) of [n, 2] positions (cell, drug); the same for the same call,
        whatever is random inside.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return super().predict(pairs, benchmark)

    def predicted(self, net: "Network", inputs: "Inputs", pairs: np.ndarray) -> np.ndarray:
        """[n] of one network, batch by batch."""
        asked, config = torch.tensor(pairs), self.config
        # some order, as responses come sorted by drug: the same at every call but for
        # `shuffled_test`
        fixed = torch.Generator().manual_seed(0)
        order = torch.randperm(len(asked), generator=None if config.has("shuffled_test") else fixed)
        edges = None
        if config.has("test_graph_of_test_pairs"):
            edges = inputs.links.tables(pairs, inputs.device)
        out = torch.empty(len(asked))
        size = config.mates if config.has("graph_norm_over_batch") else config.batch
        with torch.inference_mode():
            for rows in order.split(size):
                out[rows] = net(inputs, asked[rows].to(inputs.device), edges).prediction.cpu()
        return out.numpy().astype(np.float64)

    def extended(self, more: Mapping[str, Any]) -> "Inputs":
        """See `Inputs.extended`."""
        return self.inputs.extended(more)

    def state(self) -> dict[str, np.ndarray]:
        """Every weight, and what the views and tasks are scaled by."""
        return super().state() | self.inputs.fitted


@dataclass(frozen=True)
class Draws:
    """An endless stream of batches, in passes of `steps`."""

    draw: Callable[[], torch.Tensor]
    steps: int

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self.draw() for _ in range(self.steps))


@dataclass(frozen=True, eq=False)
class Links:
    """Who may hear whom: what the tables of a graph are made of, for any response edges.

    Attributes
    ----------
    config : which defects the graph has, and k
    target : [C, D] standardised training residuals, NaN elsewhere
    alike : ([C, C], [D, D]) similarities of lines and of drugs, 0 where the second may not speak
    speaks : ([C], [D]) bool, who may be a neighbour: those with training pairs, or everybody
    """

    config: PublishedConfig
    target: np.ndarray
    alike: tuple[np.ndarray, np.ndarray]
    speaks: tuple[np.ndarray, np.ndarray]

    def tables(self, pairs: np.ndarray, device: torch.device | str) -> dict[Relation, torch.Tensor]:
        """Relation -> [n_target, n_source] table, with the response edges of these pairs."""
        kept: dict[str, Any] = {
            name: self.config.has(name)
            for name in (
                "nearest_dropped",
                "reversed_neighbours",
                "no_drug_to_cell",
                "unweighted_responses",
            )
        }
        tables = relations(pairs, self.target, *self.alike, self.config.neighbours, **kept)
        for node, speaks in zip(("cell", "drug"), self.speaks, strict=True):
            # who lists a node must not speak to it either
            tables[node, "similar", node][:, ~speaks] = 0
        return {
            name: torch.as_tensor(table, dtype=torch.float32, device=device)
            for name, table in tables.items()
        }

    def extended(self, axis: int, likeness: np.ndarray) -> Self:
        """With further lines (axis 0) or drugs (axis 1), which have no responses.

        Parameters
        ----------
        likeness : [new, known + new] similarities of the further ones
        """
        n, known = len(likeness), len(self.speaks[axis])
        everybody = self.config.has("transductive_neighbours")
        speaks = np.append(self.speaks[axis], np.full(n, everybody))
        alike = np.zeros((known + n, known + n))
        alike[:known, :known] = self.alike[axis]
        alike[known:], alike[:known, known:] = likeness, likeness[:, :known].T
        alike = np.where(speaks[None], alike, 0.0)
        wider = ((0, n), (0, 0)) if axis == 0 else ((0, 0), (0, n))
        return replace(
            self,
            target=np.pad(self.target, wider, constant_values=np.nan),
            alike=(alike, self.alike[1]) if axis == 0 else (self.alike[0], alike),
            speaks=(speaks, self.speaks[1]) if axis == 0 else (self.speaks[0], speaks),
        )


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the network reads of C lines and D drugs, on one device: fitted on the training set, but
    where a defect says otherwise.

    Attributes
    ----------
    expression, mutation, copy_number : [C, genes]
    text_cell, text_drug : [C, dim], [D, dim] embeddings of texts
    has_text_cell, has_text_drug : [C], [D] bool, whose text counts as there
    bits : [D, 2048] fingerprints of radius 2, features of the graph's drugs
    wide_bits : [D, 2048] fingerprints of radius 3, read by the fingerprint branch
    molecules : graphs of the D structures
    same_drug : [D, D] bool, two ids of one compound
    pairs, y : [n, 2] positions and [n] responses of the training pairs
    aims : auxiliary task -> [C] or [D] target; classes : of those that have some, how many
    links : who may hear whom
    recipes : side -> view -> how it was made
    fitted : arrays that were fitted, by name
    """

    expression: torch.Tensor
    mutation: torch.Tensor
    copy_number: torch.Tensor
    text_cell: torch.Tensor
    has_text_cell: torch.Tensor
    text_drug: torch.Tensor
    has_text_drug: torch.Tensor
    bits: torch.Tensor
    wide_bits: torch.Tensor
    molecules: MoleculeGraphs
    same_drug: torch.Tensor
    pairs: torch.Tensor
    y: torch.Tensor
    aims: dict[str, torch.Tensor]
    classes: dict[str, int]
    links: Links
    recipes: dict[str, dict[str, Recipe]]
    fitted: dict[str, np.ndarray]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.expression.device

    @cached_property
    def graph(self) -> dict[Relation, torch.Tensor]:
        """Relation -> [n_target, n_source] table of the training graph."""
        return self.links.tables(self.pairs.cpu().numpy(), self.device)

    def without(self, pairs: torch.Tensor) -> dict[Relation, torch.Tensor]:
        """The training graph less these pairs [n, 2]."""
        out = {}
        for (source, name, target), table in self.graph.items():
            if source != target:
                table = table.clone()
                row, column = (
                    (pairs[:, 0], pairs[:, 1]) if target == "cell" else (pairs[:, 1], pairs[:, 0])
                )
                table[row, column] = 0
            out[source, name, target] = table
        return out

    def extended(self, more: Mapping[str, Any]) -> Self:
        """The same inputs with further lines or drugs at the end, for predicting: no responses and
        no auxiliary targets of theirs.

        Parameters
        ----------
        more : "cell" or "drug" -> `Side` of the further entities
        """
        out = self
        for name, side in more.items():
            out = out._with_lines(side) if name == "cell" else out._with_drugs(side)
        return out

    def _with_lines(self, side: Any) -> Self:
        views = make_views(side, self.recipes["cell"])
        new = {name: view.tensor(self.device) for name, view in views.items()}
        known = len(self.expression)
        expression = torch.cat([self.expression, new["expression"]])
        likeness = _pearson(expression.cpu().numpy().astype(np.float64))[known:]
        return replace(
            self,
            expression=expression,
            mutation=torch.cat([self.mutation, new["mutation"]]),
            copy_number=torch.cat([self.copy_number, new["copy_number"]]),
            text_cell=torch.cat([self.text_cell, new["text"]]),
            has_text_cell=torch.cat([self.has_text_cell, views["text"].mask(self.device)]),
            links=self.links.extended(0, likeness),
        )

    def _with_drugs(self, side: Any) -> Self:
        views = make_views(side, self.recipes["drug"])
        new = {name: view.tensor(self.device) for name, view in views.items()}
        known, n = len(self.bits), len(side)
        bits = torch.cat([self.bits, new["bits"]])
        likeness = _dice(bits.cpu().numpy().astype(np.float64))[known:]
        return replace(
            self,
            bits=bits,
            wide_bits=torch.cat([self.wide_bits, new["wide_bits"]]),
            molecules=self.molecules.joined(new["molecules"]),
            text_drug=torch.cat([self.text_drug, new["text"]]),
            has_text_drug=torch.cat([self.has_text_drug, views["text"].mask(self.device)]),
            same_drug=F.pad(self.same_drug, (0, n, 0, n)),
            links=self.links.extended(1, likeness),
        )


def recipes(config: PublishedConfig) -> dict[str, dict[str, Recipe]]:
    """How the views are made, with the defects that concern them."""
    reading: dict[str, Any] = {
        "encoder": config.encoder,
        "skip": 800 if config.has("text_tail") else 0,
        "empty_counts": config.has("missing_as_text"),
    }
    return {
        "cell": {
            "expression": Ranged(
                "expression", most=config.genes, everyone=config.has("scaled_on_all_cells")
            ),
            "mutation": Raw("mutation"),
            "copy_number": Raw("copy_number"),
            "text": Text(config.cell_text, **reading),
        },
        "drug": {
            "bits": Fingerprint(),
            "wide_bits": Fingerprint(radius=3),
            "molecules": Molecules(config.conformers),
            "text": Text(config.drug_text, **reading),
        },
    }


def prepare(
    benchmark: Any, split: Any, config: PublishedConfig, device: torch.device | str = "cpu"
) -> Inputs:
    """Everything the network needs about a benchmark.

    Raises
    ------
    DataError
        The benchmark lacks what a view is made from.
    """
    views = fit_views(benchmark, split, recipes(config))
    cell, drug = views["cell"], views["drug"]
    target = per_drug_targets(benchmark, split)[0]
    seen = np.isfinite(target).any(1), np.isfinite(target).any(0)
    if config.has("transductive_neighbours"):
        seen = np.ones_like(seen[0]), np.ones_like(seen[1])
    alike = _pearson(cell["expression"].values), _dice(drug["bits"].values)
    heard = [np.where(may[None], table, 0.0) for may, table in zip(seen, alike, strict=True)]
    everything = np.arange(len(benchmark.y))
    aims = auxiliary.auxiliary_targets(
        benchmark, everything if config.has("threshold_from_all_responses") else split.train
    )
    compound = torch.as_tensor(benchmark.drugs["compound"].factorize()[0], device=device)
    scaling: Any = cell["expression"].recipe  # a `Ranged`
    return Inputs(
        **{name: cell[name].tensor(device) for name in ("expression", "mutation", "copy_number")},
        text_cell=cell["text"].tensor(device),
        has_text_cell=cell["text"].mask(device),
        text_drug=drug["text"].tensor(device),
        has_text_drug=drug["text"].mask(device),
        **{name: drug[name].tensor(device) for name in ("bits", "wide_bits", "molecules")},
        same_drug=compound[:, None] == compound[None],
        pairs=torch.as_tensor(benchmark.pairs[split.train], device=device),
        y=torch.as_tensor(benchmark.y[split.train].astype(np.float32), device=device),
        aims={
            name: torch.as_tensor(x.astype(np.float32) if x.dtype.kind == "f" else x, device=device)
            for name, x in aims.items()
        },
        classes={name: int(aims[name].max()) + 1 for name in ("cell_type", "pathway")},
        links=Links(config, target, (heard[0], heard[1]), seen),
        recipes=views.recipes,
        fitted={
            "low": scaling.low,
            "range": scaling.spread,
            "genes": scaling.kept,
            "threshold": aims["threshold"],
        },
    )


def _pearson(x: np.ndarray) -> np.ndarray:
    """[n, n] correlation of rows, negative ones set to 0."""
    return np.corrcoef(x).clip(min=0)


def _dice(bits: np.ndarray) -> np.ndarray:
    """[n, n] Dice similarity of 0/1 rows; 0 for an empty row."""
    size = bits.sum(1)
    total = size[:, None] + size[None]
    return np.divide(2 * bits @ bits.T, total, out=np.zeros((len(bits),) * 2), where=total > 0)


@dataclass(frozen=True)
class Batch:
    """What the network says about a batch of n pairs.

    Attributes
    ----------
    prediction : [n] in the benchmark's units
    cells, drugs : positions of its unique lines and drugs
    cell, drug : view -> [unique, width] embeddings of those
    row, column : [n] where each pair finds its line and its drug among them
    """

    prediction: torch.Tensor
    cells: torch.Tensor
    drugs: torch.Tensor
    cell: dict[str, torch.Tensor]
    drug: dict[str, torch.Tensor]
    row: torch.Tensor
    column: torch.Tensor


def _layer(features: int, width: int, drop: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), Dropout(drop))


class Network(nn.Module):
    """Attribute, structure and text branches, and a head over their concatenation whose first layer
    is split into a line's and a drug's half.

    Shapes
    ------
    pairs : [n, 2]; graph : relation -> [n_target, n_source]; out : `Batch` of n predictions
    """

    def __init__(self, inputs: Inputs, config: PublishedConfig) -> None:
        super().__init__()
        w, drop = config.width, config.drop
        self.config = config
        self.expression = nn.Sequential(
            _layer(inputs.expression.shape[1], 4 * w, drop), _layer(4 * w, w, drop)
        )
        self.mutation, self.copy_number = (
            _layer(x.shape[1], w // 2, drop) for x in (inputs.mutation, inputs.copy_number)
        )
        self.geometry = GeometricEncoder(
            w,
            2,
            0.4,
            w,
            alive=config.has("dropout_at_test"),
            whole_batch=config.has("graph_norm_over_batch"),
            use_length=False,
            use_mass=False,
        )
        self.fingerprint = FingerprintEncoder(inputs.wide_bits.shape[1], 2 * w, w)
        self.project = _layer(2 * w, w, drop)
        self.graph = HeteroSAGE(
            {"cell": inputs.expression.shape[1], "drug": inputs.bits.shape[1]},
            list(inputs.graph),
            w,
            2,
        )
        self.text_cell, self.text_drug = (
            _layer(x.shape[1], w, drop) for x in (inputs.text_cell, inputs.text_drug)
        )
        self.auxiliary = auxiliary.AuxiliaryHeads(
            2 * w, 2 * w, inputs.classes["cell_type"], inputs.classes["pathway"]
        )
        wide = sum({"text": w, "graph": w, "attribute": 2 * w}[view] for view in config.views)
        self.head_cell, self.head_drug = nn.Linear(wide, 2 * w), nn.Linear(wide, 2 * w, bias=False)
        self.head = nn.Sequential(
            nn.ELU(),
            Dropout(drop),
            nn.Linear(2 * w, w // 2),
            nn.ELU(),
            Dropout(drop),
            nn.Linear(w // 2, 1),
        )

    def forward(
        self,
        inputs: Inputs,
        pairs: torch.Tensor,
        graph: dict[Relation, torch.Tensor] | None = None,
    ) -> Batch:
        """`Batch` of [n, 2] pairs, from the training graph or the one given."""
        cells, row = pairs[:, 0].unique(return_inverse=True)
        drugs, column = pairs[:, 1].unique(return_inverse=True)
        nodes = self.graph(
            {"cell": inputs.expression, "drug": inputs.bits},
            inputs.graph if graph is None else graph,
        )
        expression = self.expression(inputs.expression[cells])
        attribute = torch.cat(
            [
                expression,
                self.mutation(inputs.mutation[cells]),
                self.copy_number(inputs.copy_number[cells]),
            ],
            1,
        )  # [cells, 2 w]
        molecule = torch.cat(
            [
                self.fingerprint(inputs.wide_bits[drugs]),
                self.geometry(inputs.molecules.take(drugs)),
            ],
            1,
        )  # [drugs, 2 w]
        cell = {
            "text": self.text_cell(inputs.text_cell[cells]) * inputs.has_text_cell[cells, None],
            "graph": nodes["cell"][cells],
            "attribute": attribute,
            "anchor": expression,
        }
        drug = {
            "text": self.text_drug(inputs.text_drug[drugs]) * inputs.has_text_drug[drugs, None],
            "graph": nodes["drug"][drugs],
            "attribute": molecule,
            "anchor": self.project(molecule),
        }
        z_cell, z_drug = (
            head(torch.cat([side[view] for view in self.config.views], 1))
            for head, side in ((self.head_cell, cell), (self.head_drug, drug))
        )
        return Batch(
            self.head(z_cell.index_select(0, row) + z_drug.index_select(0, column))[:, 0],
            cells,
            drugs,
            cell,
            drug,
            row,
            column,
        )


def tiles(pairs: torch.Tensor, tile: tuple[int, int]) -> tuple[Callable[[], torch.Tensor], int]:
    """How to draw a batch that is a block of the table, and how many pairs it holds on average.

    Parameters
    ----------
    pairs : [n, 2] training pairs (line, drug) on the CPU
    tile : (lines, drugs) of a block

    Returns
    -------
    (() -> positions into `pairs` of those of random training lines with random training drugs, line
    by line, never none; how many they are on average)
    """
    known = [ids.unique() for ids in pairs.unbind(1)]
    place = torch.full([int(ids[-1]) + 1 for ids in known], -1)
    place[tuple(pairs.T)] = torch.arange(len(pairs))
    sides = [min(wanted, len(ids)) for wanted, ids in zip(tile, known, strict=True)]

    def draw():
        rows = torch.tensor([-1])
        while not (rows >= 0).any():
            lines, drugs = (
                ids[torch.randperm(len(ids))[:n]] for ids, n in zip(known, sides, strict=True)
            )
            rows = place[lines][:, drugs].flatten()
        return rows[rows >= 0]

    return draw, max(1, round(len(pairs) * sides[0] * sides[1] / (len(known[0]) * len(known[1]))))


def objective(
    net: Network,
    inputs: Inputs,
    pairs: torch.Tensor,
    y: torch.Tensor,
    config: PublishedConfig,
) -> LossOutput:
    """LossOutput of a batch: squared error, contrast within and across views, auxiliary tasks."""
    out = net(
        inputs,
        pairs,
        None if config.has("supervision_edges_in_messages") else inputs.without(pairs),
    )
    error = ((out.prediction - y) ** 2).mean()
    contrast = contrastive(out, inputs, config)
    parts = {"error": error.detach(), "contrast": contrast.detach()}
    total = error + config.alpha * contrast
    if config.tasks:
        said = net.auxiliary(out.cell["attribute"], out.drug["attribute"])
        aims = {
            name: x[out.cells if name == "cell_type" else out.drugs]
            for name, x in inputs.aims.items()
        }
        extra, named = auxiliary.auxiliary_loss(said, aims, config.tasks)
        total, parts = total + config.beta * extra, parts | named
    return LossOutput(total, parts)


def contrastive(out: Batch, inputs: Inputs, config: PublishedConfig) -> torch.Tensor:
    """Attribute against structure and against text, lines and drugs apart: over a batch's unique
    entities, or, as the code does, over its pairs.
    """
    total: Any = 0.0  # of the precision of what is added
    for side, ids, has_text, same, where in (
        (out.cell, out.cells, inputs.has_text_cell, None, out.row),
        (out.drug, out.drugs, inputs.has_text_drug, inputs.same_drug, out.column),
    ):
        for view in ("graph", "text"):
            if view not in config.views:
                continue
            ways: dict[str, Any] = {
                "both": not config.has("one_direction"),
                "positive": not config.has("positive_left_out"),
            }
            a, b, known = side["anchor"], side[view], has_text[ids] if view == "text" else None
            if not config.has("false_negatives"):
                total = total + info_nce(
                    a,
                    b,
                    config.temperature,
                    known,
                    None if same is None else same[ids][:, ids],
                    **ways,
                )
                continue
            parts = where.split(config.mates)
            total = total + sum(
                info_nce(
                    a[rows],
                    b[rows],
                    config.temperature,
                    None if known is None else known[rows],
                    **ways,
                )
                for rows in parts
            ) / len(parts)
    return total
