"""One style for every figure: colour-blind safe, readable on a white and on a dark page. Functions here only draw what they are given.

Call `style()` once, near the top of a chapter. Every plot returns its axes, and leaves `plt.show()` to the cell.
"""

from clmt_lib.plotting.ablations import run_history, study
from clmt_lib.plotting.alignment import copies, knowledge, partners, pull, recall, temperatures
from clmt_lib.plotting.data import anatomy, dose_response, shares, split_maps
from clmt_lib.plotting.graphs import agreement, copying, depth, hearers, response_graphs
from clmt_lib.plotting.ladder import before_after, by_drug, ladder, paired
from clmt_lib.plotting.molecules import attributes, company, fold_scores, molecule
from clmt_lib.plotting.style import FAMILIES, GREY, NAMES, display_name, look, seconds, style
from clmt_lib.plotting.text import pooling, text_lengths, text_map
from clmt_lib.plotting.training import choices, descent, learning_curves, ratchet, schedules, seed_spread, threshold

__all__ = [
    "FAMILIES", "GREY", "NAMES", "agreement", "anatomy", "attributes", "before_after", "by_drug", "choices", "company", "copies", "copying", "depth", "descent", "display_name", "dose_response", "fold_scores", "hearers", "knowledge", "ladder", "learning_curves", "look", "molecule", "paired", "partners", "pooling", "pull", "ratchet", "recall", "response_graphs", "run_history", "schedules", "seconds", "seed_spread", "shares", "split_maps", "study", "style", "temperatures", "text_lengths", "text_map", "threshold",
]
