"""Report pages: one file of HTML with its pictures and styles inside, readable on a phone, in light
and in dark. Whatever comes from a table is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib import __version__
from clmt_lib.io import DataError, atomic_write

RESEARCH = "Research use only, not for treatment."
STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#566074;--line:#c9d0db;--page:#fff;--box:#f4f6f9;
--one:#0a6ea8;--two:#b8480a;--warn:#fff4e0;--edge:#b06a00}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#a9b2c3;--line:#414b5c;--page:#14181f;
--box:#1d232d;--one:#6cc0f5;--two:#ffa36b;--warn:#33270f;--edge:#e2a33c}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:52rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
p,li{max-width:42rem}.soft,figcaption{color:var(--soft);font-size:.9rem}
.research{border:2px solid var(--edge);border-radius:.4rem;padding:.4rem .8rem;font-weight:600}
.warn{background:var(--warn);border-left:4px solid var(--edge);padding:.5rem .8rem;margin:.5rem 0}
figure{margin:1rem 0}svg{width:100%;max-width:34rem;height:auto;display:block}
svg text{fill:var(--ink);font-size:13px}svg .soft{fill:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem;min-width:100%}
td:last-child{min-width:7rem}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
footer{margin-top:2.5rem;border-top:1px solid var(--line);color:var(--soft);font-size:.85rem}
"""


@dataclass
class Page:
    """A report page that is written piece by piece.

    Parameters
    ----------
    title : of the page
    lead : what it answers, in one sentence
    """

    title: str
    lead: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, *sentences: str) -> None:
        """A paragraph."""
        self.parts.append(f"<p>{escape(' '.join(sentences))}</p>")

    def warn(self, sentences: Iterable[str]) -> None:
        """Sentences that must not be overlooked, one a box."""
        self.parts += [f'<p class="warn">{escape(one)}</p>' for one in sentences]

    def bullets(self, items: Iterable[str]) -> None:
        """A list of sentences."""
        inner = "".join(f"<li>{escape(one)}</li>" for one in items)
        if inner:
            self.parts.append(f"<ul>{inner}</ul>")

    def table(self, frame: pd.DataFrame, caption: str, digits: int = 2) -> None:
        """A table with a caption; numbers to the right, rounded."""
        number = {c: pd.api.types.is_numeric_dtype(frame[c]) for c in frame}
        head = "".join(
            f'<th scope="col"{_number(number[c])}>{escape(str(c))}</th>' for c in frame.columns
        )
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td{_number(number[c])}>{escape(shown(v, digits))}</td>"
                for c, v in zip(frame.columns, row, strict=True)
            )
            + "</tr>"
            for row in frame.itertuples(index=False)
        )
        self.parts.append(
            f'<p class="soft">{escape(caption)}</p><div class="wide" tabindex="0" role="region" '
            f'aria-label="{escape(caption)}"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )

    def figure(self, svg: str, caption: str) -> None:
        """A picture (`intervals`, `scatter`) with its caption."""
        self.parts.append(f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>")

    def html(self) -> str:
        """The whole page."""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head><body><main>"
            f'<h1>{escape(self.title)}</h1><p>{escape(self.lead)}</p><p class="research">'
            f"{RESEARCH}</p>\n" + "\n".join(self.parts) + "\n</main>"
            f"<footer><p>Made by clmt_lib {__version__}. {RESEARCH}</p></footer></body></html>\n"
        )

    def write(self, path: str | Path) -> Path:
        """Write the page.

        Raises
        ------
        DataError
            The file's folder is not there.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise DataError("no such folder", file=path.parent, remedy="make it first")
        with atomic_write(path) as file:
            file.write(self.html())
        return path


def shown(value: Any, digits: int = 2) -> str:
    """A value as a table shows it.

    >>> shown(1.2345), shown(-0.001), shown(None), shown(float("nan")), shown(True), shown(12)
    ('1.23', '0.00', '', '', 'yes', '12')
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        text = f"{value:.{digits}f}"
        return text.removeprefix("-") if float(text) == 0 else text
    return str(value)


def _number(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def intervals(
    rows: Sequence[tuple[str, float, float, float]],
    axis: str,
    about: str,
    mark: float | None = None,
) -> str:
    """SVG of a dot and its interval for each row, labels above their lines, so that it is readable
    on a phone.

    Parameters
    ----------
    rows : (label, value, low, high)
    axis : label of the axis
    about : what the picture shows, for who cannot see it
    mark : value at which a dotted line is drawn
    """
    width, step, top = 420, 34, 8
    values = [v for _, *numbers in rows for v in numbers if np.isfinite(v)]
    values += [] if mark is None else [mark]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.5
    low, high = low - pad, high + pad
    height = top + step * len(rows) + 44

    def x(value: float) -> float:
        return 8 + (width - 16) * (min(max(value, low), high) - low) / (high - low)

    bottom = top + step * len(rows) + 4
    out = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(about)}">']
    if mark is not None:
        out.append(_line(x(mark), top, x(mark), bottom, "soft", "2 4"))
    for i, (label, value, a, b) in enumerate(rows):
        y = top + step * i + 24
        out.append(f'<text x="8" y="{y - 9}">{escape(_short(label, 56))}</text>')
        if np.isfinite(a) and np.isfinite(b):
            out.append(_line(x(a), y, x(b), y, "one"))
        if np.isfinite(value):
            out.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="4.5" fill="var(--two)"/>')
    out.append(_line(8, bottom, width - 8, bottom, "line"))
    for tick in _ticks(low, high):
        out.append(_line(x(tick), bottom, x(tick), bottom + 4, "line"))
        out.append(
            f'<text class="soft" x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{tick:g}</text>"
        )
    out.append(
        f'<text class="soft" x="{width / 2}" y="{bottom + 36}" text-anchor="middle">'
        f"{escape(axis)}</text></svg>"
    )
    return "".join(out)


def scatter(
    points: np.ndarray, groups: Sequence[str], new: Mapping[str, np.ndarray], about: str
) -> str:
    """SVG of a map: known entities as faint dots, the centres of their larger groups by name (where
    there is room), new ones as large dots with their names.

    Parameters
    ----------
    points : [n, 2]
    groups : [n] what each known one belongs to
    new : name -> [2]
    about : what the picture shows, for who cannot see it
    """
    width, height = 420, 380
    every = np.vstack([points, *[np.asarray(p)[None] for p in new.values()]])
    low, size = every.min(0), np.maximum(np.ptp(every, axis=0), 1e-9)

    def at(point: np.ndarray) -> tuple[float, float]:
        a, b = (np.asarray(point) - low) / size
        return 16 + (width - 32) * a, height - 16 - (height - 32) * b

    out = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(about)}">']
    for point in points:
        a, b = at(point)
        out.append(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="var(--one)" fill-opacity=".4"/>'
        )
    names, placed = pd.Series(list(groups)), list[tuple[float, float]]()
    for name in names.value_counts().index[:6]:
        a, b = at(np.median(points[(names == name).to_numpy()], axis=0))
        if any(abs(a - x) < 110 and abs(b - y) < 15 for x, y in placed):
            continue  # it would be written over another
        placed.append((a, b))
        anchor = "start" if a < width / 4 else "end" if a > 3 * width / 4 else "middle"
        out.append(
            f'<text class="soft" x="{a:.1f}" y="{b:.1f}" text-anchor="{anchor}">'
            f"{escape(_short(name, 28))}</text>"
        )
    written, texts = list[tuple[float, float]](), list[str]()
    for name, point in sorted(new.items(), key=lambda one: at(one[1])[1]):
        a, b = at(point)
        y = b + 4
        while any(abs(a - left) < 120 and abs(y - above) < 15 for left, above in written):
            y += 5  # under the name of its neighbour
        written.append((a, y))
        anchor = "start" if a < width / 2 else "end"
        shift = 9 if anchor == "start" else -9
        out.append(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="6" fill="var(--two)" stroke="var(--page)"/>'
        )
        texts.append(
            f'<text x="{a + shift:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'font-weight="600">{escape(_short(name, 24))}</text>'
        )
    return "".join([*out, *texts, "</svg>"])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "") -> str:
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="var(--{colour})" stroke-width="2"{dash}/>'
    )


def _short(text: Any, most: int) -> str:
    text = str(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers inside a range.

    >>> _ticks(0.1, 2.3)
    [0.5, 1.0, 1.5, 2.0]
    """
    rough = (high - low) / 4
    size = 10 ** np.floor(np.log10(rough))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough * 0.8)
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return [round(float(k * step), 10) for k in range(first, last + 1)]
