"""The maker of tables, and the design of their configurations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fidelity_modules import BENCHMARKS, fresh, module

from tune_digits.errors import RunError


def same_records(a, b):
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=True) for f in dataclasses.fields(a)
    )


@pytest.mark.parametrize("after", [0, 3])
def test_a_maker_that_was_killed_goes_on_to_the_same_table(small, whole, tmp_path, monkeypatch, after):
    make, (table, data), path = module("make"), small, tmp_path / "table.npz"
    trained = []
    real = make.record

    def record(config, data, watched, seed):
        if len(trained) == after:
            raise KeyboardInterrupt
        trained.append(seed)
        return real(config, data, watched, seed)

    monkeypatch.setattr(make, "record", record)
    with pytest.raises(KeyboardInterrupt):
        make.make(path, fresh(table), data, 2)
    after = None
    make.make(path, fresh(table), data, 2)
    assert len(trained) == 8  # none twice
    found, expected = module("table_file").read_table(path), whole[0]
    assert found.trainings.keys() == expected.trainings.keys()
    assert all(same_records(found.trainings[k], expected.trainings[k]) for k in expected.trainings)


def test_seed_follows_seed_so_that_a_stopped_table_is_balanced(small):
    keys = list(module("make").wanted(small[0].setting, 2))
    assert [k.seed for k in keys] == [0] * 4 + [1] * 4
    assert len(set(keys)) == 8


def test_only_whole_seeds_count(whole):
    table = fresh(whole[0])
    table.trainings.update(list(whole[0].trainings.items())[:-1])
    assert whole[0].seeds() == [0, 1] and table.seeds() == [0]


def test_a_file_of_another_setting_is_refused(small, whole):
    table, data = small
    other = dataclasses.replace(table, setting=dataclasses.replace(table.setting, train_rows=99))
    with pytest.raises(RunError, match="another setting"):
        module("make").make(whole[1], other, data, 2)


def test_training_watched_and_further_rows_are_apart(small):
    table, data = small
    assert len(np.unique(np.concatenate([data.train_rows, table.rows]))) == 160
    assert np.array_equal(table.labels, data.labels[table.rows])


def test_writers_that_validate_have_not_been_trained_on():
    make = module("make")
    table, data = make.prepare(None, make.Sizes(100, 40, 60), 60, [1], 2)
    assert len(np.unique(table.groups)) > 1
    assert not set(data.train_rows // 60) & set(table.groups)
    assert np.array_equal(table.groups, table.rows // 60)


def test_what_is_recorded_is_what_the_networks_say(small, whole):
    """The accuracy of both sets of weights after the last epoch, as the product's own evaluation has it."""
    torch = pytest.importorskip("torch")
    from tune_digits.learn.device import to_device
    from tune_digits.learn.fit import fit, start_training
    from tune_digits.learn.loop import evaluate
    from tune_digits.learn.metrics import ACCURACY

    table, data = small
    tables, design = module("table_file"), module("design")
    config = design.with_epochs(table.setting.configurations[1], 2)
    state = start_training(config, data.images, data.train_rows, 10, 1, 0, torch.device("cpu"))
    on_device = to_device(
        data.images, np.eye(10, dtype=np.float32)[data.labels], data.targets, torch.device("cpu")
    )
    watched = torch.from_numpy(table.rows[:40])
    reports = list(fit(state, config, on_device, torch.from_numpy(data.train_rows), watched, seed=1))
    found = whole[0].trainings[tables.Key(1, 1, 1)]
    assert found.scores[tables.EMA].tolist() == [r.score for r in reports]
    assert found.loss[tables.EMA] == pytest.approx([r.valid_loss for r in reports], rel=1e-5)
    assert found.train_loss == pytest.approx([r.train_loss for r in reports], rel=1e-6)
    assert np.array_equal(found.end_off[:, :40], found.off[:, -1])
    everyone = torch.from_numpy(table.rows)
    _, ema = evaluate(state, config, on_device, everyone, ACCURACY)
    state.ema = None
    _, raw = evaluate(state, config, on_device, everyone, ACCURACY)
    assert (found.end_off == 0).mean(1).tolist() == pytest.approx([raw, ema])


def test_halved_images_are_means_of_two_by_two():
    images = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    assert module("make").halved(images).tolist() == [[[[3, 5], [11, 13]]]]  # 2.5, 4.5, 10.5, 12.5 rounded up
    assert module("make").halved(np.full((2, 3, 2, 2), 255, np.uint8)).tolist() == [[[[255]]] * 3] * 2


def test_the_design_is_balanced_and_grows_without_change():
    design = module("design").design
    trees = design(16)
    assert trees[:8] == design(8)
    widths = [tree["model"]["width"] for tree in trees]
    assert sorted(widths) == [8] * 8 + [16] * 8
    for part, key, low, high in (("augment", "strength", 0, 2), ("optimizer", "lr", 1e-3, 3e-2)):
        values = np.array([tree[part][key] for tree in trees])
        assert (values >= low).all() and (values <= high).all()
        middle = (low + high) / 2 if part == "augment" else (low * high) ** 0.5
        assert (values < middle).sum() == 8
    pairs = {(tree["augment"]["elastic"] > 0, tree["augment"]["cutout"] > 0) for tree in trees}
    assert len(pairs) == 4


def test_the_tables_are_of_this_design():
    tables = module("table_file")
    for path in sorted((BENCHMARKS / "tables").glob("*.npz")):
        table = tables.read_table(path)
        assert path.stat().st_size < 3e6
        assert table.setting.configurations == module("design").design(len(table.setting.configurations))
        assert len(table.seeds()) >= 3
