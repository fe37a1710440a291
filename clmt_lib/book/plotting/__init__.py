"""One style for every figure: colour-blind safe, readable on a white and on a dark page. Functions
here only draw what they are given.

Call `style()` once, near the top of a chapter. Every plot returns its axes, and leaves `plt.show()`
to the cell.
"""

from clmt_lib.book.plotting.ablations import run_history, study
from clmt_lib.book.plotting.alignment import copies, knowledge, partners, pull, recall, temperatures
from clmt_lib.book.plotting.best import base_weights, beside_kernel, inner_fold_maps, stack_plan
from clmt_lib.book.plotting.data import anatomy, dose_response, shares, split_maps
from clmt_lib.book.plotting.graphs import agreement, copying, depth, hearers, response_graphs
from clmt_lib.book.plotting.ladder import before_after, by_drug, ladder, paired
from clmt_lib.book.plotting.language import (
    fineness,
    matching,
    number_lines,
    order_shares,
    residual_map,
    similarity_tables,
    stopping,
    widths,
)
from clmt_lib.book.plotting.ledger import (
    Cards,
    beside_published,
    cases,
    errors_by_group,
    evidence_line,
    nearest_twins,
    replicate_noise,
    verdict_counts,
)
from clmt_lib.book.plotting.molecules import attributes, company, fold_scores, molecule
from clmt_lib.book.plotting.profiles import (
    beside_printed,
    contents,
    curve,
    differences,
    presence,
    retrieved,
    worths,
)
from clmt_lib.book.plotting.scaling import (
    growth,
    lanes,
    not_yet,
    parts,
    race,
    speeds,
    time_to_accuracy,
    two_ways,
)
from clmt_lib.book.plotting.style import FAMILIES, GREY, display_name, look, plain, seconds, style
from clmt_lib.book.plotting.text import pooling, text_lengths, text_map
from clmt_lib.book.plotting.textworth import whose_gain, worth
from clmt_lib.book.plotting.training import (
    choices,
    descent,
    learning_curves,
    passes,
    ratchet,
    schedules,
    seed_spread,
    threshold,
)
from clmt_lib.book.plotting.transfer import (
    across_laboratories,
    kinds_of_new,
    pilot_curves,
    transfer_scores,
)
from clmt_lib.book.plotting.umme import changes, curriculum, reliabilities, withheld

__all__ = [
    "Cards",
    "FAMILIES",
    "GREY",
    "across_laboratories",
    "agreement",
    "anatomy",
    "attributes",
    "base_weights",
    "beside_printed",
    "before_after",
    "beside_kernel",
    "beside_published",
    "by_drug",
    "cases",
    "changes",
    "choices",
    "company",
    "contents",
    "copies",
    "copying",
    "curriculum",
    "curve",
    "depth",
    "descent",
    "differences",
    "display_name",
    "dose_response",
    "errors_by_group",
    "evidence_line",
    "fineness",
    "fold_scores",
    "growth",
    "hearers",
    "inner_fold_maps",
    "kinds_of_new",
    "knowledge",
    "ladder",
    "lanes",
    "learning_curves",
    "look",
    "matching",
    "molecule",
    "nearest_twins",
    "not_yet",
    "number_lines",
    "order_shares",
    "paired",
    "passes",
    "partners",
    "parts",
    "pilot_curves",
    "plain",
    "pooling",
    "presence",
    "pull",
    "race",
    "ratchet",
    "recall",
    "reliabilities",
    "replicate_noise",
    "residual_map",
    "response_graphs",
    "retrieved",
    "run_history",
    "schedules",
    "seconds",
    "seed_spread",
    "shares",
    "similarity_tables",
    "speeds",
    "split_maps",
    "stack_plan",
    "stopping",
    "study",
    "style",
    "temperatures",
    "text_lengths",
    "text_map",
    "threshold",
    "time_to_accuracy",
    "transfer_scores",
    "two_ways",
    "verdict_counts",
    "whose_gain",
    "widths",
    "withheld",
    "worth",
    "worths",
]
