"""Drug response: how strongly a drug acts on a cell line."""

from clmt_lib.tasks.base import Task, register
from clmt_lib.tasks.metrics import REPORTED

RESPONSE = register(
    Task(
        name="response",
        question="How strongly does a drug act on a cell line?",
        scored=(
            "rmse",
            "mae",
            "r2",
            "pcc",
            "spearman",
            "pcc_per_{column}",
            "spearman_per_{column}",
            "pcc_per_{row}",
            "spearman_per_{row}",
        ),
        with_interval=REPORTED,
        usual="rmse",
        # a new drug's potency is unknowable: what can be asked is how well its lines are ranked
        unseen="pcc_per_{column}",
        measured=("rmse",),
        normalised=True,
        sides=("cell", "drug"),
        keys=("drug", "scaffold", "target", "pathway"),
    )
)
UNSEEN_DRUG_SPLITS = RESPONSE.unseen_splits
