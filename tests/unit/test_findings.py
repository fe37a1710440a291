"""Sentences about results hold over the committed records, and fall when the records change."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from clmt_lib import records
from clmt_lib.book import findings
from clmt_lib.io import DataError

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "experiments"
ALL = findings.FINDINGS | findings.IN_CHAPTERS


@pytest.mark.parametrize("name", ALL)
def test_a_finding_holds_and_shows_numbers(name):
    told = ALL[name].told(HOME)
    assert re.search(r"\d\.\d\d", told) and "{" not in re.sub(r"\{(cite|term|doc)\}", "", told)


@pytest.mark.parametrize("name", ALL)
def test_the_page_of_a_finding_is_there(name):
    assert (ROOT / f"{ALL[name].page}.ipynb").is_file()


def test_no_number_is_typed_into_a_finding():
    typed = [f.sentence for f in ALL.values() if re.search(r"\d\.\d", f.sentence)]
    assert typed == []


def changed(folder, turn):
    """The derived records again in `folder`, each page of the summaries turned by `turn`."""
    shutil.copytree(HOME / "results" / "derived", folder / "results" / "derived")
    names = ("summary-gdsc2-mixed", "summary-gdsc2-cell_blind", "summary-gdsc2-drug_blind")
    names += ("summary-tgsa-mixed", "summary-kernel_head-tgsa-mixed", "reference-gdsc2")
    for name in names:
        record = records.read(name, HOME)
        metrics = json.loads(json.dumps(record.metrics))
        turn(metrics)
        parts = {"config": record.config, "metrics": metrics, "provenance": record.provenance}
        records.write_derived(name, parts, folder)
    return folder


def test_every_finding_falls_when_its_numbers_do(tmp_path):
    def turn(metrics):  # what was better is worse, what was measured is exchanged
        for row in metrics.get("differences", ()):
            for told in row.values():
                if isinstance(told, dict):
                    low, high = told["interval"]
                    wide = 0.5 * abs(told["mean"]) + 0.001
                    told["mean"] = -told["mean"]
                    told["interval"] = [-high - wide * (low > 0), -low + wide * (high < 0)]
        for told in metrics.get("models", {}).values():
            told["rmse"] += 1
        if "new_lines" in metrics:
            lines = metrics["new_lines"]
            one, other = "screen and prediction", "screen and screen"
            lines[one], lines[other] = lines[other], lines[one]

    folder = changed(tmp_path, turn)
    for name in ("random_pairs", "text", "network", "ridge_head", "second_screen"):
        with pytest.raises(DataError, match="no longer holds"):
            findings.FINDINGS[name].told(folder)


def test_a_gain_by_alignment_would_be_noticed(tmp_path):
    def turn(metrics):
        for row in metrics.get("differences", ()):
            if {row["a"], row["b"]} == {"clmt", "clmt_unaligned"}:
                sign = 1 if row["a"] == "clmt" else -1
                row["rmse"]["mean"] = -0.02 * sign
                row["rmse"]["interval"] = sorted((-0.03 * sign, -0.01 * sign))

    folder = changed(tmp_path, turn)
    for name in ("alignment", "alignment_all"):
        with pytest.raises(DataError, match="no longer holds"):
            ALL[name].told(folder)


def test_the_picture_is_drawn_from_the_ladder():
    picture = ElementTree.fromstring(findings.ladder_picture(folder=HOME))
    dots = picture.findall(".//{*}circle")
    assert len(dots) >= 6
    places = [float(dot.get("cx")) for dot in dots]
    assert places == sorted(places, reverse=True)  # best on top


def test_the_presets_say_where_a_version_was_not_run():
    table = findings.presets(HOME)
    assert table.count("|") == 5 * 5 and "nan" not in table


def test_a_sentence_of_a_chapter_falls_with_its_verdict():
    about = ("gdsc2", "mixed"), ("clmt", "learned_kernel"), "rmse"
    assert findings.held(*about, "worse", HOME).startswith("+0.0")
    with pytest.raises(DataError, match="the records say worse"):
        findings.held(*about, "equivalent", HOME)


def test_the_explorer_shows_every_change_of_the_study():
    page = ElementTree.fromstring(
        findings.ablation_explorer(HOME)
        .replace(" checked", ' checked="checked"')
        .replace("<label", "</input><label")
    )
    study = records.study("ablations", HOME)
    rows = study[(study["name"] == "") & (study["dataset"] == "gdsc2")]
    drawn = page.findall(".//{http://www.w3.org/2000/svg}g")
    assert len(drawn) == len(rows) and len(page.findall("./input")) == 3
    told = drawn[0].find("{http://www.w3.org/2000/svg}title").text
    assert "worse" in told or "no difference" in told
