"""CLMT as its authors' public code computes it, each defect of that code a switch (Duan et al.
2026; chapters 03 to 06).

What the code does was read in its public repository (myduan18/CLMT, commit b4707bc); where in it
each defect sits stands in chapter 06, as far as it is one place.
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

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clmt_lib.models.base import Configured, check_names
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.clmt import auxiliary
from clmt_lib.nn.contrast import info_nce
from clmt_lib.nn.encoders import Dropout
from clmt_lib.nn.heads import LossOutput
from clmt_lib.nn.message_passing import HeteroSAGE
from clmt_lib.nn.molecular import FingerprintEncoder, GeometricEncoder
from clmt_lib.tasks import selection_score
from clmt_lib.tasks.metrics import pearson, rmse
from clmt_lib.training import TrainConfig, pick_device, train
from clmt_lib.views.geometry import molecule_graphs
from clmt_lib.views.molecules import fingerprints
from clmt_lib.views.omics import train_cells
from clmt_lib.views.structure import relations
from clmt_lib.views.text import BUNDLED, describe_cells, describe_drugs, encode

DEFECTS = {  # switch -> what the authors' code does where it is on; off is the repair
    "dropout_at_test": "dropout of the drug encoder stays on at validation and test: "
    "predictions are random",
    "graph_norm_over_batch": "GraphNorm gets no batch vector: all molecules of a batch are "
    "normalised as one",
    "shuffled_test": "test batches are drawn in random order: a prediction's batch-mates change",
    "nearest_dropped": "the nearest neighbour is dropped: ranks 2 to k + 1 are kept",
    "reversed_neighbours": "similarity edges run backwards: a node hears those that list it, or "
    "nobody",
    "no_drug_to_cell": "no edge leads from a drug to a line: a line's structure knows nothing "
    "of its responses",
    "unweighted_responses": "a response edge says that a pair was measured, not what was measured",
    "transductive_neighbours": "lines and drugs of the test role are neighbours too: their "
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

    def __post_init__(self):
        """Raises DataError for an unknown defect, view, task or precision."""
        check_names(
            self,
            defects=DEFECTS,
            views=SITES,
            tasks=auxiliary.TASKS,
            precision=("float32", "bfloat16"),
        )

    def has(self, defect):
        """Whether this defect is on."""
        return defect in self.defects


@dataclass
class Published(Configured):
    """`PublishedConfig` behind the interface of every model.

    Predictions are made batch by batch of the pairs asked about, because with some defects the
    batch matters.
    """

    config: PublishedConfig = field(default_factory=PublishedConfig)
    device: str = "auto"
    checkpoint: Path | None = None
    progress: bool = False
    Config = PublishedConfig
    version = 1
    accelerated = True
    tolerance = 0.05

    def fit(self, benchmark, split):
        """Train on train, keep the weights best on valid."""
        config, device = self.config, pick_device(self.device)
        self.device_used, self.inputs = str(device), Inputs(benchmark, split, config, device)
        pairs, y = (
            torch.as_tensor(x[split.train], device=device)
            for x in (benchmark.pairs, benchmark.y.astype(np.float32))
        )
        draw, size = (
            tiles(pairs.cpu(), config.tile)
            if config.tile
            else (lambda: torch.randperm(len(pairs))[: config.batch], config.batch)
        )
        steps = max(1, len(pairs) // size)  # an epoch

        def step(net):
            rows = draw().to(device)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
            ):
                return objective(net, self.inputs, pairs[rows], y[rows], config)

        def score(net):
            predicted, measured = (
                self._predict(net, benchmark.pairs[split.valid]),
                benchmark.y[split.valid],
            )
            return (
                (rmse(measured, predicted), -pearson(measured, predicted))
                if config.has("or_selection")
                else selection_score(benchmark, split, predicted)
            )

        self.module, self.history = train(
            lambda: Network(self.inputs, config),
            step,
            TrainConfig(
                config.epochs * steps,
                config.learning_rate,
                config.weight_decay,
                evaluate_every=2 * steps,
                patience=config.patience,
                checkpoint_every=4 * steps,
                seed=config.seed,
                schedule="step",
                milestone=config.milestone * steps,
                fused=config.precision == "bfloat16",
            ),
            evaluate=score,
            checkpoint=self.checkpoint,
            device=device,
            progress=self.progress,
        )
        self.chosen = {
            "best_valid": min(row["valid"] for row in self.history),
            "epochs": self.history[-1]["step"] // steps,
        }
        return self

    def predict(self, pairs):
        """[n] ln IC50 (ln uM) of [n, 2] positions (cell, drug); the same for the same call,
        whatever is random inside.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return self._predict(self.module, np.asarray(pairs))

    def _predict(self, net, pairs):
        pairs, config = torch.tensor(pairs), self.config
        fixed = torch.Generator().manual_seed(
            0
            # some order, as responses come sorted by drug: the same at every call but for
            # `shuffled_test`
        )
        order = torch.randperm(len(pairs), generator=None if config.has("shuffled_test") else fixed)
        edges = self.inputs.edges(pairs.numpy()) if config.has("test_graph_of_test_pairs") else None
        out = torch.empty(len(pairs))
        with torch.inference_mode():
            for rows in order.split(
                config.mates if config.has("graph_norm_over_batch") else config.batch
            ):
                out[rows] = net(
                    self.inputs, pairs[rows].to(self.inputs.device), edges
                ).prediction.cpu()
        return out.numpy().astype(np.float64)

    def state(self):
        """Every fitted array by name."""
        return {
            name: value.cpu().numpy() for name, value in self.module.state_dict().items()
        } | self.inputs.fitted


class Inputs:
    """A benchmark's views on a device, fitted on the train role but where a defect says otherwise."""

    def __init__(self, benchmark, split, config, device):
        self.device = device

        def tensor(x):
            return torch.tensor(np.asarray(x, dtype=np.float32), device=device)

        low, spread, genes = _min_max(benchmark, split, config)
        scaled = ((benchmark.omics["expression"].to_numpy(np.float64) - low) / spread)[:, genes]
        self.expression, self.mutation, self.copy_number = (
            tensor(scaled),
            *(tensor(benchmark.omics[name]) for name in ("mutation", "copy_number")),
        )
        self.molecules = molecule_graphs(benchmark.drugs, config.conformers).to(device)
        bits = fingerprints(benchmark.drugs)
        self.bits, self.wide_bits = tensor(bits), tensor(fingerprints(benchmark.drugs, radius=3))
        omics = {name: benchmark.omics[name] for name in ("mutation", "copy_number")}
        texts = (
            describe_cells(benchmark.cells, config.cell_text, omics),
            describe_drugs(benchmark.drugs, config.drug_text),
        )
        (self.text_cell, self.has_text_cell), (self.text_drug, self.has_text_drug) = (
            self._read(side, config, tensor) for side in texts
        )
        self.target, self.config = per_drug_targets(benchmark, split)[0], config
        seen = [np.isfinite(self.target).any(1), np.isfinite(self.target).any(0)]
        self.speaks = (
            [np.ones_like(known) for known in seen]
            if config.has("transductive_neighbours")
            else seen
        )
        self.alike = [
            np.where(may[None], table, 0.0)
            for may, table in zip(self.speaks, (_pearson(scaled), _dice(bits)), strict=True)
        ]
        self.graph = self.edges(benchmark.pairs[split.train])
        compound = torch.as_tensor(benchmark.drugs["compound"].factorize()[0], device=device)
        self.same_drug = compound[:, None] == compound[None]
        aims = auxiliary.auxiliary_targets(
            benchmark,
            np.arange(len(benchmark.y))
            if config.has("threshold_from_all_responses")
            else split.train,
        )
        self.classes = {name: aims[name].max() + 1 for name in ("cell_type", "pathway")}
        self.aims = {
            name: tensor(x) if x.dtype.kind == "f" else torch.as_tensor(x, device=device)
            for name, x in aims.items()
        }
        self.fitted = {"low": low, "range": spread, "genes": genes, "threshold": aims["threshold"]}

    def _read(self, texts, config, tensor):
        """([n, dim] embeddings, [n] bool there); what the tail defect leaves of a text, and what an
        empty one counts as.
        """
        if config.has("text_tail"):
            texts = [text[800:] or None if text else None for text in texts]
        there = [text is not None or config.has("missing_as_text") for text in texts]
        if config.has("missing_as_text"):
            texts = [text or "" for text in texts]
        return tensor(encode(texts, config.encoder)), torch.as_tensor(there, device=self.device)

    def edges(self, pairs):
        """Relation -> [n_target, n_source] table, with the response edges of these pairs."""
        kept = {
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
            tables[node, "similar", node][:, ~speaks] = (
                0  # who lists a node must not speak to it either
            )
        return {
            name: torch.as_tensor(table, dtype=torch.float32, device=self.device)
            for name, table in tables.items()
        }

    def without(self, pairs):
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


def _min_max(benchmark, split, config):
    """(minimum [genes], range [genes], [kept] positions of the most variable genes after scaling)."""
    x = benchmark.omics["expression"].to_numpy(np.float64)
    x = x if config.has("scaled_on_all_cells") else x[train_cells(benchmark, split)]
    low, spread = x.min(0), x.max(0) - x.min(0)
    spread = np.where(spread > 1e-8, spread, 1.0)
    return (
        low,
        spread,
        np.sort(np.argsort(-((x - low) / spread).var(0), kind="stable")[: config.genes]),
    )


def _pearson(x):
    """[n, n] correlation of rows, negative ones set to 0."""
    return np.corrcoef(x).clip(min=0)


def _dice(bits):
    """[n, n] Dice similarity of 0/1 rows; 0 for an empty row."""
    size = bits.sum(1)
    total = size[:, None] + size[None]
    return np.divide(2 * bits @ bits.T, total, out=np.zeros((len(bits),) * 2), where=total > 0)


@dataclass(frozen=True)
class Batch:
    """What the network says about a batch: predictions [n]; embeddings by view of its unique lines
    and drugs; where each pair finds them.
    """

    prediction: torch.Tensor
    cells: torch.Tensor
    drugs: torch.Tensor
    cell: dict
    drug: dict
    row: torch.Tensor
    column: torch.Tensor


def _layer(features, width, drop):
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), Dropout(drop))


class Network(nn.Module):
    """Attribute, structure and text branches, and a head over their concatenation whose first layer
    is split into a line's and a drug's half.
    """

    def __init__(self, inputs, config):
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

    def forward(self, inputs, pairs, graph=None):
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


def tiles(pairs, tile):
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


def objective(net, inputs, pairs, y, config):
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


def contrastive(out, inputs, config):
    """Attribute against structure and against text, lines and drugs apart: over a batch's unique
    entities, or, as the code does, over its pairs.
    """
    total = 0.0
    for side, ids, told, same, where in (
        (out.cell, out.cells, inputs.has_text_cell, None, out.row),
        (out.drug, out.drugs, inputs.has_text_drug, inputs.same_drug, out.column),
    ):
        for view in ("graph", "text"):
            if view not in config.views:
                continue
            ways = {
                "both": not config.has("one_direction"),
                "positive": not config.has("positive_left_out"),
            }
            a, b, known = side["anchor"], side[view], told[ids] if view == "text" else None
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
