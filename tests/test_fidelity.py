"""benchmarks/fidelity: recorded trainings, their file, and the policies that are replayed on them."""

from __future__ import annotations

import dataclasses
import importlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_digits.config import Search
from tune_digits.errors import RunError
from tune_digits.tune.scheduler import make_scheduler

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True, scope="module")
def beside_the_benchmarks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


def module(name):
    return importlib.import_module(f"fidelity.{name}")


# ── the maker ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def small():
    """An empty table of two configurations on scikit-learn's digits, and its data."""
    make = module("make")
    return make.prepare(None, make.Sizes(100, 40, 60), 0, [1, 2], 2)


def fresh(table):
    return dataclasses.replace(table, trainings={})


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """The table of two seeds, made without interruption; and its file."""
    table, data = small
    path = tmp_path_factory.mktemp("whole") / "table.npz"
    return module("make").make(path, fresh(table), data, 2), path


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


# ── the design ───────────────────────────────────────────────────────────────────────────────────────


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


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"no\.npz: missing"):
        module("table_file").read_table(tmp_path / "no.npz")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_that_was_cut_is_refused(whole, tmp_path, part):
    path, content = tmp_path / "cut.npz", whole[1].read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(RunError, match=r"cut\.npz: damaged"):
        module("table_file").read_table(path)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_byte_that_was_changed_is_noticed(whole, tmp_path, place):
    content = bytearray(whole[1].read_bytes())
    with zipfile.ZipFile(whole[1]) as file:
        # within the packed content of a member; its name and size are further to the front
        inside = [i for i in file.infolist() if i.compress_size > 20]
        member = inside[int(place * len(inside))]
    content[member.header_offset + 30 + len(member.filename) + 20 + member.compress_size // 2] ^= 0xFF
    path = tmp_path / "changed.npz"
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match=r"changed\.npz: damaged"):
        module("table_file").read_table(path)


@pytest.mark.parametrize("kind", ["0-0-0/loss", "0-1-1/off", "labels", "setting"])
def test_a_file_that_lacks_a_part_is_refused(whole, tmp_path, kind):
    arrays = dict(np.load(whole[1]))
    del arrays[kind]
    np.savez_compressed(tmp_path / "lacking.npz", **arrays)
    with pytest.raises(RunError, match=r"lacking\.npz: damaged"):
        module("table_file").read_table(tmp_path / "lacking.npz")


def test_a_part_of_another_shape_is_refused(whole, tmp_path):
    arrays = dict(np.load(whole[1]))
    arrays["1-0-1/off"] = arrays["1-0-1/off"][:, :1]
    np.savez_compressed(tmp_path / "short.npz", **arrays)
    with pytest.raises(RunError, match="off is"):
        module("table_file").read_table(tmp_path / "short.npz")


def test_the_setting_is_readable_by_anybody(whole):
    with np.load(whole[1]) as file:
        assert json.loads(str(file["setting"]))["lengths"] == [1, 2]


# ── policies on made curves ──────────────────────────────────────────────────────────────────────────


def made(curves, *, right=None, raw=None, loss=None):
    """What a search hears of made EMA scores (n, E): Ask, epoch -> Report."""
    policies = module("policies")
    epochs = len(curves[0])

    def heard(ask, epoch):
        c, at = ask.configuration, epoch - 1
        rows = np.zeros(100, bool)
        rows[: round(100 * curves[c][at])] = True
        return policies.Report(
            epoch,
            curves[c][at] if raw is None else raw[c][at],
            curves[c][at],
            1 - curves[c][at] if loss is None else loss[c][at],
            rows if right is None else right[c],
            epoch == epochs,
        )

    return heard


def act(start, curves, budget=10_000, lengths=None, order=None, **more):
    """(epochs that each configuration trained, outcome) of a policy on made curves."""
    counted = {}
    heard = made(curves, **more)

    def count(ask, epoch):
        counted[ask.configuration] = counted.get(ask.configuration, 0) + 1
        return heard(ask, epoch)

    lengths = lengths or [1, len(curves[0])]
    outcome = module("replay").replay(start, order or list(range(len(curves))), lengths, count, budget)
    assert outcome.cost == sum(counted.values()) <= budget
    return counted, outcome


curves_of = st.lists(
    st.lists(st.floats(0, 1).map(lambda x: round(x, 2)), min_size=9, max_size=9), min_size=3, max_size=12
)


@settings(deadline=None, max_examples=30)
@given(curves_of, st.sampled_from(["asha", "median", "hyperband"]), st.sampled_from([1, 3]))
def test_replayed_stops_are_those_of_the_products_scheduler(curves, scheduler, grace):
    stopper = make_scheduler(Search(scheduler=scheduler, grace_period=grace), 9)
    expected = {}
    for number, row in enumerate(curves):
        for epoch, score in enumerate(row, 1):
            expected[number] = epoch
            if stopper.stops(number, {"epoch": epoch, "score": score}):
                break
    assert act(module("policies").stopping(scheduler, grace=grace), curves)[0] == expected


def test_trials_that_run_together_take_turns_and_make_room_for_the_next():
    """The second is behind at its first epoch and stopped; the third comes in its place."""
    policies, asked = module("policies"), []
    curves = [[0.9] * 9, [0.1] * 9, [0.95] * 9]
    heard = made(curves)

    def count(ask, epoch):
        asked.append(ask.configuration)
        return heard(ask, epoch)

    module("replay").replay(policies.stopping("asha", together=2), [0, 1, 2], [1, 9], count, 6)
    assert asked == [0, 1, 0, 2, 0, 2]


@pytest.mark.parametrize("judge, other", [("by_raw", "raw"), ("by_loss", "loss")])
def test_a_rung_is_judged_by_what_the_policy_says(judge, other):
    """All have the same EMA scores; what judges puts the second below the first."""
    policies = module("policies")
    sign = -1 if other == "loss" else 1
    values = [[0.6 * sign] * 9, [0.5 * sign] * 9]
    curves = [[0.5] * 9] * 2
    assert act(policies.stopping("asha", grace=3), curves, **{other: values})[0] == {0: 9, 1: 9}
    start = policies.stopping("asha", getattr(policies, judge), 3)
    assert act(start, curves, **{other: values})[0] == {0: 9, 1: 3}


def test_an_error_that_falls_as_a_power_is_extrapolated_exactly():
    policies = module("policies")
    curve = [1 - 0.5 * epoch**-0.5 for epoch in range(1, 28)]
    heard = made([curve])
    reports = [heard(policies.Ask(0), epoch) for epoch in range(1, 28)]
    for epoch in (3, 6, 9):
        assert policies.by_extrapolation(reports[:epoch], 27) == pytest.approx(curve[-1])
    assert policies.by_extrapolation(reports[:1], 27) == curve[0]
    # an error that rises is not thought to go on rising
    rising = [heard(policies.Ask(0), e) for e in (9, 4, 1)]
    rising = [dataclasses.replace(r, epoch=i) for i, r in enumerate(rising, 1)]
    assert policies.by_extrapolation(rising, 27) == pytest.approx(rising[-1].ema)


def test_a_paused_trial_goes_on_when_two_worse_ones_have_come():
    """Six trials in the order of their scores, the best first: at a rung of three the first goes on."""
    curves = [[0.9 - 0.1 * c] * 9 for c in range(6)]
    counted, _ = act(module("policies").pausing(3), curves, budget=6 * 3 + 2 * 6)
    assert counted == {0: 9, 1: 9, 2: 3, 3: 3, 4: 3, 5: 3}
    # with a budget for three starts and one promotion
    assert act(module("policies").pausing(3), curves, budget=3 * 3 + 6)[0] == {0: 9, 1: 3, 2: 3}


def test_what_asha_would_have_killed_is_thawed():
    """Three good trials come before four bad ones: ASHA stops the third at its rung, pausing brings it back."""
    curves = [[0.9] * 9, [0.8] * 9, [0.7] * 9] + [[0.1] * 9] * 6
    killed, _ = act(module("policies").stopping("asha", grace=3), curves)
    assert killed[1] == killed[2] == 3
    thawed, _ = act(module("policies").pausing(3), curves, budget=9 * 3 + 3 * 6)
    assert thawed[0] == thawed[1] == thawed[2] == 9


def test_pausing_with_budget_left_ends_with_all_trained():
    assert act(module("policies").pausing(1), [[0.1 * c] * 9 for c in range(5)])[0] == dict.fromkeys(
        range(5), 9
    )


def test_a_race_gives_up_only_what_is_clearly_behind():
    policies = module("policies")
    assert policies.clearly_behind(np.arange(100) >= 5, np.ones(100, bool))  # 5 lost, 0 won: 5 > 2 sqrt(5)
    assert not policies.clearly_behind(np.arange(100) >= 4, np.ones(100, bool))  # 4 = 2 sqrt(4)
    assert not policies.clearly_behind(np.ones(100, bool), np.arange(100) >= 50)
    curves = [[0.9] * 9, [0.89] * 9, [0.6] * 9]
    assert act(policies.race(3), curves)[0] == {0: 9, 1: 9, 2: 3}


def test_a_race_compares_with_the_best_so_far():
    curves = [[0.5] * 9, [0.9] * 9, [0.6] * 9]
    assert act(module("policies").race(3), curves)[0] == {0: 9, 1: 9, 2: 3}


def test_the_best_after_the_first_epochs_go_on():
    curves = [[0.1 * c] * 9 for c in (1, 3, 2)]
    assert act(module("policies").first_epochs(1), curves, budget=3 + 8)[0] == {0: 1, 1: 9, 2: 1}


def test_short_trainings_choose_and_full_ones_rank():
    """What has trained longer is ranked before what has a higher score after its short training, as in a search."""
    curves = [[0.5] * 9, [0.6] + [0.4] * 8, [0.55] + [0.45] * 8]
    counted, outcome = act(module("policies").shorter(0), curves, budget=3 + 9 + 9)
    assert counted == {0: 1, 1: 10, 2: 10}
    assert outcome.ranked == [2, 1, 0]


def test_without_stopping_every_epoch_is_trained_until_the_budget_ends():
    curves = [[0.5] * 9, [0.9] * 9, [0.6] * 9]
    counted, outcome = act(module("policies").no_stopping, curves, budget=20, order=[2, 0, 1])
    assert counted == {2: 9, 0: 9, 1: 2} and outcome.ranked == [2, 0, 1]


def test_of_those_that_were_stopped_the_longer_trained_are_ranked_first():
    curves = [[0.9] * 9, [0.8] * 9, [0.85, 0.85, 0.95] + [0.2] * 6, [0.5] * 9]
    counted, outcome = act(module("policies").stopping("asha"), curves)
    assert counted == {0: 9, 1: 1, 2: 1, 3: 1} and outcome.ranked == [0, 2, 1, 3]


def test_chance_trains_nothing():
    assert act(module("policies").by_chance, [[0.5] * 9] * 3, order=[2, 0, 1])[1] == module("replay").Outcome(
        [2, 0, 1], 0
    )


def test_every_policy_stays_within_its_budget_and_ends():
    rng = np.random.default_rng(0)
    curves = np.sort(rng.random((8, 27)), axis=1).round(2).tolist()
    for name, start in module("policies").POLICIES.items():
        spent = []
        for budget in (1, 40, 10_000):
            _, outcome = act(start, curves, budget, lengths=[27, 27, 27])
            spent.append(outcome.cost)
            assert len(set(outcome.ranked)) == len(outcome.ranked), name
        assert spent == sorted(spent) and (spent[0] == 1 or name == "by chance"), name


# ── what is made of the replays ──────────────────────────────────────────────────────────────────────


def test_the_truth_is_of_other_seeds_and_of_rows_that_were_not_watched(whole):
    replay, tables = module("replay"), module("table_file")
    table = whole[0]
    own = [table.trainings[tables.Key(1, c, 1)].end_off[tables.EMA, 40:] for c in range(2)]
    assert replay.truth(table, 0).tolist() == [float((o == 0).mean()) for o in own]


def test_what_is_said_of_an_outcome():
    replay, true = module("replay"), np.array([0.5, 0.9, 0.6, 0.8, 0.95])
    judged = replay._judged(replay.Outcome([2, 0, 3, 1], 50), [0, 1, 2, 3], true)
    assert judged["regret of the first"] == pytest.approx(0.3)
    assert judged["regret of the confirmed"] == pytest.approx(0.1)
    assert judged["begun"] == 4 and judged["cost"] == 50
    assert judged["rho, all begun"] == pytest.approx(-0.8)  # ranks 2 1 3 4 against 4 3 2 1
    judged = replay._judged(replay.Outcome([1, 3, 2, 0], 1), [4, 0, 1, 2, 3], true)
    assert judged["rho, best six"] == 1 and judged["regret of the first"] == pytest.approx(0.05)


def test_a_score_that_favours_weak_augmentation_is_seen(whole):
    """The short trainings rank by weakness, the truth by strength: stronger ones gain places, with correlation 1."""
    replay, tables = module("replay"), module("table_file")
    table = fresh(whole[0])
    trees = [{"augment": {"strength": s}} for s in (0.1, 0.5, 0.9, 1.3)]
    table.setting = dataclasses.replace(table.setting, configurations=trees, lengths=[1, 1, 2])
    for seed in (0, 1):
        for c in range(4):
            for length, epochs in enumerate(table.setting.lengths):
                right = 10 * c if length == 2 else 30 - 10 * c
                off = np.ones((2, epochs, 40), np.uint8)
                off[:, :, :right] = 0
                end = np.ones((2, 60), np.uint8)
                end[:, 40 : 40 + 4 * c] = 0
                flat = np.zeros((2, epochs), np.float32)
                table.trainings[tables.Key(seed, c, length)] = tables.Record(off, flat, flat[0], end, end[0])
    found = replay.over_fidelities(table)
    assert found["short, epoch 1 of 1, EMA"]["rho"] == pytest.approx(-1)
    assert found["short, epoch 1 of 1, EMA"]["strength and places gained"] == pytest.approx([1, 1])
    assert found["full, epoch 2 of 2, EMA"]["rho"] == pytest.approx(1)


# ── what trainings of one seed share ─────────────────────────────────────────────────────────────────


def test_the_shared_fraction_of_scores():
    shared = module("shared").shared_fraction
    rng = np.random.default_rng(0)
    shift, own = rng.normal(size=(500, 1)), rng.normal(size=(500, 6))
    means = np.arange(6.0)
    assert shared(means + shift)["fraction"] == 1
    assert shared(means + own)["fraction"] == pytest.approx(0, abs=0.03)
    assert shared(means + 2 * shift + own)["fraction"] == pytest.approx(0.8, abs=0.04)
    assert shared(means + 2 * shift + own)["deviation"] == pytest.approx(1, abs=0.05)


def test_the_interval_of_the_shared_fraction_holds_the_truth():
    shared, rng = module("shared").shared_fraction, np.random.default_rng(1)
    held = 0
    for _ in range(400):
        found = shared(rng.normal(size=(3, 1)) + rng.normal(size=(3, 8)))
        held += found["low"] <= 0.5 <= found["high"]
    assert 0.92 <= held / 400 <= 0.98


def test_discordance_is_counted_pair_by_pair():
    wrong = np.random.default_rng(0).random((3, 4, 50)) < 0.3
    same, other = module("shared").discordance(wrong)
    for a in range(4):
        for b in range(4):
            pairs = {(s, t): (wrong[s, a] != wrong[t, b]).mean() for s in range(3) for t in range(3)}
            assert same[a, b] == pytest.approx(
                np.mean([v for (s, t), v in pairs.items() if s == t]), abs=1e-6
            )
            assert other[a, b] == pytest.approx(
                np.mean([v for (s, t), v in pairs.items() if s != t]), abs=1e-6
            )


def test_what_sharing_saves_on_images():
    """Both of a pair have the same mistakes with one seed, other ones with another."""
    wrong = np.zeros((3, 2, 90), bool)
    for seed in range(3):
        wrong[seed, :, 30 * seed : 30 * (seed + 1)] = True
    found = module("shared").saved(wrong, [(0, 1)])
    assert found == pytest.approx(
        {"same seed": 0, "other seeds": 2 / 3, "saved": 1, "error": 0, "pairs": 1}, abs=1e-6
    )


def test_pairs_are_told_apart_by_what_they_share():
    def tree(width, elastic, cutout):
        return {"model": {"width": width}, "augment": {"elastic": elastic, "cutout": cutout}}

    trees = [tree(8, 0, 0.2), tree(8, 0, 0.1), tree(16, 0, 0.2), tree(8, 0.02, 0.2)]
    assert module("shared").kinds_of_pairs(trees) == {
        "draws": [(0, 2), (1, 2)],
        "initial weights": [(0, 3), (1, 3)],
        "initial weights and draws": [(0, 1)],
        "neither": [(2, 3)],
    }


def test_operations_with_generators_of_their_own_leave_each_other_alone():
    torch = pytest.importorskip("torch")
    from tune_digits.config import Augment
    from tune_digits.learn.augment import draw

    draw_apart = module("draws").draw_apart
    plain, more = Augment(rotate=10, shift=0.1), Augment(rotate=20, shift=0.1, elastic=0.02, cutout=0.2)

    def both(function, *salt):
        return [function(c, 8, 14, 14, torch.Generator().manual_seed(3), 1, *salt) for c in (plain, more)]

    one, other = both(draw_apart, 0)
    assert torch.equal(2 * one.rotate, other.rotate) and torch.equal(one.shift, other.shift)
    assert other.elastic is not None and other.cutout is not None and one.elastic is None
    assert not torch.equal(one.shift, both(draw_apart, 1)[0].shift)
    # what the product does: docs/fidelity.md says so
    one, other = both(draw)
    assert not torch.allclose(2 * one.rotate, other.rotate)


def test_trainings_apart_draw_apart_and_leave_the_product_as_it_was():
    torch = pytest.importorskip("torch")
    from tune_digits.config import Augment
    from tune_digits.learn import augment, batches

    draws, config, images = module("draws"), Augment(rotate=10, shift=0.1), torch.rand(4, 1, 14, 14)

    def augmented():
        return batches.augment.augment(images, config, torch.Generator().manual_seed(0))

    before = augmented()
    with draws.apart(0):
        inside = augmented()
    expected = draws.draw_apart(config, 4, 14, 14, torch.Generator().manual_seed(0), 1, 0)
    assert torch.equal(inside, augment.apply(images, expected)) and not torch.equal(inside, before)
    assert torch.equal(augmented(), before)
