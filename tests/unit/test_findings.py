"""Sentences about results hold over the committed records, and fall when the records change."""

import base64
import io
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from PIL import Image

from clmt_lib import data, records
from clmt_lib.book import explorers, findings
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


# --- Pictures to play with: what is drawn is what is given, and the style sheet knows every button.


def parsed(page):
    """HTML of an explorer as a tree; what HTML leaves open is closed."""
    page = page.replace(" checked", ' checked="checked"').replace("<br>", "<br/>")
    return ElementTree.fromstring(page.replace("<label", "</input><label"))


def pixels(address):
    """[rows, columns, 4] colours of a picture that stands in its own address."""
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return np.asarray(picture.convert("RGBA")).astype(int)


def test_a_picture_has_a_pixel_a_value_and_nothing_where_nothing_was_measured():
    table = np.array([[0.0, 0.5, 1.0], [np.nan, -9.0, 9.0]])
    drawn = pixels(explorers.picture(table, 0.0, 1.0, "PuOr"))
    ends = [np.round(255 * np.array(colormaps["PuOr"](x))) for x in (0.0, 0.5, 1.0)]
    for pixel, colour in zip(drawn[0], ends, strict=True):
        assert abs(pixel - colour).max() <= 9  # the middle lies between two of 256 shades
    assert drawn[1, 0, 3] == 0 and drawn[0, :, 3].min() == 255
    assert (drawn[1, 1:] == drawn[0, [0, 2]]).all()  # beyond the ends: the ends


def small_screen():
    lines, drugs = list("abcde"), [f"d{i}" for i in range(9)]
    table = pd.DataFrame(np.arange(45.0).reshape(5, 9), lines, drugs)
    table.loc["b", "d3"] = np.nan
    tissue = pd.Series(["<skin>", "lung", "<skin>", "<skin>", "lung"], lines)
    return table, tissue, pd.Series(["kinase"] * 5 + ["rare"] * 4, drugs)


def test_the_response_map_draws_the_lines_of_a_tissue_from_sensitive_to_resistant():
    table, tissue, pathway = small_screen()
    table = table.iloc[::-1]
    page = parsed(explorers.response_map({"y": table, "rest": table - 20}, tissue, pathway))
    panes = page.findall("./div")
    assert len(panes) == 3  # the mean of each tissue, and two tissues
    assert len(page.findall("./input")) == 3 + 2 and page.find("./section") is not None
    skin = panes[1]
    names = [text.text for text in skin.iter("{http://www.w3.org/2000/svg}text")]
    assert names == ["a", "c", "d"]  # sensitive on top, and the name of the tissue did no harm
    drugs = ["d0", "d1", "d2", "d4", "d3", *table.columns[5:]]  # d3 lost a low value
    for kind, shift in (("first", 0), ("second", 20)):
        (group,) = (g for g in skin.iter() if g.get("class") == kind)
        low, high = np.nanpercentile(table.to_numpy() - shift, [2, 98])
        low, high = (low, high) if not shift else (-max(-low, high), max(-low, high))
        expected = explorers.picture(
            table.loc[names, drugs].to_numpy() - shift, low, high, "PuOr" if shift else "viridis"
        )
        assert group[0].get("href") == expected
    lung = [p for p in panes[2].iter() if p.get("class") == "first"][0][0].get("href")
    assert (pixels(lung)[..., 3] == 0).sum() == 1  # the pair that nobody measured


def test_a_response_map_of_tables_that_do_not_fit_is_refused():
    table, tissue, pathway = small_screen()
    with pytest.raises(DataError, match="same lines and drugs"):
        explorers.response_map({"y": table, "rest": table.iloc[1:]}, tissue, pathway)


def test_what_the_map_calls_the_rest_is_the_rest_of_a_two_way_regression():
    world = data.load("simulated", cells=24)
    whole, rest = explorers.responses(world).values()
    line, drug = world.pairs.T
    dummies = np.hstack([np.eye(world.n_cells)[line], np.eye(world.n_drugs)[drug]])
    fitted = dummies @ np.linalg.lstsq(dummies, world.y)[0]
    assert np.allclose(rest.to_numpy()[line, drug], world.y - fitted, atol=1e-3)
    assert np.allclose(whole.to_numpy()[line, drug], world.y)
    assert rest.notna().to_numpy().sum() == len(world)


def test_an_embedding_map_has_a_dot_an_entity():
    rng = np.random.default_rng(0)
    label, held = ["x", "x", "y", "y & z", "x"], np.array([0, 1, 0, 0, 1], dtype=bool)
    page = parsed(explorers.embedding_map({"one": rng.normal(size=(5, 2))}, label, held))
    groups = page.findall(".//{*}g")
    assert [g.find("{*}title").text for g in groups] == ["x", "y", "y & z"]
    assert [len(g.findall("{*}circle")) for g in groups] == [2, 0, 0]
    assert [g.find("{*}path").get("d").count("h0") for g in groups] == [1, 1, 1]
    with pytest.raises(DataError, match="at most 20"):
        explorers.embedding_map({"one": np.zeros((21, 2))}, range(21))


def test_alignment_brings_new_lines_of_a_tissue_together():
    page = explorers.before_after_alignment()
    before, after = (
        int(re.search(rf'aria-label="{when} alignment.*?for (\d+)%', page)[1])
        for when in ("before", "after")
    )
    assert before < after
    world = data.load("simulated")
    held = np.unique(world.pairs[data.make_split(world, "cell_blind", 0).test, 0])
    for svg in parsed(page).findall(".//{*}svg"):
        assert len(svg.findall(".//{*}circle")) == len(held)
        dots = "".join(path.get("d") for path in svg.findall(".//{*}path"))
        assert dots.count("h0") == world.n_cells - len(held)


def test_the_style_sheet_knows_every_button_and_the_explorers_are_small():
    css = (ROOT / "book" / "assets" / "custom.css").read_text(encoding="utf-8")
    for name, page in explorers.simulated_world().items():
        tree = parsed(page)
        assert len(page) < 100_000, name
        for number in range(1, len(tree.findall("./div")) + 1):
            assert f".explorer > input:nth-of-type({number}):checked" in css
        for button in tree.findall("./input[@class]"):
            assert f".explorer > .{button.get('class')}:checked" in css
        ids = [node.get("id") for node in tree.iter() if node.get("id")]
        assert len(ids) == len(set(ids)) == len(tree.findall("./input"))
        assert [label.get("for") for label in tree.findall("./label")] == ids
        assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_explorer_shows_every_change_of_the_study():
    page = parsed(findings.ablation_explorer(HOME))
    study = records.study("ablations", HOME)
    rows = study[(study["name"] == "") & (study["dataset"] == "gdsc2")]
    drawn = page.findall(".//{http://www.w3.org/2000/svg}g")
    assert len(drawn) == len(rows) and len(page.findall("./input")) == 3
    told = drawn[0].find("{http://www.w3.org/2000/svg}title").text
    assert "worse" in told or "no difference" in told


SAID: dict[tuple[str, str, str], dict[str, str]] = {  # what chapters say of rows of their studies
    ("cldr", "drug_blind", ""): {
        "clip_number": "worse",
        "clip_line": "worse",
        "clip_caption": "worse",
        "soft": "worse",
        "rank_before": "worse",
        "entities_joint": "equivalent",
        "correlation": "equivalent",
    },
    ("cldr", "mixed", ""): {
        "histogram": "equivalent",
        "correlation": "equivalent",
        "entities_joint": "equivalent",
    },
    ("ablations", "drug_blind", "drug-blind, text alone"): {
        "text_words": "better",
        "text_shuffled": "worse",
        "text_random": "worse",
        "text_one_hot": "worse",
    },
    ("kernel_head", "cell_blind", ""): dict.fromkeys(("hard", "soft", "response"), "equivalent"),
    ("kernel_head", "drug_blind", ""): {"hard": "better", "soft": "better"},
}


@pytest.mark.parametrize("where", SAID, ids=" ".join)
def test_a_chapter_tells_the_verdicts_of_its_study(where):
    study, split, name = where
    rows = records.study(study, HOME)
    rows = rows.assign(verdict=records.verdicts(rows))
    rows = rows[(rows["split"] == split) & (rows["name"] == name)].set_index("variant")
    assert {variant: rows.loc[variant, "verdict"] for variant in SAID[where]} == SAID[where]


def test_a_new_mechanism_is_hardly_better_than_the_guess():
    """As the chapter on a reader's own drugs says: per-drug r over the mean of the lines."""
    told = records.read("coverage", HOME).metrics["trust"]["by_mechanism"]
    gain = {name: row["r"] - row["line_mean"] for name, row in told.items()}
    assert gain["a target shared"] > 0.1 and gain["no target shared"] < 0.03
