"""What is made of the replays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fidelity_modules import fresh, module


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
