"""CLDR: a pair of drug and line is aligned with the words of its response, then fine-tuned to
predict it (Li et al. 2024; chapter "Drug response as language").

The question is whether such an alignment teaches an order that squared error alone does not. So
what is aligned with what is a setting, and so is every rival of it: number classes without text,
order without numbers, captions without identity, labels that are shuffled. All of them train the
same network from the same weights, on the same pairs a step, for the same number of steps.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.io import DataError
from clmt_lib.models.base import check_names
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.clmt.corrected import similar_responses
from clmt_lib.models.clmt.published import Draws, tiles
from clmt_lib.models.network import NetworkModel
from clmt_lib.nn.contrast import (
    Temperature,
    info_nce,
    ordinal_targets,
    rank_n_contrast,
    response_alignment,
    soft_alignment,
)
from clmt_lib.nn.encoders import SequenceTower, Tower
from clmt_lib.nn.heads import HistogramHead, LossOutput, PairTower, correlation_loss
from clmt_lib.nn.language import LanguageConfig, TextTower
from clmt_lib.nn.molecular import AttentionEncoder, ConvolutionEncoder
from clmt_lib.nn.numbers import ENCODERS, NumberGraph
from clmt_lib.training import TrainConfig, pick_device, train
from clmt_lib.views import captions
from clmt_lib.views.base import (
    Annotation,
    Components,
    Fingerprint,
    Molecules,
    Raw,
    Recipe,
    Standardised,
    fit_views,
    make_views,
)
from clmt_lib.views.captions import Captions

DEFECTS = {  # switch -> what the authors' code does where it is on; off is the repair
    "identity_in_caption": "the caption names drug and line: a pair is found without its number",
    "ties_as_negatives": "rows of a batch whose number is the same word are each other's negatives",
    "summed_margin": "the number graph's loss is a sum over 999 pairs of neighbours, not a mean",
    "shrinks_negatives": "d+ + d- is added to the margin: negatives are pulled together, too",
    "untrained_relation": "the relation of the number graph is never trained",
    "fresh_relation": "the relation is drawn anew every epoch",
    "warm_validation": "validation pairs are random pairs of drugs and lines that training knows, "
    "while test drugs are new",
    "unequal_rates": "fine-tuning after pre-training learns at a fifth of the baseline's rate",
    "unequal_updates": "pre-training comes on top of the updates that the baseline has",
    "whole_context_padded": "every pair's caption is encoded by itself and padded to the context, "
    "and all numbers are encoded every step: the same values at many times the cost",
    "one_reads_as_zero": "a label of 0.9995 and above is spelt zero point zero zero zero",
}
ALIGNMENTS = ("none", "clip", "soft", "rank", "entities")
BACKBONES = ("attribute", "graphdrp", "deepcdr")
PUBLISHED_PADDING = 100  # tokens of a number's text, in the authors' code
RATE = 0.2  # of fine-tuning to pre-training, there: 1e-5 to 5e-5
PHASES = ("untrained", "pretrained", "fine_tuned")
CELL_VIEWS = ("expression", "mutation", "copy_number")
DRUG_VIEWS = ("fingerprint", "annotation")
SCALES = {"fingerprint": 3.0, "annotation": 3.0, "mutation": 2.0}  # to about a z-score's spread
ARMS: dict[str, dict[str, Any]] = {  # what a study compares: settings beyond the defaults
    "mse": {},
    "histogram": {"loss": "histogram"},
    "correlation": {"loss": "correlation"},
    "clip_number": {"alignment": "clip"},
    "clip_caption": {"alignment": "clip", "caption": "published"},
    "clip_entity": {"alignment": "clip", "caption": "entity"},
    "clip_shuffled": {"alignment": "clip", "caption": "published", "shuffled": True},
    "soft": {"alignment": "soft"},
    "smoothing": {"alignment": "clip", "smoothing": 0.1},
    "rank_before": {"alignment": "rank"},
    "rank_joint": {"alignment": "rank", "when": "joint"},
    "rank_within": {"alignment": "rank", "within": True},
    "entities": {"alignment": "entities"},
    "clip_graph": {"alignment": "clip", "graph": True},
    "clip_line": {"alignment": "clip", "numbers": "line"},
    "clip_sinusoidal": {"alignment": "clip", "numbers": "sinusoidal"},
    "clip_rbf": {"alignment": "clip", "numbers": "rbf"},
}


@dataclass(frozen=True)
class CLDRConfig:
    """Switches and sizes.

    Attributes
    ----------
    defects : switches of the authors' code that are on, names of `DEFECTS`
    backbone : where the parts of a pair come from: "attribute", a linear layer a view; "graphdrp",
        graph attention over the atoms and a convolution along the line's features; "deepcdr", graph
        convolutions over the atoms and a dense network. The head is the same for all
    alignment : what a pair's embedding is aligned with: "none"; "clip", the text of its response;
        "soft", the texts of responses nearby, too; "rank", no text, the order of embeddings is that
        of responses; "entities", no pair: cosines of lines' parts, and of drugs', are regressed on
        the similarity of their training responses
    when : "before" fine-tuning, or "joint" with it
    within : candidates of the alignment come from the anchor's own drug
    caption : what stands in the text besides the number: "none"; "published", SMILES and name of
        the line; "entity", an id of each; "facts"
    numbers : what stands for a number: "text", its words; "line", "sinusoidal" or "rbf", see
        `nn.numbers`
    graph : texts of consecutive numbers are tied by `nn.numbers.NumberGraph`, with weight
        `graph_weight` (the alignment has the rest)
    shuffled : labels of the alignment are dealt out anew: what is left is what needs no label
    loss : of fine-tuning, "mse"; "histogram", cross-entropy over soft bins; "correlation", squared
        error and 1 - per-drug r
    smoothing : share of an alignment's target that is spread over all candidates
    target : what is predicted: "residual", what drug effects leave, in the drug's deviations; or
        "normalised", the label of ln IC50, as published
    slope : of the label, 1 / (1 + exp(-slope x)): x is ln IC50 or, for residual targets, the
        residual in ln uM
    width : of soft targets, in labels
    share : of the training pairs that are kept, at random by the seed
    updates, pre, budget : with "total", the share `pre` of the updates is pre-training and the rest
        fine-tuning; with "fine_tuning", all updates are fine-tuning, and pre-training comes on top
    tile : (lines, drugs): a step takes the training pairs of so many random lines and drugs
    block : rows that meet in an alignment (256 in the authors' code)
    blocks : most blocks of an update that are aligned, at random; 0: all. Texts of captions are
        dear: with fewer blocks an alignment sees fewer pairs than squared error does
    weight : of the alignment in the joint form, and of 1 - r
    temperature : of "clip" and "soft" at the start, learnt from there; of "rank" 2, fixed
    components : principal components of expression that are read; 0 reads the genes
    tower, hidden, dim : widths of an entity's hidden layer, of its part of a pair (twice), of a
        pair's embedding
    drop_in, drop, drop_pair : dropout of inputs, of an entity's hidden layer, of a pair's parts
    text_width, text_layers, text_heads : of the text towers; the authors' are 128, 3 and 8
    context : most tokens of a caption
    members : trainings whose predictions are averaged
    """

    defects: tuple[str, ...] = ()
    backbone: str = "attribute"
    alignment: str = "none"
    when: str = "before"
    within: bool = False
    caption: str = "none"
    numbers: str = "text"
    graph: bool = False
    graph_weight: float = 0.1
    shuffled: bool = False
    loss: str = "mse"
    smoothing: float = 0.0
    target: str = "residual"
    slope: float = captions.SLOPE
    width: float = 0.02
    share: float = 1.0
    updates: int = 300
    pre: float = 0.5
    budget: str = "total"
    tile: tuple[int, ...] = (160, 80)
    block: int = 256
    blocks: int = 0
    weight: float = 0.1
    temperature: float = 0.07
    cell_views: tuple[str, ...] = ("expression",)
    drug_views: tuple[str, ...] = DRUG_VIEWS
    components: int = 0
    tower: int = 256
    hidden: int = 64
    dim: int = 64
    drop_in: float = 0.2
    drop: float = 0.5
    drop_pair: float = 0.1
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 4
    context: int = 300
    learning_rate: float = 5e-3
    weight_decay: float = 0.1
    members: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DataError for an unknown name, a share or budget that leaves nothing, or settings
        that contradict each other.
        """
        check_names(
            self,
            defects=DEFECTS,
            backbone=BACKBONES,
            numbers=("text", *ENCODERS),
            alignment=ALIGNMENTS,
            when=("before", "joint"),
            caption=("none", *captions.IDENTITIES),
            loss=("mse", "histogram", "correlation"),
            target=("residual", "normalised"),
            budget=("total", "fine_tuning"),
            cell_views=CELL_VIEWS,
            drug_views=DRUG_VIEWS,
        )
        for name, allowed in (("share", 0 < self.share <= 1), ("pre", 0 <= self.pre < 1)):
            if not allowed:
                raise DataError(f"{name} {getattr(self, name)}", remedy="give a share of the whole")
        if not 0 <= self.smoothing < 1:
            raise DataError(f"smoothing {self.smoothing}", remedy="give a share below one")
        if self.block < 2:
            raise DataError(
                f"a block of {self.block} rows", remedy="give at least two: an anchor and another"
            )
        if not self.reads and (self.caption != "none" or self.graph):
            raise DataError(
                f"a caption or a number graph in the alignment {self.alignment!r}, which reads no "
                "number",
                remedy="use alignment='clip' or 'soft', or caption='none' and graph=False",
            )
        if self.numbers != "text" and (self.caption != "none" or self.graph):
            raise DataError(
                f"numbers by {self.numbers!r} in a caption or a number graph",
                remedy="use numbers='text'",
            )

    @classmethod
    def published(cls, **changes: Any) -> "CLDRConfig":
        """What the authors' code computes, its defects included; `defects=()` repairs them all.

        Their sizes of the text towers are 128, 3 layers, 8 heads; their training takes tens of
        epochs at a constant rate, which is scaled down here to `updates` of one cycle each.
        """
        known: dict[str, Any] = {
            "defects": tuple(DEFECTS),
            "alignment": "clip",
            "target": "normalised",
            "graph": True,
        }
        return cls(**(known | changes))

    @classmethod
    def corrected(cls, **changes: Any) -> "CLDRConfig":
        """The authors' idea without the defects, on residuals: the number alone, its ties known."""
        known: dict[str, Any] = {"alignment": "clip", "graph": True}
        return cls(**(known | changes))

    def has(self, defect: str) -> bool:
        """Whether this defect is on."""
        return defect in self.defects

    @property
    def reads(self) -> bool:
        """Whether the alignment reads numbers."""
        return self.alignment in ("clip", "soft")

    @property
    def said(self) -> str:
        """What stands in the caption: with the defect, identity, whatever `caption` says."""
        return "published" if self.reads and self.has("identity_in_caption") else self.caption

    @property
    def steps(self) -> tuple[int, int]:
        """(updates of pre-training, of fine-tuning)."""
        if self.alignment == "none" or self.when == "joint":
            return 0, self.updates
        before = round(self.pre * self.updates)
        on_top = self.budget == "fine_tuning" or self.has("unequal_updates")
        return before, self.updates if on_top else self.updates - before

    @property
    def language(self) -> LanguageConfig:
        """Sizes of a text tower."""
        return LanguageConfig(
            self.text_width, self.text_layers, self.text_heads, self.context, self.dim
        )


@dataclass
class CLDR(NetworkModel):
    """`CLDRConfig` behind the interface of every model; see there for the settings.

    Attributes
    ----------
    pretrained : the modules as pre-training left them (empty where there was none); not saved
    """

    config: CLDRConfig = field(default_factory=CLDRConfig)
    pretrained: Any = field(default=(), init=False, repr=False, compare=False)
    Config = CLDRConfig
    version = 2
    tolerance = 0.05

    def prepare(self, benchmark: Any, split: Any, device: torch.device) -> "Inputs":
        """See `prepare`."""
        return prepare(benchmark, split, self.config, device)

    def build(self, inputs: "Inputs") -> "Network":
        """See `Network`."""
        return Network(inputs, self.config)

    def batches(self, inputs: "Inputs") -> Draws:
        """Every step takes the pairs of random lines and drugs."""
        draw, _ = tiles(inputs.pairs.cpu(), self.config.tile)  # type: ignore[arg-type]
        return Draws(draw, inputs.steps_of_pass(self.config))

    def loss(self, net: "Network", inputs: "Inputs", *batch: torch.Tensor) -> LossOutput:
        """Of fine-tuning, see `objective`; `batch` is positions into the training pairs."""
        return objective(net, inputs, batch[0].to(inputs.device), self.config)

    def schedule(self, inputs: "Inputs") -> TrainConfig:
        """One cycle; of fine-tuning."""
        config, rate = self.config, self.config.learning_rate
        if config.steps[0] and config.has("unequal_rates"):
            rate *= RATE
        return TrainConfig(config.steps[1], rate, config.weight_decay)

    def fit(self, benchmark: Any, split: Any) -> Self:
        """Pre-train by the alignment, fine-tune, keep the weights that are best on the validation
        set.
        """
        config, device = self.config, pick_device(self.device)
        if config.has("warm_validation"):
            split = warmed(split, config.seed)
        split = thinned(split, config.share, config.seed)
        self.device_used = str(device)
        self.ids = tuple(side.ids.to_numpy(object) for side in benchmark.sides)
        self.inputs = inputs = self.prepare(benchmark, split, device)
        self.networks, self.history, self.pretrained = [], [], []
        running: dict[str, Any] = {
            "callbacks": self.callbacks,
            "device": device,
            "progress": self.progress,
        }
        for member in range(config.members):
            seed = config.seed + member

            build: Callable[[], nn.Module] = partial(self.build, inputs)
            if config.steps[0]:
                net, history = train(
                    build,
                    lambda net, rows: aligned(net, inputs, rows.to(inputs.device), config),
                    TrainConfig(
                        config.steps[0], config.learning_rate, config.weight_decay, seed=seed
                    ),
                    batches=self.batches(inputs),
                    checkpoint=self._checkpoint(member, "pre"),
                    **running,
                )
                self.pretrained.append(copy.deepcopy(net))
                self._tell(member, "pre-training", history)

                build = partial(_given, net)

            net, history = train(
                build,
                lambda net, *batch: self.loss(net, inputs, *batch),
                # a fine-tuning that follows draws its own batches
                replace(self.schedule(inputs), seed=seed + 10_000 * bool(config.steps[0])),
                batches=self.batches(inputs),
                evaluate=lambda net: self.score(net, inputs, benchmark, split),
                checkpoint=self._checkpoint(member, "fine"),
                **running,
            )
            self.networks.append(net)
            self._tell(member, "fine-tuning", history)
        self.chosen = {"best_valid": min(row["valid"] for row in self.history if "valid" in row)}
        return self

    def _checkpoint(self, member: int, phase: str) -> Any:
        return self.checkpoint and self.checkpoint.with_suffix(f".{member}.{phase}.pt")

    def _tell(self, member: int, phase: str, history: list[dict[str, float]]) -> None:
        more = [{"member": member, "phase": phase, **row} for row in history]
        self.history = [*self.history, *more]

    def predicted(self, net: "Network", inputs: "Inputs", pairs: np.ndarray) -> np.ndarray:
        """[n] of one network."""
        found = inputs.by_parts(lambda rows: net.respond(net.embedded(inputs, rows)), pairs)
        return inputs.in_units(found, pairs[:, 1])

    def embed(self, pairs: np.ndarray, phase: str = "fine_tuned", member: int = 0) -> np.ndarray:
        """[n, dim] float64 embeddings of [n, 2] positions in the benchmark of `fit`.

        Parameters
        ----------
        phase : "untrained", "pretrained" or "fine_tuned"

        Raises
        ------
        DataError
            There was no such phase.
        """
        net = self._net(phase, member)
        return self.inputs.by_parts(lambda rows: net.embedded(self.inputs, rows), np.asarray(pairs))

    def numbers(self, phase: str = "fine_tuned", member: int = 0) -> np.ndarray:
        """[1001, dim] float64 embeddings of the number texts, 0.000 to 1.000, as a pair meets them
        where there is no caption; where there is one, as the number's tower gives them.

        Raises
        ------
        DataError
            The model reads no number, or there was no such phase.
        """
        net = self._net(phase, member)
        self._check_text()
        with torch.inference_mode():
            found = net.numbers(self.inputs)
            found = net.join(found) if self.config.said == "none" else found
        return found.cpu().numpy().astype(np.float64)

    def read(self, pairs: np.ndarray, phase: str = "pretrained", member: int = 0) -> np.ndarray:
        """[n] labels from 0 to 1: the number whose text is nearest to each pair's embedding, among
        those that occur in training; with a caption, nearest in the pair's own caption.

        Raises
        ------
        DataError
            The model reads no number, or there was no such phase.
        """
        net = self._net(phase, member)
        self._check_text()
        inputs, seen = self.inputs, self.inputs.code.unique()

        def nearest(rows: torch.Tensor) -> torch.Tensor:
            z = F.normalize(net.embedded(inputs, rows), dim=1)
            texts = net.all_texts(inputs, rows, seen)  # [n or 1, seen, dim]
            return seen[(F.normalize(texts, dim=2) * z[:, None]).sum(2).argmax(1)]

        size = 64 if net.caption is not None else 4096
        found = inputs.by_parts(nearest, np.asarray(pairs), size)
        return found / (captions.NUMBERS - 1)

    def labels(self, y: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """[n] labels from 0 to 1 of measured ln IC50, as the alignment reads them."""
        return self.inputs.labelled(np.asarray(y), np.asarray(pairs)[:, 1])

    def residuals(self, y: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """[n] measured ln IC50 less the drug's training mean, in the drug's deviations; of a drug
        without training pairs, less the mean of all.
        """
        drug = np.asarray(pairs)[:, 1]
        return (np.asarray(y) - self.inputs.offset[drug]) / self.inputs.spread[drug]

    def _check_text(self) -> None:
        if not self.config.reads:
            raise DataError(
                f"a model with the alignment {self.config.alignment!r} reads no numbers",
                remedy="use alignment='clip' or 'soft'",
            )

    def _net(self, phase: str, member: int) -> "Network":
        if phase == "untrained":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.config.seed + member)
                return self.build(self.inputs).to(self.inputs.device).eval()
        held = {"pretrained": self.pretrained, "fine_tuned": self.networks}.get(phase, ())
        if member >= len(held):
            raise DataError(
                f"no {phase!r} network {member} is kept",
                remedy=f"use {', '.join(PHASES)}; pre-training is kept until the model is saved",
            )
        return held[member]

    def extended(self, more: Mapping[str, Any]) -> "Inputs":
        """See `Inputs.extended`."""
        return self.inputs.extended(more)

    def state(self) -> dict[str, np.ndarray]:
        """Every weight, and what turns the targets back into the benchmark's units."""
        return {"offset": self.inputs.offset, "spread": self.inputs.spread} | super().state()

    def pack(self) -> dict[str, Any]:
        """What `save` writes; not the modules that pre-training left."""
        out = super().pack()
        out.pop("pretrained", None)
        return out


def _given(net: nn.Module) -> nn.Module:
    return net


def thinned(split: Any, share: float, seed: int) -> Any:
    """A split with a random share of its training pairs, at least one."""
    if share == 1:
        return split
    n = max(1, round(share * len(split.train)))
    kept = np.random.default_rng([seed, 14]).permutation(len(split.train))[:n]
    return replace(split, train=np.sort(split.train[kept]))


def warmed(split: Any, seed: int) -> Any:
    """A split whose training and validation pairs are thrown together and dealt anew, eight to one,
    pair by pair: as in the authors' code, validation knows every drug and line.
    """
    both = np.concatenate([split.train, split.valid])
    dealt = np.random.default_rng([seed, 171]).permutation(both)
    n = max(1, len(dealt) // 9)
    return replace(split, train=np.sort(dealt[n:]), valid=np.sort(dealt[:n]))


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the network reads of C lines and D drugs, on one device.

    Attributes
    ----------
    cell, drug : view -> [n, features]
    recipes : side -> view -> how it was made, fitted on the training set
    pairs : [n, 2] training pairs
    target, weight : [n] what is predicted, and what a squared error of it counts
    label, code : [n] labels of the alignment, 0 to 1, and their thousandths
    compound : [D] int, equal for two ids of one compound
    similar : "cell", "drug" -> ([n, n] similarity of training responses, [n] bool known); of the
        alignment of entities
    text : "number", "line", "drug" -> ([n, tokens] ids, [n] lengths)
    vocabulary : number of tokens
    unknown, cut : tokens never seen in training, captions cut at the context
    offset, spread : [D] a prediction is offset + spread x output
    new : (offset, spread) of a drug without training pairs
    slope : of the labels
    normalised : targets are labels of ln IC50, not residuals
    level : mean and deviation of the labels, by which they are standardised
    """

    cell: dict[str, torch.Tensor]
    drug: dict[str, torch.Tensor]
    recipes: dict[str, dict[str, Recipe]]
    pairs: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    label: torch.Tensor
    code: torch.Tensor
    compound: torch.Tensor
    similar: dict[str, tuple[torch.Tensor, torch.Tensor]]
    text: dict[str, tuple[torch.Tensor, torch.Tensor]]
    vocabulary: int
    unknown: int
    cut: int
    offset: np.ndarray
    spread: np.ndarray
    new: tuple[float, float]
    slope: float
    normalised: bool
    level: tuple[float, float]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.target.device

    def steps_of_pass(self, config: CLDRConfig) -> int:
        """Updates that would show every training pair once."""
        size = tiles(self.pairs.cpu(), config.tile)[1]  # type: ignore[arg-type]
        return max(1, len(self.pairs) // size)

    def by_parts(self, of: Any, pairs: np.ndarray, size: int = 16384) -> np.ndarray:
        """[n, ...] float64: a function of [part, 2] positions, part by part."""
        asked = torch.as_tensor(pairs, device=self.device)
        with torch.inference_mode():
            parts = [of(rows).cpu() for rows in asked.split(size)]
        return torch.cat(parts).numpy().astype(np.float64)

    def in_units(self, found: np.ndarray, drug: np.ndarray) -> np.ndarray:
        """[n] ln IC50 of what a network says."""
        if self.normalised:
            return captions.from_labels(self.level[0] + self.level[1] * found, self.slope)
        return self.offset[drug] + self.spread[drug] * found

    def labelled(self, y: np.ndarray, drug: np.ndarray) -> np.ndarray:
        """[n] labels of ln IC50."""
        return captions.labels(y if self.normalised else y - self.offset[drug], self.slope)

    def extended(self, more: Mapping[str, Any]) -> Self:
        """The same inputs with further lines or drugs at the end, for predicting: no text is read.

        Parameters
        ----------
        more : "cell" or "drug" -> `Side` of the further entities
        """
        out = self
        for name, side in more.items():
            views = make_views(side, self.recipes[name])
            old = getattr(out, name)
            grown: dict[str, Any] = {
                name: {view: _joined(x, views[view].tensor(self.device)) for view, x in old.items()}
            }
            if name == "drug":
                n = len(side)
                grown["offset"] = np.append(out.offset, np.full(n, self.new[0]))
                grown["spread"] = np.append(out.spread, np.full(n, self.new[1]))
            out = replace(out, **grown)
        return out


def recipes(config: CLDRConfig) -> dict[str, dict[str, Recipe]]:
    """How the views are made."""
    makers: dict[str, dict[str, Recipe]] = {
        "cell": {
            "expression": Standardised("expression")
            if not config.components
            else Components("expression", most=config.components),
            "mutation": Raw("mutation", scale=SCALES["mutation"]),
            "copy_number": Standardised("copy_number"),
        },
        "drug": {
            "fingerprint": Fingerprint(scale=SCALES["fingerprint"]),
            "annotation": Annotation(scale=SCALES["annotation"]),
        },
    }
    molecules: dict[str, Recipe] = {"molecules": Molecules()}
    if config.backbone != "attribute":
        return {
            "cell": {view: makers["cell"][view] for view in config.cell_views},
            "drug": molecules,
        }
    wanted = {"cell": config.cell_views, "drug": config.drug_views}
    return {side: {view: makers[side][view] for view in wanted[side]} for side in makers}


def prepare(
    benchmark: Any, split: Any, config: CLDRConfig, device: torch.device | str = "cpu"
) -> Inputs:
    """Everything the network needs about a benchmark, fitted on the training set.

    Raises
    ------
    DataError
        The benchmark lacks what a view or a caption is made from.
    """
    views = fit_views(benchmark, split, recipes(config))
    _, offset, spread, _ = per_drug_targets(benchmark, split)
    spread = np.where(np.isfinite(spread) & (spread > 1e-6), spread, 1.0)  # of responses all alike
    pairs, y = benchmark.pairs[split.train], benchmark.y[split.train]
    trained = np.unique(pairs[:, 1])
    normalised = config.target == "normalised"

    def tensor(x: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(x, dtype=np.float32), device=device)

    x = y if normalised else y - offset[pairs[:, 1]]
    label = captions.labels(x, config.slope)
    level = float(label.mean()), max(float(label.std()), 1e-6)
    target = (label - level[0]) / level[1] if normalised else x / spread[pairs[:, 1]]
    weight = np.ones(len(y)) if normalised else spread[pairs[:, 1]] ** 2
    dealt = np.arange(len(y))
    if config.shuffled:
        dealt = np.random.default_rng([config.seed, 41]).permutation(dealt)
    label = label[dealt]
    similar: dict[str, Any] = {}
    if config.alignment == "entities":
        table = np.full(benchmark.shape, np.nan)
        left = (y - offset[pairs[:, 1]]) / spread[pairs[:, 1]]
        table[tuple(pairs.T)] = left[dealt]
        for side, found in similar_responses(table).items():
            alike, known = (torch.as_tensor(part, device=device) for part in found)
            similar[side] = alike.float(), known
    text: dict[str, Any] = {}
    vocabulary = unknown = cut = 0
    if config.reads:
        rows = np.unique(pairs[:, 0]), trained
        wraps = config.has("one_reads_as_zero")
        written = Captions.written(benchmark, rows, config.said, config.context, wraps=wraps)
        parts = {"number": written.numbers, "line": written.line, "drug": written.drug}
        for name, tokens in parts.items():
            if tokens is not None:
                found = (tokens.ids, tokens.length)
                text[name] = tuple(torch.as_tensor(part, device=device) for part in found)
                unknown, cut = unknown + tokens.unknown, cut + tokens.cut
        vocabulary = len(written.tokeniser)
    compound = benchmark.sides[1].keys[benchmark.sides[1].identity]
    return Inputs(
        cell={name: view.tensor(device) for name, view in views["cell"].items()},
        drug={name: view.tensor(device) for name, view in views["drug"].items()},
        recipes=views.recipes,
        pairs=torch.as_tensor(pairs, device=device),
        target=tensor(target),
        weight=tensor(weight / weight.mean()),
        label=tensor(label),
        code=torch.as_tensor(captions.codes(label), device=device),
        compound=torch.as_tensor(np.unique(compound, return_inverse=True)[1], device=device),
        similar=similar,
        text=text,
        vocabulary=vocabulary,
        unknown=unknown,
        cut=cut,
        offset=offset,
        spread=spread,
        new=(float(y.mean()), float(spread[trained].mean())),
        slope=config.slope,
        normalised=normalised,
        level=level,
    )


def _joined(old: Any, new: Any) -> Any:
    """Rows of a view, then those of further entities; or molecules."""
    return torch.cat([old, new]) if isinstance(old, torch.Tensor) else old.joined(new)


class Molecular(nn.Module):
    """A drug's part from its molecule's graph: an encoder, then a linear layer.

    Shapes
    ------
    views : "molecules" -> `MoleculeGraphs`; out : [rows, hidden]
    """

    def __init__(self, encoder: nn.Module, out: int, hidden: int) -> None:
        super().__init__()
        self.encoder, self.project = encoder, nn.Linear(out, hidden)

    def forward(self, views: Mapping[str, Any], rows: torch.Tensor) -> torch.Tensor:
        """[rows, hidden] of some drugs."""
        return self.project(self.encoder(views["molecules"].take(rows)))


class Sequence(nn.Module):
    """A line's part by an encoder of its features, all views side by side.

    Shapes
    ------
    views : view -> [n, features]; out : [rows, hidden]
    """

    def __init__(self, encoder: nn.Module, out: int, hidden: int) -> None:
        super().__init__()
        self.encoder, self.project = encoder, nn.Linear(out, hidden)

    def forward(self, views: Mapping[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        """[rows, hidden] of some lines."""
        return self.project(self.encoder(torch.cat([x[rows] for x in views.values()], 1)))


def backbone(inputs: Inputs, config: CLDRConfig) -> tuple[nn.Module, nn.Module]:
    """(encoder of lines, encoder of drugs), each from entities to their parts of a pair.

    GraphDRP's and DeepCDR's fusion networks are left out: `PairTower` takes their place, so that
    backbones differ in what they read and not in what is aligned. Their widths are smaller than in
    the papers.
    """
    hidden, drop = 2 * config.hidden, config.drop_in
    if config.backbone == "attribute":
        lines, drugs = (Attributes(x, hidden, config) for x in (inputs.cell, inputs.drug))
        return lines, drugs
    features = sum(x.shape[1] for x in inputs.cell.values())
    if config.backbone == "graphdrp":
        drug = Molecular(AttentionEncoder(32, 4, 256, 128, drop), 128, hidden)
        return Sequence(SequenceTower(features, 128, (16, 32, 64)), 128, hidden), drug
    dense = nn.Sequential(
        nn.Linear(features, 256), nn.Tanh(), nn.BatchNorm1d(256), nn.Dropout(drop)
    )
    dense = nn.Sequential(dense, nn.Linear(256, 100), nn.ReLU())
    drug = Molecular(ConvolutionEncoder((128, 128, 100), drop=drop), 100, hidden)
    return Sequence(dense, 100, hidden), drug


class Attributes(nn.Module):
    """One `Tower` for each view of an entity, summed: the part that `PairTower` reads.

    Dropout falls on entities, not on pairs: a line's hundreds of pairs share its mask. Masks drawn
    pair by pair would average out over them.

    Shapes
    ------
    views : view -> [n, features]; out : [rows, out]
    """

    def __init__(self, views: Mapping[str, torch.Tensor], out: int, config: CLDRConfig) -> None:
        super().__init__()
        self.views = nn.ModuleDict(
            {
                name: Tower(x.shape[1], config.tower, out, config.drop_in, config.drop)
                for name, x in views.items()
            }
        )

    def forward(self, views: Mapping[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        """[rows, out] of some entities."""
        parts = [tower(views[name][rows]) for name, tower in self.views.items()]
        return torch.stack(parts).sum(0)


class Network(nn.Module):
    """Parts of lines and drugs, a tower of pairs with its head, and, where there is text, a tower
    for numbers and one for captions.

    Shapes
    ------
    pairs : [n, 2] positions
    """

    def __init__(self, inputs: Inputs, config: CLDRConfig) -> None:
        super().__init__()
        self.config = config
        self.cell, self.drug = backbone(inputs, config)
        self.pair = PairTower(config.hidden, config.dim, config.drop_pair)
        self.bins = HistogramHead(config.dim) if config.loss == "histogram" else None
        self.temperature: Any = None
        self.number: Any = None
        self.caption: Any = None
        self.join: Any = None
        self.graph: Any = None
        if config.reads:
            self.temperature = Temperature(config.temperature)
            wide = config.dim
            if config.numbers == "text":
                self.number = TextTower(inputs.vocabulary, config.language)
            else:
                self.number = ENCODERS[config.numbers](config.dim)
            if config.graph:
                self.graph = NumberGraph(
                    config.dim,
                    summed=config.has("summed_margin"),
                    shrinks=config.has("shrinks_negatives"),
                    trained=not config.has("untrained_relation"),
                    fresh=inputs.steps_of_pass(config) if config.has("fresh_relation") else 0,
                )
            if config.said != "none":
                self.caption = TextTower(inputs.vocabulary, config.language)
                wide = 2 * config.dim
            self.join = nn.Sequential(
                nn.Linear(wide, 2 * config.dim), nn.GELU(), nn.Linear(2 * config.dim, config.dim)
            )

    def embedded(self, inputs: Inputs, pairs: torch.Tensor) -> torch.Tensor:
        """[n, dim] embeddings of pairs; every line and drug of them is encoded once."""
        sides = self.parts(inputs, pairs)
        return self.pair(*(part.index_select(0, place) for part, _, place in sides))

    def parts(self, inputs: Inputs, pairs: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """Of lines and of drugs: (their parts of a pair, their positions, where each pair finds its
        own).
        """
        out: list[tuple[torch.Tensor, ...]] = []
        for views, encode, column in zip(
            (inputs.cell, inputs.drug), (self.cell, self.drug), pairs.unbind(1), strict=True
        ):
            known, place = column.unique(return_inverse=True)
            out.append((encode(views, known), known, place))
        return out

    def respond(self, z: torch.Tensor) -> torch.Tensor:
        """[n] responses read from embeddings."""
        return self.pair.predicted(z) if self.bins is None else self.bins(z)

    def numbers(self, inputs: Inputs, codes: torch.Tensor | None = None) -> torch.Tensor:
        """[1001, dim] embeddings of the number texts, or of some of them."""
        ids, length = inputs.text["number"]
        rows = torch.arange(len(ids), device=ids.device) if codes is None else codes
        if self.config.numbers != "text":
            return self.number(rows)
        found = ids[rows]
        if self.config.has("whole_context_padded"):
            found = F.pad(found, (0, PUBLISHED_PADDING - found.shape[1]))
        return self.number(found, length[rows])

    def captions(self, inputs: Inputs, pairs: torch.Tensor) -> torch.Tensor:
        """[n, dim] embeddings of the captions of pairs, every drug's part read once."""
        line_ids, line_length = inputs.text["line"]
        drug_ids, drug_length = inputs.text["drug"]
        if self.config.has("whole_context_padded"):
            parts = drug_ids[pairs[:, 1]], line_ids[pairs[:, 0]]
            lengths = drug_length[pairs[:, 1]], line_length[pairs[:, 0]]
            return self.caption(*_whole(parts, lengths, self.config.context))
        known, place = pairs[:, 1].unique(return_inverse=True)
        longest = int(drug_length[known].max())
        prefix = self.caption.prefix(drug_ids[known, :longest], drug_length[known])
        lines = pairs[:, 0]
        longest = int(line_length[lines].max())
        return self.caption.continued(prefix, place, line_ids[lines, :longest], line_length[lines])

    def texts(
        self, inputs: Inputs, pairs: torch.Tensor, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """([n, dim] what the alignment holds beside the pairs' embeddings, loss of the number
        graph).
        """
        known, place = codes.unique(return_inverse=True)
        if self.graph is not None or self.config.has("whole_context_padded"):
            known, place = torch.arange(captions.NUMBERS, device=codes.device), codes
        said = self.numbers(inputs, known)
        tied = None if self.graph is None else self.graph(said[:-1])  # 0.000 to 0.999, as there
        if self.caption is None:
            return self.join(said).index_select(0, place), tied
        both = [self.captions(inputs, pairs), said.index_select(0, place)]
        return self.join(torch.cat(both, 1)), tied

    def all_texts(self, inputs: Inputs, pairs: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """[n, codes, dim] every pair with every number; [1, codes, dim] where there is no
        caption.
        """
        said = self.numbers(inputs, codes)
        if self.caption is None:
            return self.join(said)[None]
        caption = self.captions(inputs, pairs)
        n, m = len(caption), len(said)
        both = [caption[:, None].expand(n, m, -1), said[None].expand(n, m, -1)]
        return self.join(torch.cat(both, 2))


def _whole(
    parts: tuple[torch.Tensor, torch.Tensor],
    lengths: tuple[torch.Tensor, torch.Tensor],
    context: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """([n, context] ids, [n] lengths) of texts made of two parts."""
    place = torch.arange(context, device=parts[0].device)[None]
    first, second = (length[:, None] for length in lengths)
    begins = F.pad(parts[0], (0, max(0, context - parts[0].shape[1])))[:, :context]
    later = (place - first).clamp(0, parts[1].shape[1] - 1)
    ends = parts[1].gather(1, later.expand(len(parts[1]), -1))
    ids = torch.where(place < first, begins, torch.where(place < first + second, ends, 0))
    return ids, lengths[0] + lengths[1]


def objective(net: Network, inputs: Inputs, rows: torch.Tensor, config: CLDRConfig) -> LossOutput:
    """LossOutput of fine-tuning on some training pairs; the joint form adds the alignment."""
    pairs, y, weight = inputs.pairs[rows], inputs.target[rows], inputs.weight[rows]
    z = net.embedded(inputs, pairs)
    if net.bins is not None:
        total = (weight * net.bins.loss(z, y)).mean()
        parts = {"histogram": total.detach()}
    else:
        predicted = net.respond(z)
        total = (weight * (predicted - y) ** 2).mean()
        parts = {"error": total.detach()}
        if config.loss == "correlation":
            lost = correlation_loss(predicted, y, pairs[:, 1])
            total, parts = total + config.weight * lost, {**parts, "correlation": lost.detach()}
    if config.alignment != "none" and config.when == "joint":
        found = alignment(net, inputs, rows, z, config)
        total, parts = total + config.weight * found, {**parts, "alignment": found.detach()}
    return LossOutput(total, parts)


def aligned(net: Network, inputs: Inputs, rows: torch.Tensor, config: CLDRConfig) -> LossOutput:
    """LossOutput of pre-training on some training pairs."""
    z = net.embedded(inputs, inputs.pairs[rows])
    total = alignment(net, inputs, rows, z, config)
    return LossOutput(total, {"alignment": total.detach()})


def alignment(
    net: Network, inputs: Inputs, rows: torch.Tensor, z: torch.Tensor, config: CLDRConfig
) -> torch.Tensor:
    """The alignment of pairs' embeddings z [n, dim], mean over blocks of rows that meet.

    A block holds random rows; within drugs, rows of the same few drugs.
    """
    if config.alignment == "entities":
        return _of_entities(net, inputs, inputs.pairs[rows])
    order = torch.randperm(len(rows), device=z.device)
    if config.within:  # drugs in random order
        turn = torch.randperm(len(inputs.compound), device=z.device)
        order = order[turn[inputs.pairs[rows[order], 1]].argsort(stable=True)]
    if config.blocks:
        order = order[: config.blocks * config.block]
    rows, z, texts, tied = rows[order], z[order], None, None
    if config.reads:
        texts, tied = net.texts(inputs, inputs.pairs[rows], inputs.code[rows])
    parts = torch.arange(len(rows), device=z.device).split(config.block)
    parts = [part for part in parts if len(part) > 1]
    if not parts:  # one row has nobody to meet
        return z.sum() * 0.0
    found = [
        _block(net, inputs, rows[part], z[part], None if texts is None else texts[part], config)
        for part in parts
    ]
    mean = torch.stack(found).mean()
    return mean if tied is None else (1 - config.graph_weight) * mean + config.graph_weight * tied


def _of_entities(net: Network, inputs: Inputs, pairs: torch.Tensor) -> torch.Tensor:
    """Lines' and drugs' parts against the similarity of their training responses, summed."""
    total = torch.zeros((), device=pairs.device)
    for name, (part, at, _) in zip(("cell", "drug"), net.parts(inputs, pairs), strict=True):
        alike, known = inputs.similar[name]
        total = total + response_alignment(part, alike[at][:, at], known[at])
    return total


def _block(
    net: Network,
    inputs: Inputs,
    rows: torch.Tensor,
    z: torch.Tensor,
    texts: torch.Tensor | None,
    config: CLDRConfig,
) -> torch.Tensor:
    drug = inputs.pairs[rows, 1]
    groups = drug if config.within else None
    if texts is None:
        return rank_n_contrast(z, inputs.label[rows], groups=groups)
    temperature = net.temperature()
    if config.alignment == "soft":
        targets = ordinal_targets(inputs.label[rows], config.width, groups)
        return soft_alignment(z, texts, targets, temperature, groups=groups)
    same = None
    if config.has("ties_as_negatives"):
        pass
    elif config.said == "none":  # one word is one number, whosever it is
        same = inputs.code[rows][:, None] == inputs.code[rows][None]
    else:  # two ids of one compound on one line are one pair
        line, compound = inputs.pairs[rows, 0], inputs.compound[drug]
        same = (line[:, None] == line[None]) & (compound[:, None] == compound[None])
    if config.smoothing:
        alone = torch.zeros(len(rows), len(rows), dtype=torch.bool, device=z.device)
        targets = _smoothed(alone if same is None else same, groups, config.smoothing)
        return soft_alignment(z, texts, targets, temperature, groups=groups)
    return info_nce(z, texts, temperature, same=same, groups=groups)


def _smoothed(same: torch.Tensor, groups: torch.Tensor | None, smoothing: float) -> torch.Tensor:
    """[n, n] targets: 1 - smoothing over the rows that are the same, the rest over all
    candidates.
    """
    allowed = torch.ones_like(same) if groups is None else groups[:, None] == groups[None]
    same = (same | torch.eye(len(same), dtype=torch.bool, device=same.device)) & allowed
    own, others = (mask.float() / mask.sum(1, keepdim=True) for mask in (same, allowed))
    return (1 - smoothing) * own + smoothing * others
