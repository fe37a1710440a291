"""One style for every figure: colour-blind safe, readable on a white and on a dark page. Functions here only draw what they are given.

Call `style()` once, near the top of a chapter. Every plot returns its axes, and leaves `plt.show()` to the cell.
"""

from clmt_lib.plotting.data import anatomy, dose_response, shares, split_maps
from clmt_lib.plotting.ladder import before_after, by_drug, ladder, paired
from clmt_lib.plotting.style import FAMILIES, GREY, NAMES, display_name, look, seconds, style
from clmt_lib.plotting.text import pooling, text_map

__all__ = [
    "FAMILIES", "GREY", "NAMES", "anatomy", "before_after", "by_drug", "display_name", "dose_response", "ladder", "look", "paired", "pooling", "seconds", "shares", "split_maps", "style", "text_map",
]
