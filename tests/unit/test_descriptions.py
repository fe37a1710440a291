"""Facts to sentences: templates that state what is known, tables in our own words, and a guard
against texts that know responses.
"""

import csv
import os
import re
from collections import Counter
from importlib.resources import files
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
from test_simulated import FORBIDDEN
from tiny import tables

from clmt_lib import audit, data
from clmt_lib.data.response import simulated
from clmt_lib.data.response.simulated import facts
from clmt_lib.io import DataError, locate
from clmt_lib.views import descriptions, text
from clmt_lib.views.text import mechanisms, response_words

DRUGS = pd.DataFrame(
    {
        "name": ["Erlotinib", "Mystery", "Half", "Other half"],
        "target": ["EGFR", None, None, "PARP1, PARP2"],
        "pathway": ["EGFR signaling", None, "Mitosis", None],
        "mechanism": ["It sits in the ATP pocket.", None, " ", None],
    }
)


def packaged(name):
    with (files("clmt_lib.data") / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


# descriptions


def test_annotation_states_the_facts_and_nothing_where_there_is_none():
    assert text.describe_drugs(DRUGS) == [
        "A drug that acts on EGFR, in the pathway: EGFR signaling.",
        None,
        "A drug that acts on an unknown target, in the pathway: Mitosis.",
        "A drug that acts on PARP1, PARP2, in the pathway: unknown.",
    ]


def test_a_mechanism_comes_from_the_table_else_from_ours_else_it_is_missing(monkeypatch):
    monkeypatch.setattr(
        descriptions, "mechanisms", lambda: {"erlotinib": "ours", "half": "ours, by name"}
    )
    assert text.describe_drugs(DRUGS, "mechanism") == [
        "It sits in the ATP pocket.",
        None,
        "ours, by name",
        None,
    ]
    without = DRUGS.drop(columns="mechanism").assign(name=[" ERLOTINIB", "Mystery", None, "Half"])
    assert text.describe_drugs(without, "mechanism") == ["ours", None, None, "ours, by name"]


def test_the_packaged_paragraphs_are_named_sourced_and_unique():
    rows = packaged("mechanisms.tsv")
    assert len(rows) > 50 and set(rows[0]) == {"name", "mechanism", "source"}
    assert all(
        row["name"].strip() and row["mechanism"].strip() and row["source"].strip() for row in rows
    )
    names = [row["name"].strip().lower() for row in rows]
    bundled = {name.lower() for name in simulated.facts()["name"]}
    assert len(set(names)) == len(names) and set(text.mechanisms()) == set(names) | bundled


def test_names_are_a_source_and_unknown_sources_an_error():
    assert text.describe_drugs(DRUGS.assign(name=["A", None, "B", "C"]), "name") == [
        "A",
        None,
        "B",
        "C",
    ]
    with pytest.raises(
        DataError, match="unknown text source 'smell'.*annotation, mechanism, long or name"
    ):
        text.describe_drugs(DRUGS, "smell")


def test_lines_are_described_by_tissue_type_and_status():
    cells = pd.DataFrame(
        {"tissue": ["Lung", "Skin"], "cancer_type": ["SCLC", None], "msi": [None, "MSS"]}
    )
    assert text.describe_cells(cells) == [
        "A cancer cell line from the tissue: Lung. Its cancer type: SCLC.",
        "A cancer cell line from the tissue: Skin. Microsatellite status: MSS.",
    ]


# the guard

LEAKS = [
    "Cell lines with high EGFR are sensitive.",
    "Sensitises cells to cisplatin.",
    "Resistance arises by T790M.",
    "Tumours respond within weeks.",
    "Responders carry BRAF V600E.",
    "Its IC50 is 3 nM.",
    "Its GI50 is low.",
    "The AUC is small.",
    "Approved in 2011.",
    "Its indication is melanoma.",
    "Indicated for melanoma.",
    "A potent inhibitor.",
    "It is highly cytotoxic.",
    "It kills melanoma lines.",
    "Patients live longer.",
    "Cells survive at high doses.",
    "Of proven efficacy.",
    "In clinical trials.",
    "The clinical response is short.",
    "Insensitive lines lack it.",
]
HARMLESS = [
    "The unfolded protein response follows.",
    "It lowers survivin.",
    "The DNA damage response is blocked.",
    "The kinase phosphorylates its substrate.",
    "Chromosomes lag at the spindle.",
]


@pytest.mark.parametrize("sentence", LEAKS)
def test_the_guard_finds_what_speaks_of_response(sentence):
    assert text.response_words(["A drug that acts on EGFR. " + sentence]) != [[]]


@pytest.mark.parametrize("sentence", HARMLESS)
def test_the_guard_lets_biology_pass(sentence):
    assert text.response_words([sentence]) == [[]]


def test_no_description_of_this_book_speaks_of_response():
    table, world = simulated.facts(), simulated.load(cells=24)
    texts = [text for source in descriptions.DRUG_SOURCES for text in text_of(table, source)]
    texts += [
        *text.mechanisms().values(),
        *descriptions.target_families().values(),
        *(row["description"] for row in packaged("pathways.tsv")),
    ]
    texts += [
        *text.describe_cells(world.cells),
        *text.describe_cells(world.cells, "drivers", world.omics),
    ]
    assert len(texts) > 600
    assert {
        wrote: words
        for wrote, words in zip(texts, text.response_words(texts), strict=True)
        if words
    } == {}


def text_of(drugs, source):
    return [wrote for wrote in text.describe_drugs(drugs, source) if wrote]


# long texts


def test_a_long_text_puts_facts_first_and_leaves_out_what_is_not_known(monkeypatch):
    monkeypatch.setattr(descriptions, "mechanisms", dict)
    egfr, nothing, half, parp = text.describe_drugs(DRUGS, "long")
    annotation, mechanism = text.describe_drugs(DRUGS), text.describe_drugs(DRUGS, "mechanism")
    pathway, family = (
        {row["pathway"]: row["description"] for row in packaged("pathways.tsv")},
        descriptions.target_families(),
    )
    assert egfr == " ".join(
        [annotation[0], mechanism[0], pathway["EGFR signaling"], family["egfr"]]
    )
    assert nothing is None and half == annotation[2] + " " + pathway["Mitosis"]
    assert parp == annotation[3] + " " + family["parp1"]  # one family, said once


def test_a_long_text_guesses_nothing_about_strange_names():
    strange = pd.DataFrame(
        {
            "name": [None, "X"],
            "target": [np.nan, "no such protein, others"],
            "pathway": ["Other", "Unclassified"],
        }
    )
    assert text.describe_drugs(strange, "long") == text.describe_drugs(strange)


def test_the_tables_of_pathways_and_targets_are_clean_and_cover_the_bundled_drugs():
    pathways, targets, genes = (
        packaged("pathways.tsv"),
        packaged("targets.tsv"),
        packaged("drivers.tsv"),
    )
    for row in [*pathways, *targets, *genes]:
        assert all(
            cell and cell == " ".join(cell.split()) and '"' not in cell for cell in row.values()
        ), row
    for row in [*pathways, *targets]:
        assert row["description"].endswith(".") and not re.findall(
            FORBIDDEN, row["description"], re.IGNORECASE
        ), row
    assert all(60 <= len(row["description"].split()) <= 120 for row in pathways)
    for names in (
        [row["pathway"] for row in pathways],
        [spelt.lower() for row in targets for spelt in row["spellings"].split("|")],
        [row["gene"] for row in genes],
    ):
        assert not {name for name, count in Counter(names).items() if count > 1}
    assert {row["kind"] for row in genes} == {"oncogene", "suppressor", "either"}
    facts = simulated.facts()
    assert set(facts["pathway"]) - {row["pathway"] for row in pathways} == {"Other"}
    pieces = {piece.strip().lower() for target in facts["target"] for piece in target.split(",")}
    assert pieces - set(descriptions.target_families()) == {"fdx1"}
    assert {gene for row in simulated.DRIVERS.values() for gene in row} <= set(
        descriptions.drivers()
    )


def test_most_long_texts_pass_character_800_where_the_published_code_begins_to_read():
    long = text.describe_drugs(simulated.facts(), "long")
    assert np.mean([len(wrote) > 800 for wrote in long]) > 0.9
    assert all(
        wrote.startswith(first)
        for wrote, first in zip(long, text.describe_drugs(simulated.facts()), strict=True)
    )


@pytest.mark.real_data
@pytest.mark.skipif(
    not os.environ.get("CLMT_DATA"), reason="CLMT_DATA names no folder of prepared tables"
)
@pytest.mark.parametrize("name", ["gdsc2", "tgsa"])
def test_every_pathway_of_the_real_tables_has_its_paragraph(name):
    benchmark = tiny.real(name)
    ours = {row["pathway"] for row in packaged("pathways.tsv")}
    assert set(benchmark.drugs["pathway"].dropna()) - ours <= {"Other", "Unclassified"}
    long = text.describe_drugs(benchmark.drugs, "long")
    assert np.mean([len(wrote or "") > 800 for wrote in long]) > 0.8
    assert not any(
        text.response_words(
            [*long, *text.describe_cells(benchmark.cells, "drivers", benchmark.omics)]
        )
    )


# lines and their drivers

CELLS = pd.DataFrame({"tissue": ["Skin", "Lung", "Bone", "Bone"]}, index=list("abcd"))
OMICS = {
    "mutation": pd.DataFrame(
        [[1, 1, 1], [0, 0, 1], [0, 1, 0]], index=list("abc"), columns=["BRAF", "TP53", "GENE9"]
    ),
    "copy_number": pd.DataFrame(
        [[1.5, -2.0, 2.0], [1.4, -1.9, 0.0], [-4.0, 3.0, 0.0]],
        index=list("abc"),
        columns=["MYC", "CDKN2A", "GENE9"],
    ),
}


def test_a_line_states_its_drivers_and_only_what_its_tables_say():
    assert text.describe_cells(CELLS, "drivers", OMICS) == [
        "A cancer cell line from the tissue: Skin. Mutated driver genes: BRAF, TP53. Amplified: "
        "MYC. Deeply deleted: CDKN2A."
        " These genes take part in ERK MAPK signalling, the p53 pathway, control by MYC, the "
        "cell cycle.",
        "A cancer cell line from the tissue: Lung. None of the driver genes is mutated.",
        # an oncogene lost, a suppressor gained: not told
        "A cancer cell line from the tissue: Bone. Mutated driver genes: TP53. These genes take "
        "part in the p53 pathway.",
        "A cancer cell line from the tissue: Bone.",  # in no table: nothing is claimed
    ]


def test_one_table_is_enough_and_none_is_an_error():
    only = text.describe_cells(CELLS, "drivers", {"copy_number": OMICS["copy_number"]})
    assert "Amplified: MYC" in only[0] and "mutated" not in " ".join(only).lower()
    for given in (None, {}, {"expression": OMICS["mutation"]}):
        with pytest.raises(DataError, match="omics=benchmark.omics"):
            text.describe_cells(CELLS, "drivers", given)
    with pytest.raises(DataError, match="unknown text source 'smell'.*annotation or drivers"):
        text.describe_cells(CELLS, "smell")


def test_a_value_that_is_not_there_is_no_event():
    gaps = {
        "mutation": pd.DataFrame(
            {"BRAF": [np.nan, 1.0], "TP53": [np.nan, np.nan]}, index=["a", "b"]
        ),
        "copy_number": pd.DataFrame({"MYC": [np.nan, 9.0]}, index=["a", "b"]),
    }
    none, some = text.describe_cells(CELLS.loc[["a", "b"]], "drivers", gaps)
    assert (
        none == "A cancer cell line from the tissue: Skin."
        and "genes: BRAF. Amplified: MYC." in some
    )


def test_copy_number_means_the_same_on_both_scales():
    rng = np.random.default_rng(0)
    log2 = pd.DataFrame(rng.normal(0, 0.2, (6, 30)))
    log2.iloc[:, 3], log2.iloc[:, 4] = 2.5, -3.0
    mixed = log2.copy()
    mixed.iloc[::2] = np.log2(
        2.0 ** log2.iloc[::2] + 1
    )  # every other line as the CCLE releases give it
    assert np.allclose(descriptions.log2_ratios(mixed), log2)
    assert np.allclose(
        descriptions.log2_ratios(log2.iloc[1:]), log2.iloc[1:]
    )  # a line does not depend on its company
    assert descriptions.log2_ratios(mixed * np.nan).isna().all(axis=None)


def test_texts_of_training_lines_do_not_move_with_the_test_role():
    world = simulated.load(cells=36)
    split = data.make_split(world, "cell_blind", 0, 0)
    rows = np.unique(world.pairs[split.train, 0])

    def fit(benchmark, split):
        wrote = text.describe_cells(benchmark.cells, "drivers", benchmark.omics)
        return [wrote[row] for row in rows]

    def careless(
        benchmark, split
    ):  # genes chosen by how often they are mutated, in all lines: that is fitted across lines
        common = benchmark.omics["mutation"].mean().nlargest(5).index
        return text.describe_cells(
            benchmark.cells.iloc[rows], "drivers", {"mutation": benchmark.omics["mutation"][common]}
        )

    assert audit.unseen(world, split).size and not audit.proves_blind(fit, world, split).leaks
    assert audit.proves_blind(careless, world, split).leaks


def test_a_line_is_described_alike_in_any_order_of_lines():
    world = SimpleNamespace(**tables())
    again = text.describe_cells(world.cells, "drivers", world.omics)
    shuffled = world.cells.sample(frac=1, random_state=0)
    assert dict(
        zip(shuffled.index, text.describe_cells(shuffled, "drivers", world.omics), strict=True)
    ) == dict(zip(world.cells.index, again, strict=True))


# --- Our paragraphs about real drugs: mechanism only, each written for itself, and for drugs of the
# three tables


COVERED = 0.85  # share of the benchmark's drug names that have a text
real = pytest.mark.skipif(
    not os.environ.get("CLMT_DATA"), reason="CLMT_DATA names no folder of prepared tables"
)


@pytest.fixture(scope="module")
def rows():
    lines = (files("clmt_lib.data") / "mechanisms.tsv").read_bytes().decode("utf-8").split("\n")
    assert lines[0] == "name\tmechanism\tsource" and lines[-1] == ""
    return [line.split("\t") for line in lines[1:-1]]


@pytest.fixture(scope="module")
def texts(rows):
    return {name: text for name, text, _ in rows}


def defects(name, text):
    """What is wrong with one paragraph; [] if nothing."""
    found = [
        f"speaks of {word}"
        for word in re.findall(FORBIDDEN, text, re.IGNORECASE) + response_words([text])[0]
    ]
    words = len(text.split())
    found += [] if 25 <= words <= 70 else [f"{words} words"]
    return found + ([] if name.lower().split()[0] in text.lower() else ["does not name its drug"])


def likeness(one, other):
    """Jaccard index of two texts' sets of words."""
    a, b = (set(re.findall(r"[a-z]+", text.lower())) for text in (one, other))
    return len(a & b) / len(a | b)


def test_every_line_has_three_clean_fields(rows):
    assert len(rows) > 100
    assert all(len(row) == 3 for row in rows)
    assert all(
        field and field == " ".join(field.split()) and field.isprintable() and '"' not in field
        for row in rows
        for field in row
    )
    assert all(re.match(r"[A-Z0-9]", text) and text.endswith(".") for _, text, _ in rows)


def test_names_are_unique_and_not_covered_twice(rows):
    counts = Counter(name.lower() for name, *_ in rows)
    assert not {name for name, count in counts.items() if count > 1}
    assert not set(counts) & set(facts()["name"].str.lower())


def test_the_text_view_reads_the_same_table(texts):
    assert mechanisms().items() >= {name.lower(): text for name, text in texts.items()}.items()


def test_paragraphs_speak_of_mechanism_only_and_at_length(texts):
    assert not {name: defects(name, text) for name, text in texts.items() if defects(name, text)}


@pytest.mark.parametrize(
    "text, defect",
    [
        ("X is sensitive. " * 15, "sensitive"),
        ("X is used in patients. " * 8, "patients"),
        ("X binds DNA.", "3 words"),
        ("Y binds the groove. " * 8, "name"),
        ("X is a potent one. " * 6, "potent"),
    ],
)
def test_the_guard_can_bite(text, defect):
    assert any(defect in found for found in defects("X", text))


def test_no_paragraph_is_a_template_of_another(texts):
    everything = [*texts.values(), *facts()["mechanism"]]
    assert max(likeness(one, other) for one, other in combinations(everything, 2)) < 0.8
    text = everything[0]
    assert (
        likeness(text, text.replace("that", "which")) > 0.8
    )  # a changed word does not hide a copy


@real
def test_most_drugs_of_the_benchmark_have_a_text(texts):
    names = set(tiny.real("gdsc2").drugs["name"])
    missing = names - set(texts) - set(facts()["name"])
    assert 1 - len(missing) / len(names) >= COVERED, sorted(missing)


@real
def test_every_name_is_one_of_the_three_tables(texts):
    ccle = pd.read_parquet(locate() / "ccle/drugs.parquet")["compound"]
    assert set(texts) <= set(tiny.real("gdsc2").drugs["name"]) | set(
        tiny.real("tgsa").drugs["name"]
    ) | set(ccle)
