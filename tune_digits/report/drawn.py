"""What the page shows of a run as figures and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tune_digits.data.dataset import head_slices
from tune_digits.report import class_figures, confirm_figures, facts, judged, pictures, search_figures
from tune_digits.report.material import Material
from tune_digits.report.style import short, svg
from tune_digits.report.tables import associations
from tune_digits.study import Study
from tune_digits.tune.scheduler import hyperband_brackets

MOST_AXES = 12  # searched keys in a figure; of more, those that go with the score most
SHOWN = 24  # images of a gallery
PREVIEWED = 6  # images that augmentation is shown on
KEPT_ID = 40  # letters of a row's id


@dataclass(frozen=True, slots=True)
class Figure:
    """title: what it shows, in a line; note: how to read it; drawing: an <svg> element; wide: over the whole page."""

    title: str
    drawing: Markup
    note: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One target's part. rows and pairs: of `judged`; wrong and doubtful: pictures or, without the data, lines."""

    name: str
    figures: list[Figure]
    rows: list[dict[Any, Any]]
    pairs: list[dict[Any, Any]]
    images: int
    calibration_error: float
    wrong_count: int
    doubtful_count: int
    wrong: list[pictures.Picture]
    doubtful: list[pictures.Picture]


def _figure(figure: Any, name: str, title: str, note: str = "", wide: bool = False) -> Figure:
    return Figure(title, Markup(svg(figure, name)), note, wide)


def board_figures_of(m: Material) -> list[Figure]:
    if m.board is None:
        return []
    found = []
    rows = m.board[m.board["gain"].notna()].head(SHOWN)
    if len(rows):
        names = [
            f"trial {t}" + (", start" if r == "start" else "")
            for t, r in zip(rows["trial"], rows["role"], strict=True)
        ]
        table = rows.rename(columns={"gain": "difference", "gain_low": "low", "gain_high": "high"})
        note = "Bars are 95 % intervals. Green: better; red: worse; grey: cannot be told from the baseline."
        label = f"gain in {m.metric} over the baseline"
        found.append(
            _figure(confirm_figures.gains(names, table, label), "gains", "Gain over the baseline", note)
        )
    note = (
        facts.rank_in_words(m.board) or "Fewer than four configurations: nothing can be said of their order."
    )
    drawn = confirm_figures.search_against_confirmed(m.board, m.metric)
    found.append(_figure(drawn, "ranks", "What the score of the search was worth", note))
    note = f"Numbers are those of trials, the best {confirm_figures.NAMED}; bars are standard errors."
    found.append(_figure(confirm_figures.cost(m.board, m.metric), "cost", "Score against time", note))
    return found


def rungs(study: Study) -> list[int]:
    """The epochs after which the scheduler judges, without the last one; none for a scheduler that has none."""
    search, epochs = study.search, study.epochs
    if search.scheduler not in ("asha", "hyperband"):
        return []
    starts = [search.grace_period]
    if search.scheduler == "hyperband":
        starts = [
            grace for grace, _ in hyperband_brackets(epochs, search.grace_period, search.reduction_factor)
        ]
    found = set()
    for rung in starts:
        while rung < epochs:
            found.add(rung)
            rung *= search.reduction_factor
    return sorted(found)


def search_figures_of(m: Material) -> list[Figure]:
    if m.trials["score"].notna().sum() == 0:
        return []
    note = "The axis is stretched towards 1, so that small differences at the top can be seen."
    found = [
        _figure(search_figures.history(m.trials, m.metric), "history", "The score of each trial", note),
        _figure(
            search_figures.survivors(m.trials, m.study.epochs, rungs(m.study)),
            "survivors",
            "How far the trials were trained",
            f"Scheduler: {m.study.search.scheduler}.",
        ),
    ]
    pruned = set(m.trials["number"][m.trials["state"] == "pruned"].tolist())
    named = {}
    if m.baseline is not None:
        named[m.baseline.number] = f"trial {m.baseline.number}, the baseline"
    leaders = [m.chosen, *m.confirmed]
    for trial in [t for t in leaders if t is not None and t not in named][:3]:
        named[trial] = f"trial {trial}"
    for value, label, title in (
        ("score", f"{m.metric} on one fold", "Learning curves"),
        ("valid_loss", "validation loss", "Validation loss"),
    ):
        if m.curves[value].notna().any():
            drawn = search_figures.learning_curves(m.curves, pruned, named, value, label)
            found.append(_figure(drawn, f"curves-{value}", title))
    table = associations(m.trials, m.axes)
    strongest = table["key"].tolist()
    axes = m.axes
    if len(axes) > MOST_AXES:
        chosen = [*strongest, *(a.key for a in axes if a.key not in strongest)][:MOST_AXES]
        axes = [axis for axis in axes if axis.key in chosen]
    left_out = (
        ""
        if len(axes) == len(m.axes)
        else f" {len(axes)} of {len(m.axes)} searched keys: those that go with the score most."
    )
    if axes:
        note = f"A line is a trial, the best {search_figures.TOP} in orange; dashed: it has no such key.{left_out}"
        drawn = search_figures.parallel(m.trials, axes, m.metric)
        found.append(_figure(drawn, "parallel", "All searched values together", note, wide=True))
        note = f"Blue: trained to the end; grey: stopped by the scheduler.{left_out}"
        drawn = search_figures.slices(m.trials, axes, f"{m.metric} on one fold")
        found.append(_figure(drawn, "slices", "Each searched value by itself", note, wide=True))
    if len(table):
        note = (
            "Spearman's rank correlation over the trials that were trained to the end, each key by itself, with 95 % "
            "intervals. An interval that holds 0 says nothing. The search proposes what looked good, so this is no "
            "proof of cause."
        )
        found.append(
            _figure(
                search_figures.correlations(table.head(20)),
                "associations",
                "Which values go with the score",
                note,
            )
        )
    return found


def ablation_figure_of(m: Material) -> Figure | None:
    if m.ablation is None:
        return None
    rows = m.ablation[m.ablation["difference"].notna()].head(SHOWN)
    if not len(rows):
        return None
    drawn = confirm_figures.gains(rows["trick"].tolist(), rows, f"{m.metric} with the trick, less without it")
    note = "Bars are 95 % intervals of each trick by itself; the verdicts are corrected for their number."
    return _figure(drawn, "ablation", "Which tricks help", note)


def targets_of(m: Material) -> list[Target]:
    """Classes and mistakes of the chosen configuration, for each target."""
    own = [r for r in m.results if r.trial == m.chosen and len(r.valid_idx)]
    if m.truth is None or m.chosen is None or not own:
        return []
    baseline = None if m.baseline is None else m.baseline.number
    compared = own + [
        r for r in m.results if r.trial == baseline and r.trial != m.chosen and len(r.valid_idx)
    ]
    rows, proba = judged.mean_answers(own)
    all_rows, together = judged.mean_answers([r for r in m.results if len(r.valid_idx)])
    found = []
    for place, (target, head) in enumerate(zip(m.truth.targets, head_slices(m.truth.targets), strict=True)):
        labels, names = m.truth.labels[:, place], target.classes
        own_labels, answers = labels[rows], proba[:, head]
        counts = judged.confusion(own_labels, answers.argmax(1), len(names))
        bins = judged.calibration(answers, own_labels)
        accuracies = judged.class_accuracies(compared, labels, head, names)
        key = f"target{place}"
        figures = [
            _figure(
                class_figures.class_accuracy(accuracies, m.chosen, baseline),
                f"{key}-classes",
                "Accuracy of each class in each fold",
                f"The {class_figures.MOST} worst classes of {len(names)}."
                if len(names) > class_figures.MOST
                else "",
            ),
            _figure(
                class_figures.confusion_matrix(counts, names),
                f"{key}-confusion",
                "Which class is taken for which",
                "Out-of-fold answers. The orange is strengthened, so that single mistakes can be seen."
                + (
                    f" The {class_figures.MOST} most confused classes of {len(names)}."
                    if len(names) > class_figures.MOST
                    else ""
                ),
            ),
            _figure(
                class_figures.reliability(bins),
                f"{key}-calibration",
                "Is it as sure as it is right?",
                "On the dashed line, answers of 80 % probability are right in 80 % of cases. Bars are 95 % intervals.",
            ),
        ]
        wrong = judged.mistakes(answers, own_labels)
        doubtful = judged.likely_label_errors(together[:, head], labels[all_rows])
        found.append(
            Target(
                target.name,
                figures,
                judged.class_table(counts, names).to_dict("records"),
                judged.confused_pairs(counts, names).to_dict("records"),
                len(rows),
                judged.calibration_error(bins),
                len(wrong),
                len(doubtful),
                _gallery(m, rows[wrong[:SHOWN]], answers[wrong[:SHOWN]], place),
                _gallery(m, all_rows[doubtful[:SHOWN]], together[doubtful[:SHOWN]][:, head], place),
            )
        )
    return found


def _gallery(m: Material, rows: Any, proba: Any, place: int) -> list[pictures.Picture]:
    """Training rows with their label and the answer; without the data, with an empty picture."""
    assert m.truth is not None, "only asked of a run whose labels are known"
    names, labels = m.truth.targets[place].classes, m.truth.labels[:, place]
    titles, lines = [], []
    for row, own in zip(rows, proba, strict=True):
        titles.append(short(m.truth.ids[row], KEPT_ID))
        answer = int(own.argmax())
        lines.append(
            (f"label {short(names[labels[row]])}", f"answer {short(names[answer])} ({own[answer]:.0%})")
        )
    if m.task is None:
        return [pictures.Picture("", title, line) for title, line in zip(titles, lines, strict=True)]
    return pictures.gallery(m.task.train.images, rows.tolist(), titles, lines)


def disputed_of(m: Material) -> list[pictures.Picture]:
    """The test images on which the members of the ensemble agree least."""
    if m.ensemble is None:
        return []
    test = None if m.task is None else m.task.test
    places = {} if test is None else {str(name): row for row, name in enumerate(test.ids.tolist())}
    found = []
    for entry in m.ensemble["disputed"]:
        uri = (
            ""
            if test is None or entry["id"] not in places
            else pictures.data_uri(test.images[places[entry["id"]]])
        )
        answers: dict[str, int] = {}
        for answer in entry["members"].values():
            answers[answer] = answers.get(answer, 0) + 1
        ordered = sorted(answers.items(), key=lambda pair: -pair[1])
        votes = ", ".join(f"{n} × {short(answer)}" for answer, n in ordered)
        found.append(
            pictures.Picture(uri, short(entry["id"], KEPT_ID), (votes, f"vote {short(entry['vote'])}"))
        )
    return found


def preview_of(m: Material) -> list[tuple[str, list[str]]]:
    """What augmentation does to a few training images, as chosen and at the strongest of what was searched."""
    if m.task is None or m.chosen is None:
        return []
    images = m.task.train.images[: min(PREVIEWED, len(m.task.train))]
    config = m.by_number[m.chosen].config
    configs = {f"trial {m.chosen}": config}
    extreme = pictures.strongest(config, m.study.space)
    if extreme is not None:
        configs["strongest searched"] = extreme
    return pictures.augmentation_rows(images, configs)
