"""Labels of molecules: is a molecule active in an assay? Also what a linear probe of frozen
embeddings is asked.
"""

from clmt_lib.tasks.base import Task, register

LABELS = register(
    Task(
        name="labels",
        question="Is a molecule active in an assay?",
        scored=(
            "auroc",
            "auprc",
            "ece",
            "auroc_per_{column}",
            "auprc_per_{column}",
            "ece_per_{column}",
        ),
        with_interval=("auroc_per_{column}", "auprc_per_{column}", "auroc"),
        usual="auroc_per_{column}",
        drawn=("{row}",),  # the assays are those asked about, not a sample of assays
        sides=("molecule", "assay"),
        keys=("assay",),
    )
)

PROPERTIES = register(
    Task(
        name="properties",
        question="Which value has a molecule in an assay?",
        scored=(
            "mae",
            "rmse",
            "spearman",
            "mae_per_{column}",
            "rmse_per_{column}",
            "spearman_per_{column}",
        ),
        with_interval=("mae_per_{column}", "spearman_per_{column}"),
        usual="mae_per_{column}",
        drawn=("{row}",),
        sides=("molecule", "assay"),
        keys=("assay",),
    )
)
