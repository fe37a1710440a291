"""Drugs and proteins: how tightly one binds the other (affinity), and whether it does
(interaction).
"""

from clmt_lib.tasks.base import Task, register

AFFINITY = register(
    Task(
        name="affinity",
        question="How tightly does a drug bind a protein?",
        scored=(
            "rmse",
            "mse",
            "mae",
            "r2",
            "pcc",
            "spearman",
            "ci",
            "rm2",
            "pcc_per_{column}",
            "spearman_per_{column}",
            "ci_per_{column}",
            "pcc_per_{row}",
            "spearman_per_{row}",
            "ci_per_{row}",
        ),
        with_interval=("rmse", "ci", "ci_per_{column}", "ci_per_{row}"),
        usual="rmse",
        measured=("rmse", "mse"),
        normalised=True,
        sides=("protein", "drug"),
        keys=("drug", "scaffold"),
    )
)

INTERACTION = register(
    Task(
        name="interaction",
        question="Does a drug bind a protein?",
        scored=(
            "auroc",
            "auprc",
            "ece",
            "mse",
            "auroc_per_{column}",
            "auroc_per_{row}",
        ),
        with_interval=("auroc", "auprc"),
        usual="auroc",
        sides=("protein", "drug"),
        keys=("drug", "scaffold"),
    )
)
