"""Pictures to play with that need no script and no network: a row of buttons chooses what is shown.

The buttons are radio inputs and the choosing is done by the style sheet of the book (`.explorer`),
so they work from a folder, by keys, and with JavaScript switched off. Without the style sheet, and
on paper, the first picture stands still. A notebook shows one by `HTML(response_map(...))`.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib import __version__, data
from clmt_lib.data import DrugResponse
from clmt_lib.io import DataError, cache_file, harmless, read_cached, write_cached
from clmt_lib.tasks import metrics

__all__ = [
    "before_after_alignment",
    "choose",
    "embedding_map",
    "picture",
    "response_map",
    "responses",
    "simulated_world",
]

WIDE = 480  # of every drawing: on a phone a unit is three quarters of a pixel
SHADES = 15  # of a colour scale; with the one for what is missing, half a byte a value
LEFT, RIGHT = 128, WIDE - 4  # of a response map; its names stand at the left
VIEWS = ("first", "second")  # classes of the two views of a response map
MANY = 4  # drugs that a pathway needs to get its name written


def choose(
    name: str,
    panes: Mapping[str, str],
    about: str,
    marks: Mapping[str, str] | None = None,
    shared: str = "",
    still: int | None = None,
) -> str:
    """Several drawings of which buttons show one, as HTML without a script.

    Parameters
    ----------
    name : of this explorer, unique on a page
    panes : what a button says -> its drawing (SVG)
    about : what a screen reader says of the buttons
    marks : a second row of buttons that changes all drawings: what the button says -> its class,
        of which the style sheet knows what it hides
    shared : a drawing that stands above all panes
    still : how many panes stand on paper; None all

    Returns
    -------
    one line of HTML
    """
    rows, shown = [], []
    for group, titles in enumerate((dict.fromkeys(panes, ""), marks or {})):
        for number, (title, kind) in enumerate(titles.items()):
            own = f"{name}-{group}-{number}"
            kind = f' class="{kind}"' if kind else ""
            rows.append(
                f'<input type="radio" name="{name}-{group}" id="{own}"{kind}'
                f'{" checked" * (number == 0)}><label for="{own}">{_swatch(title)}</label>'
            )
        rows.append("<br>" if marks and not group else "")
    if shared:  # another element than a pane's: the style sheet counts those
        shown.append(f'<section class="pane shared">{shared}</section>')
    for number, (title, drawing) in enumerate(panes.items()):
        beyond = still is not None and number >= still
        shown.append(
            f'<div class="pane{" on-screen" * beyond}"><p class="on-paper">{escape(title)}</p>'
            f"{drawing}</div>"
        )
    return (
        f'<div class="explorer" role="group" aria-label="{escape(about)}">'
        f"{''.join(rows + shown)}</div>"
    )


def _swatch(title: str) -> str:
    """The text of a button; "#rrggbb name" puts a dot of that colour before the name."""
    colour, space, rest = title.partition(" ")
    if not (space and colour.startswith("#")):
        return escape(title)
    return f'<span class="swatch" style="background:{escape(colour)}"></span>{escape(rest)}'


def _open(height: float, label: str) -> str:
    return (
        f'<svg class="drawn" viewBox="0 0 {WIDE} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" xmlns="http://www.w3.org/2000/svg">'
    )


def picture(table: np.ndarray, low: float, high: float, scale: str) -> str:
    """A table of numbers as the address of a small PNG, one pixel a value; NaN is transparent.

    Parameters
    ----------
    table : [rows, columns]; low, high : ends of the colour scale; scale : matplotlib's name of it
    """
    from matplotlib import colormaps
    from PIL import Image

    colours = (255 * colormaps[scale](np.linspace(0, 1, SHADES))[:, :3]).round().astype(np.uint8)
    where = np.clip((np.nan_to_num(table) - low) / (high - low), 0, 1) * (SHADES - 1)
    codes = np.where(np.isnan(table), SHADES, where.round()).astype(np.uint8)
    image = Image.fromarray(codes, mode="P")
    image.putpalette(np.vstack([colours, colours[:1]]).tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, bits=4, transparency=SHADES)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _image(address: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<image href="{address}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" preserveAspectRatio="none"/>'
    )


def _order(responses: pd.DataFrame, pathway: pd.Series) -> tuple[list, list[tuple[str, int]]]:
    """Drugs with those of one pathway side by side, large pathways first and each from potent to
    weak; and (pathway, how many drugs) in that order, small pathways together as "".
    """
    pathway = pathway.reindex(responses.columns).fillna("")
    size = pathway.map(pathway.value_counts())
    group = pathway.where(size >= MANY, "")
    key = pd.DataFrame({"small": group == "", "size": -size, "group": group})
    key["mean"] = responses.mean()
    key.loc[key["small"], "size"] = 0
    key = key.sort_values(["small", "size", "group", "mean"], kind="stable")
    return list(key.index), list(key.groupby("group", sort=False).size().items())


def response_map(
    maps: Mapping[str, pd.DataFrame], tissue: pd.Series, pathway: pd.Series, name: str = "map"
) -> str:
    """A screen to look around in: lines of a chosen tissue down, drugs across, grouped by pathway;
    and first of all the mean of each tissue. As HTML without a script.

    Parameters
    ----------
    maps : one or two views of the screen: title -> [lines, drugs] numbers, NaN where not measured.
        The first is drawn from its 2nd to its 98th percentile, the second around zero
    tissue : of every line; pathway : of every drug
    name : of the explorer, unique on a page

    Raises
    ------
    DataError
        More than two views, or views of different lines or drugs.
    """
    first = next(iter(maps.values()))
    if len(maps) > 2 or not all(m.shape == first.shape for m in maps.values()):
        raise DataError("a response map shows one or two tables of the same lines and drugs")
    drugs, groups = _order(first, pathway)
    tissue = tissue.reindex(first.index).fillna("unknown")
    tissues = tissue.value_counts().index
    scales: dict[str, tuple[float, float, str]] = {}
    for title, table in maps.items():
        low, high = np.nanpercentile(table.to_numpy(), [2, 98])
        if scales:  # differences: zero in the middle
            low, high = -max(-low, high), max(-low, high)
        scales[title] = (low, high, "PuOr" if scales else "viridis")

    panes = {}
    means = {title: table[drugs].groupby(tissue).mean() for title, table in maps.items()}
    means = {title: table.loc[tissues] for title, table in means.items()}
    panes["mean of each tissue"] = _rows(means, scales, groups, "Mean of every tissue")
    for one in tissues:
        lines = first.index[tissue == one]
        lines = first.loc[lines].mean(axis=1).sort_values(kind="stable").index
        own = {title: table.loc[lines, drugs] for title, table in maps.items()}
        panes[str(one)] = _rows(own, scales, groups, f"{len(lines)} cell lines, tissue: {one}")
    about = "What the map shows: a tissue, and a way to look at it"
    marks = dict(zip(maps, VIEWS)) if len(maps) > 1 else None
    return choose(name, panes, about, marks, _heading(scales, groups), still=1)


def _heading(
    scales: Mapping[str, tuple[float, float, str]], groups: Sequence[tuple[str, int]]
) -> str:
    """What all panes of a response map share: colour scales and the names of pathways."""
    tall = 176
    parts = [_open(tall, f"Scale of colours, and {len(groups)} groups of drugs from left to right")]
    for kind, (title, (low, high, scale)) in zip(VIEWS, scales.items()):
        bar = picture(np.linspace(low, high, SHADES)[None], low, high, scale)
        ends = f"{low:.1f} to {high:.1f} ln(µM)".replace("-", "−")
        parts.append(
            f'<g class="{kind}">{_image(bar, 8, 6, 104, 12)}'
            f'<text class="small" x="122" y="16">{escape(title)}, {ends}</text></g>'
        )
    start, count = 0, sum(size for _, size in groups)
    for pathway, size in groups:
        x = LEFT + (RIGHT - LEFT) * (start + size / 2) / count + 4
        said = _cut(pathway, 22) if pathway else "other pathways"
        parts.append(
            f'<text class="small" transform="translate({x:.1f} {tall - 3}) rotate(-90)">'
            f"{escape(said)}</text>"
        )
        start += size
    return "".join([*parts, "</svg>"])


def _rows(
    maps: Mapping[str, pd.DataFrame],
    scales: Mapping[str, tuple[float, float, str]],
    groups: Sequence[tuple[str, int]],
    label: str,
) -> str:
    """One pane of a response map: names of rows at the left, the picture, edges of pathways."""
    rows = list(next(iter(maps.values())).index)
    count = sum(size for _, size in groups)
    step = 17.0 if len(rows) < 13 else min(max(560 / len(rows), 1), 14)
    tall, wide = step * len(rows), RIGHT - LEFT
    parts = [_open(tall + 4, f"{label}, against {count} drugs grouped by pathway")]
    for place, row in enumerate(rows if step >= 11 else ()):
        parts.append(
            f'<text class="small" x="{LEFT - 6}" y="{step * (place + 0.5) + 4:.0f}" '
            f'text-anchor="end">{escape(_cut(str(row), 17))}</text>'
        )
    for kind, (title, table) in zip(VIEWS, maps.items()):
        drawn = picture(table.to_numpy(), *scales[title])
        parts.append(f'<g class="{kind}">{_image(drawn, LEFT, 0, wide, tall)}</g>')
    ends = np.cumsum([size for _, size in groups])[:-1] / count
    edges = "".join(f"M{LEFT + wide * end:.1f} 0v{tall:.0f}" for end in ends)
    return "".join([*parts, f'<path class="edge" d="{edges}"/></svg>'])


def _cut(text: str, most: int) -> str:
    """A name that has room, its end cut off where it is too long."""
    text = harmless(text)
    return text if len(text) <= most else text[: most - 1].rstrip(" ,") + "…"


def embedding_map(
    panes: Mapping[str, np.ndarray],
    label: Sequence[str],
    held: np.ndarray | None = None,
    notes: Mapping[str, str] | None = None,
    name: str = "space",
) -> str:
    """Entities in several embeddings, a dot each, in the colour of its label; a button shows one
    label alone. As HTML without a script.

    Parameters
    ----------
    panes : title -> [n, 2] places
    label : [n], at most 20 different ones
    held : [n] bool, drawn as hollow rings: what the embedding was not trained on
    notes : title -> a sentence above the dots
    name : of the explorer, unique on a page
    """
    import seaborn
    from matplotlib.colors import to_hex

    labels = pd.Series([harmless(str(one)) for one in label])
    held = np.zeros(len(labels), dtype=bool) if held is None else np.asarray(held)
    kinds = list(labels.value_counts().index)
    if len(kinds) > 20:
        raise DataError(f"an embedding map tells at most 20 labels apart, here are {len(kinds)}")
    colours = dict(zip(kinds, map(to_hex, _apart(seaborn.color_palette("colorblind", 10)))))
    size, drawn = WIDE - 40, {}
    for title, points in panes.items():
        points = np.asarray(points, dtype=float)
        points = points - points.min(axis=0)
        points = 20 + size * points / points.max()  # one scale for both directions
        points[:, 1] += 26
        about = f"{title}: {len(points)} dots in {len(kinds)} colours"
        parts = [
            _open(points[:, 1].max() + 16, about),
            f'<text x="8" y="18">{escape((notes or {}).get(title, ""))}</text>',
        ]
        for place, kind in enumerate(kinds):
            mine = (labels == kind).to_numpy()
            solid, rings = points[mine & ~held], points[mine & held]
            path = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in solid)
            circles = "".join(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5"/>' for x, y in rings)
            parts.append(
                f'<g class="dot t{place}" style="stroke:{colours[kind]}"><title>{escape(kind)}'
                f'</title><path d="{path}"/>{circles}</g>'
            )
        drawn[title] = "".join([*parts, "</svg>"])
    marks = {"all": ""} | {f"{colours[kind]} {kind}": f"t{i}" for i, kind in enumerate(kinds)}
    return choose(name, drawn, "Which embedding, and which label alone", marks)


def _apart(palette: Sequence) -> list:
    """Twenty colours: those of the palette, and the same darker."""
    return [*palette, *(tuple(0.6 * part for part in colour) for colour in palette)]


def responses(benchmark: DrugResponse) -> dict[str, pd.DataFrame]:
    """The two views of a screen that `response_map` shows: responses, and what is left of them when
    the effects of drugs and lines are taken away.
    """
    everything = np.arange(len(benchmark))
    mean, cell, drug = metrics.additive_effects(benchmark, everything, shrink=0.0)
    table = benchmark.matrix()  # [lines, drugs]
    names = benchmark.cells.index, benchmark.drugs.index
    rest = table - mean - cell[:, None] - drug[None]
    return {
        "ln(IC50)": pd.DataFrame(table, *names),
        "without drug and line effects": pd.DataFrame(rest, *names),
    }


def before_after_alignment(seed: int = 0) -> str:
    """Lines of the simulated world in three embeddings: their expression, a tower that nobody
    trained, and the same tower aligned to the sentence about the line on four fifths of the lines
    (chapter "Contrastive alignment"); each flattened to two dimensions by t-SNE.
    """
    from pathlib import Path

    from sklearn.manifold import TSNE

    benchmark = data.load_response("simulated", seed=seed)
    split = data.make_split(benchmark, "cell_blind", seed)
    held = np.unique(benchmark.pairs[split.test, 0])
    rows = np.setdiff1d(np.arange(benchmark.n_cells), held)
    tissue = benchmark.cells["tissue"].fillna("unknown").to_numpy()
    source = Path(__file__).read_text(encoding="utf-8")
    kept = cache_file("explorer", [benchmark.checksum, __version__, source], "npz")
    told = read_cached(kept)
    if told is None:
        told = {}
        for title, z in _aligned(benchmark, split, rows, seed).items():
            z = z / np.linalg.norm(z, axis=1, keepdims=True)
            near = rows[(z[held] @ z[rows].T).argmax(axis=1)]
            told[f"{title}|right"] = np.mean(tissue[near] == tissue[held])
            flat = TSNE(2, init="pca", perplexity=20, max_iter=500, random_state=seed)
            told[title] = flat.fit_transform(z)  # [lines, 2]
        write_cached(kept, told)
    panes = {title: points for title, points in told.items() if "|" not in title}
    notes = {
        title: f"Rings: nearest dot of the same tissue for {float(told[f'{title}|right']):.0%}."
        for title in panes
    }
    return embedding_map(panes, tissue, np.isin(np.arange(len(tissue)), held), notes)


def _aligned(
    benchmark: DrugResponse, split: data.Split, rows: np.ndarray, seed: int, steps: int = 60
) -> dict[str, np.ndarray]:
    """Lines as their expression, and as a tower reads it before and after an alignment on `rows`
    with their sentences.
    """
    import torch

    from clmt_lib.nn import contrast
    from clmt_lib.nn.encoders import Tower
    from clmt_lib.nn.heads import LossOutput
    from clmt_lib.training import TrainConfig, train
    from clmt_lib.views import omics, text

    expression = omics.fit_omics(benchmark, split)(benchmark)  # [lines, genes]
    sentences = text.describe_cells(benchmark.cells)
    seen = [
        torch.as_tensor(np.asarray(x), dtype=torch.float32)
        for x in (expression, 10 * text.encode(sentences))
    ]
    wording = torch.as_tensor(pd.factorize(np.array(sentences))[0][rows])
    same = wording[:, None] == wording[None]

    def build() -> torch.nn.ModuleList:
        return torch.nn.ModuleList([Tower(x.shape[1], 64, 32) for x in seen])

    def loss(towers: Any) -> LossOutput:
        mine, theirs = (tower(x[rows]) for tower, x in zip(towers, seen))
        value = contrast.info_nce(mine, theirs, 0.2, same=same)
        return LossOutput(value, {"loss": value.detach()})

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = build()
    towers, _ = train(build, loss, TrainConfig(steps, evaluate_every=steps, seed=seed))
    with torch.inference_mode():
        before, after = (
            next(iter(model.eval().children()))(seen[0]).numpy() for model in (untrained, towers)
        )
    return {"expression": expression, "before alignment": before, "after alignment": after}


def simulated_world() -> dict[str, str]:
    """The explorers of the pages, by the names that the pages use for them."""
    world = data.load_response("simulated")
    return {
        "response_map": response_map(
            responses(world), world.cells["tissue"], world.drugs["pathway"]
        ),
        "embedding_map": before_after_alignment(),
    }
