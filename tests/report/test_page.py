"""The page as a whole: what is in it in which state of a run, whether its numbers are right, and how large it is."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_runs import add_ablation, add_ensemble, made_run, made_task

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.errors import RunError
from tune_digits.report import pictures, trial_parts
from tune_digits.report.drawn import rungs
from tune_digits.report.material import Material, read_material
from tune_digits.report.page import render
from tune_digits.runs import Run

SECTIONS = ["answer", "leaderboard", "ensemble", "ablation", "search", "classes", "mistakes", "augmentation"]
VOID = {"meta", "link", "img", "br"}
# whose end HTML lets one leave out
OPTIONAL = {"tr", "td", "th", "li", "p"}


class Reader(HTMLParser):
    """Reads a page: ids, links, sources, and whether every element is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._attributes(attributes)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._attributes(attributes)

    def _attributes(self, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.wrong.append(f"{name}={value}")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and self.open[-1] in OPTIONAL:
            self.open.pop()
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")


def checked(text: str) -> Reader:
    """The page's reader, if the page is well-formed, names no address and has no link without an end."""
    page = Reader(text)
    assert page.wrong == [] and page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"https?:", text)
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    return page


def sections(page: Reader) -> list[str]:
    return [name for name in SECTIONS if name in page.ids]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Material, str]:
    """A run with all that there may be, and its page."""
    run, study, task = made_run(tmp_path_factory.mktemp("whole"), 20, 6)
    add_ensemble(run, [0, 1, 2])
    add_ablation(run)
    material = read_material(run, study, task)
    return material, render(material)


def test_a_whole_run_has_every_part(whole: tuple[Material, str]) -> None:
    page = checked(whole[1])
    assert sections(page) == SECTIONS
    assert [i for i in page.ids if re.fullmatch(r"trial-\d+", i)] == [f"trial-{n}" for n in range(20)]
    assert len(whole[1]) < 1_000_000


def test_a_search_that_goes_on_has_no_answer_yet(tmp_path: Path) -> None:
    run, study, _ = made_run(tmp_path, 8, 0)
    text = render(read_material(run, study))
    assert sections(checked(text)) == ["answer", "search"]
    assert "Nothing to send in yet" in text and "8 of 8" in text
    assert f"tune-digits search --resume {run.path}" in text


def test_a_run_without_any_trial_is_a_page_too(tmp_path: Path) -> None:
    run, study, _ = made_run(tmp_path, 0 + 1, 0)
    for file in run.trial_folder(0).iterdir():
        file.unlink()
    assert sections(checked(render(read_material(run, study)))) == ["answer"]


def test_without_the_data_there_are_no_pictures_but_all_numbers(
    whole: tuple[Material, str], tmp_path: Path
) -> None:
    material = whole[0]
    bare = replace(material, task=None, why_no_data="The disk <is> away.")
    text = render(bare)
    assert sections(checked(text)) == [name for name in SECTIONS if name != "augmentation"]
    assert "<img" not in text and "The disk &lt;is&gt; away." in text
    assert "<img" in whole[1]


def test_preview_can_be_left_out(whole: tuple[Material, str]) -> None:
    assert "augmentation" not in checked(render(whole[0], preview=False)).ids


def cells(text: str, table: str) -> list[list[str]]:
    """The rows of a table of the page, as text, without its head."""
    body = re.search(rf'<table id="{table}">(.*?)</table>', text, re.DOTALL)
    assert body is not None
    rows = [re.split(r"<td[^>]*>", row)[1:] for row in body[1].split("<tr")[2:]]
    return [[" ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split()) for cell in row] for row in rows]


def test_the_leaderboard_is_that_of_the_file(whole: tuple[Material, str]) -> None:
    board = pd.read_csv(whole[0].run.leaderboard)
    rows = cells(whole[1], "board")
    assert [int(row[0]) for row in rows] == board["trial"].tolist()
    for shown, row in zip(rows, board.to_dict("records"), strict=True):
        assert shown[1] == row["role"]
        assert shown[2] == f"{row['confirmed']:.4f} ± {row['confirmed_se']:.4f}"
        if row["role"] == "baseline":
            assert shown[3] == ""
        else:
            assert shown[3] == f"{row['gain']:+.4f} ({row['gain_low']:+.4f} to {row['gain_high']:+.4f})"
            assert shown[4].startswith(row["verdict"])
        assert shown[5:] == [
            str(row["trainings"]),
            f"{row['search_score']:.4f}",
            f"{row['seconds_per_training']:.1f}",
        ]


def test_the_ladder_is_that_of_the_ensembles_report(whole: tuple[Material, str]) -> None:
    assert cells(whole[1], "ladder") == [
        ["best single", "0.9510 ± 0.0020", "", "", "yes"],
        ["vote", "0.9633 ± 0.0020", "+0.0123 (-0.0011 to +0.0257)", "cannot tell", "yes"],
    ]


def test_the_answer_is_that_of_the_file(whole: tuple[Material, str]) -> None:
    answer, text = whole[0].answer, whole[1]
    assert answer is not None and answer.corrected is not None
    assert f"Send in trial {answer.trial}" in text
    for value in (answer.corrected, answer.low, answer.high, answer.measured):
        assert f"{value:.4f}" in text
    assert f'<tr class="chosen"><td><a href="#trial-{answer.trial}">' in text


def test_classes_are_those_of_the_out_of_fold_answers(whole: tuple[Material, str]) -> None:
    material, text = whole
    own = [r for r in material.results if r.trial == material.chosen]
    assert material.truth is not None
    wrong = sum((r.valid_proba.argmax(1) != material.truth.labels[r.valid_idx, 0]).sum() for r in own)
    rows = sum(len(r.valid_idx) for r in own)
    assert f"{wrong} wrong answers of {rows}" in text


def test_each_trial_shows_how_it_differs_from_the_baseline(whole: tuple[Material, str]) -> None:
    material, text = whole
    part = text[text.index('<details id="trial-2"') : text.index('<details id="trial-3"')]
    own, base = (material.by_number[n].config.augment.rotate for n in (2, 0))
    assert f"<td>augment.rotate<td>{own:.4g}<td>{base:.4g}" in part
    assert "train.epochs" not in part
    numbers = {p.number: p for p in trial_parts.trial_parts(material)}
    assert numbers[0].differences == () and numbers[2].curve[-1][0] == material.by_number[2].epochs


def test_of_thousands_of_trials_the_page_stays_small(tmp_path: Path) -> None:
    run, study, _ = made_run(tmp_path, 2000, 30)
    material = read_material(run, study)
    text = render(material)
    page = checked(text)
    assert len(text.encode()) < 5_000_000
    assert {f"trial-{n}" for n in range(2000)} <= set(page.ids)
    parts = trial_parts.with_parts(material)
    assert len(parts) == trial_parts.MOST_PARTS and set(range(30)) <= set(parts)
    failed = [r.number for r in material.records if r.state == "failed"]
    assert set(failed) <= set(parts)
    best = max((r for r in material.records if r.state == "finished"), key=lambda r: r.score or 0)
    assert best.number in parts


EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)> $x^{ & \u0c95'


def test_names_of_strangers_are_text(tmp_path: Path) -> None:
    target = Target(EVIL, (EVIL, "$_{", "b" * 300, "d"))
    other = Target("second", ("x", "y"))
    task = made_task((target, other), 48, ids=[f"{EVIL}{i}" for i in range(48)])
    run, study, _ = made_run(tmp_path, 6, 3, task, name=EVIL)
    add_ensemble(run, [0, 1], [f"{EVIL}1", EVIL])
    record = run.trials()[3]
    run.write_trial(replace(record, state="failed", error=EVIL, score=None))
    material = read_material(run, study, task)
    material.facts["command"] = EVIL
    text = render(material)
    page = checked(text)
    assert "<script>alert" not in text and "&lt;script&gt;" in text
    assert "classes" in page.ids and text.count("<script>") == 1


def test_targets_each_have_their_part(tmp_path: Path) -> None:
    targets = (Target("root", ("a", "b", "c")), Target("vowel", ("x", "y")))
    run, study, task = made_run(tmp_path, 4, 3, made_task(targets, 60))
    text = render(read_material(run, study, task))
    checked(text)
    assert "<h3>root</h3>" in text and "<h3>vowel</h3>" in text
    assert "each of 3 classes" in text and "each of 2 classes" in text


def test_data_of_another_run_are_refused(tmp_path: Path) -> None:
    run, study, _ = made_run(tmp_path, 2, 0)
    with pytest.raises(RunError, match="not those that it was begun with"):
        read_material(run, study, made_task(rows=60))


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    run, study, _ = made_run(tmp_path, 2, 0)
    run.leaderboard.write_text("")
    with pytest.raises(RunError, match=r"leaderboard\.csv: damaged"):
        read_material(run, study)


@pytest.mark.parametrize(
    ("scheduler", "expected"), [("asha", [3, 6]), ("hyperband", [3, 6]), ("median", []), ("none", [])]
)
def test_rungs_are_those_of_the_scheduler(
    whole: tuple[Material, str], scheduler: str, expected: list[int]
) -> None:
    study = whole[0].study
    assert rungs(replace(study, search=study.search.model_copy(update={"scheduler": scheduler}))) == expected


def test_images_are_shown_exactly_and_large_ones_smaller() -> None:
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    rng = np.random.default_rng(0)
    small, large = rng.integers(0, 256, (3, 9, 7)).astype(np.uint8), np.zeros((1, 300, 200), np.uint8)

    def read(image: np.ndarray) -> Any:
        return Image.open(BytesIO(b64decode(pictures.data_uri(image).partition(",")[2])))

    assert np.array_equal(np.asarray(read(small)), small.transpose(1, 2, 0))
    assert read(large).size == (64, 96)


def test_the_strongest_augmentation_is_at_the_upper_ends(whole: tuple[Material, str]) -> None:
    material = whole[0]
    own = material.by_number[2].config
    strong = pictures.strongest(own, material.study.space)
    assert strong is not None
    assert (strong.augment.rotate, strong.augment.shift, strong.augment.zoom) == (25, 0.2, 0.2)
    assert strong.optimizer == own.optimizer and strong.loss == own.loss


def test_a_preview_is_what_a_training_draws(whole: tuple[Material, str]) -> None:
    task = whole[0].task
    assert task is not None
    images = task.train.images[:4]
    same = pictures.augmented(images, TrialConfig(), 0)
    assert np.array_equal(same, images)
    turned = TrialConfig.model_validate({"augment": {"rotate": 20}})
    first, again, other = (pictures.augmented(images, turned, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(first, images)


def test_reading_a_run_changes_nothing(whole: tuple[Material, str]) -> None:
    run: Run = whole[0].run
    before = sorted((p, p.stat().st_mtime_ns) for p in run.path.rglob("*"))
    render(read_material(run, whole[0].study), preview=False)
    assert sorted((p, p.stat().st_mtime_ns) for p in run.path.rglob("*")) == before
