"""The words of a reader for the names of records: of benchmarks, splits, models and scores."""

import re
from collections.abc import Hashable, Mapping

from clmt_lib.models import display_name, names

SCREENS = ("gdsc1", "gdsc2", "tgsa", "ccle", "ctrp")
WORDS = {  # what records call it -> what a reader sees
    "rmse": "RMSE",
    "mse": "MSE",
    "mae": "MAE",
    "ci": "CI",
    "pcc": "r",
    "pcc_per_drug": "per-drug r",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "cpu_seconds": "CPU seconds",
    "act_area": "activity area",
    "ln_ic50": "ln(IC50)",
    "auc": "AUC",
    "published_refit": "published, refitted",
    "biosnap_partial": "BioSNAP, partial",
    "davis": "Davis",
    "kiba": "KIBA",
    "human": "Human",
    "binding_active": "AUROC of binding, active",
    "binding_inactive": "AUROC of binding, inactive",
    "comas_references": "COMAS references",
    "comas_profiles": "COMAS profiles",
    "cmap": "CMap",
    "cdrp": "CDRP",
    "l1000": "L1000",
    "chembl2k": "ChEMBL2k",
    "broad6k": "Broad6k",
    "biogen": "Biogen",
    "tox21": "Tox21",
    "toxcast": "ToxCast",
    "sider": "SIDER",
    "clintox": "ClinTox",
    "bbbp": "BBBP",
    "bace": "BACE",
    "hiv": "HIV",
    "dilist": "DILIst",
    "infoalign": "InfoAlign's rule",
    "ogb": "OGB's rule",
    "test_all": "test, all assays",
}
PROBES = {  # models of label tables, in chapter profiles
    "counts": "ECFP counts",
    "both": "counts + descriptors",
    "forest": "forest on both",
    "forest_counts": "forest on counts",
    "forest_hard": "forest, hard labels",
    "kernel": "kernel on both",
    "kernel_counts": "kernel on counts",
    "ranks": "mean of ranks",
    "chosen": "chosen on validation",
    "space": "profiles",
    "row": "features",
}
THERE = {"there": "to the profile", "back": "to the molecule", "chance": "by chance"}
PLACES = {"top1": "top 1", "top10": "top 10", "place": "mean place", "median": "median place"}


def reader_word(name: Hashable, words: Mapping[str, str] | None = None) -> str:
    """What a reader sees for a name in records.

    Parameters
    ----------
    words : what `name` is called on this page, before the words of all pages

    >>> [reader_word(name) for name in ("cell_blind", "gdsc2", "there_top10", "another_seed")]
    ['cell-blind', 'GDSC2', 'to the profile, top 10', 'another seed']
    """
    name, words = str(name), WORDS | dict(words or {})
    if name in words:
        return words[name]
    where, _, what = name.partition("_")
    place, _, rest = what.partition("_")
    if where in THERE and place in PLACES:
        return ", ".join([THERE[where], PLACES[place], *([rest] if rest else [])])
    if "_" in name and name in names():
        return display_name(name)
    listed = name.split(", ")
    told = [reader_word(one, words) for one in listed] if len(listed) > 1 else listed
    if told != listed and all(one in words or one.isidentifier() for one in listed):
        return "; ".join(told)
    name = re.sub(r"_blind\b", "-blind", name).replace("-act_area", ", activity area")
    return spelt(re.sub(r"(?<=\w)_(?=\w)", " ", name))


def spelt(where: str) -> str:
    """The names of screens in a text as people write them.

    >>> spelt("gdsc2 cell-blind: stack")
    'GDSC2 cell-blind: stack'
    """
    return re.sub(rf"\b(?:{'|'.join(SCREENS)})\b", lambda name: name[0].upper(), where)
