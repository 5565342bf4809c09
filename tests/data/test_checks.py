"""What is odd about a task is found, counted and told; what is not odd is left alone."""

import numpy as np
import pytest

from tune_digits.api.summary import report_findings
from tune_digits.config import Cv
from tune_digits.data.checks import CHECKS, check_task
from tune_digits.data.dataset import Dataset, Target, Task
from tune_digits.data.folds.split import Fold, make_folds
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task
from tune_digits.errors import DataError
from tune_digits.screen import Screen

TARGETS = (Target("label", ("a", "b")),)


def make_task(rows=40, seed=0):
    """A task in which nothing is odd, its arrays free to be spoilt."""
    rng = np.random.default_rng(seed)

    def images(count):
        return rng.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)

    labels = (np.arange(rows) % 2)[:, None]
    train = Dataset(images(rows), labels, np.array([f"t{i}" for i in range(rows)]), TARGETS)
    test = Dataset(images(10), None, np.arange(100, 110), TARGETS)
    holdout = Dataset(images(10), labels[:10], np.arange(10), TARGETS)
    return Task("odd", train, test, {"elsewhere": holdout})


def findings_of(task, folds=None):
    return check_task(task, folds or make_folds(task.train.labels, None, Cv(folds=4)))


def only(findings, kind):
    (finding,) = findings
    assert finding.kind == kind in CHECKS
    return finding


def test_nothing_odd():
    assert findings_of(make_task()) == []


def test_repeated_images_and_whether_folds_split_them():
    task = make_task()
    task.train.images[[10, 20, 33]] = task.train.images[[2, 2, 5]]  # 2 = 10 = 20, 5 = 33; the labels agree
    together = [Fold(0, np.arange(36), np.arange(36, 40))]
    finding = only(findings_of(task, together), "repeated")
    assert finding.count == 3
    assert "t2 = t10 = t20, t5 = t33; none is split" in finding.message
    apart = [Fold(0, np.arange(20), np.arange(20, 40)), Fold(1, np.arange(20, 40), np.arange(20))]
    message = only(findings_of(task, apart), "repeated").message
    assert "5 images validate in a fold that trains on a copy" in message  # 2, 10 | 20 and 5 | 33


def test_one_image_with_two_labels():
    task = make_task()
    task.train.images[7] = task.train.images[4]
    repeated, contradicting = findings_of(task)
    assert repeated.kind == "repeated"
    assert contradicting.kind == "contradicting" and contradicting.count == 1
    assert "t4 'a' = t7 'b'" in contradicting.message


def test_images_of_the_test_set_or_a_holdout_in_training():
    task = make_task()
    task.test.images[[1, 3]] = task.train.images[[8, 9]]
    task.holdouts["elsewhere"].images[:5] = task.train.images[:5]
    of_test, of_holdout = findings_of(task)
    assert (of_test.kind, of_test.count, of_holdout.count) == ("known_elsewhere", 2, 5)
    assert (
        "2 image(s) of test" in of_test.message and "id 101 is t8 of train, id 103 is t9" in of_test.message
    )
    assert "elsewhere" in of_holdout.message and "and 2 more" in of_holdout.message


def test_constant_images():
    task = make_task()
    task.train.images[3], task.test.images[4] = 0, 255
    of_train, of_test = findings_of(task)
    assert (of_train.kind, of_train.count, of_test.count) == ("constant", 1, 1)
    assert "t3" in of_train.message and "id 104" in of_test.message


def test_rare_classes():
    task = make_task(105)
    task.train.labels[:, 0] = 0
    task.train.labels[:10, 0] = 1
    assert findings_of(task) == []  # 95 to 10
    exact = make_task(110)
    exact.train.labels[:, 0] = np.arange(110) < 10
    assert findings_of(exact) == []  # 100 to 10: not less than a tenth
    task.train.labels[9, 0] = 0
    finding = only(findings_of(task), "rare")
    assert finding.count == 1 and "'a' with 96: 'b' 9;" in finding.message


def test_strict_makes_errors_of_them(capsys):
    task = make_task()
    task.train.images[3] = 0
    folds = make_folds(task.train.labels, None, Cv(folds=4))
    report_findings(task, folds, False, Screen())
    assert "! 1 image(s) of train are of one value" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"--strict.*\n  1 image\(s\) of train are of one value"):
        report_findings(task, folds, True, Screen())
    report_findings(make_task(), folds, True, Screen())
    assert capsys.readouterr().out == ""


def test_the_two_identical_leaves_are_found(real):
    task = load_task(Auto(path=str(real / "leaves")), Cv())
    folds = make_folds(task.train.labels, None, Cv())
    finding = only([f for f in check_task(task, folds) if f.kind != "rare"], "repeated")
    assert finding.count == 1 and "images/258.jpg = images/636.jpg" in finding.message
