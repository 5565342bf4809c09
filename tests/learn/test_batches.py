"""The batches of a pass: which rows, in which order, with which random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_training import ALL, CPU, IMAGES, PROBA, TARGETS, TEACHER, config_of, training
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.learn import batch_loss, loop, mix
from tune_digits.learn.batches import Batch, batches, steps_of
from tune_digits.learn.device import to_device

DATA = to_device(IMAGES, PROBA, TARGETS, CPU)
# the same image everywhere, so that two images differ by their augmentation alone
SAME = to_device(IMAGES[[0] * ALL], PROBA, TARGETS, CPU)
ROWS = torch.tensor([3, 50, 7, 119, 80, 11, 12, 64, 5, 90, 91])
AUGMENT = {"augment": {"rotate": 40, "shift": 0.2}}


def small(change: dict[str, Any]) -> TrialConfig:
    return config_of({**change, "train": {"batch_size": 4}})


def passed(config: TrialConfig, seed: int, data: Any = DATA, mixes: bool = False) -> list[Batch]:
    return list(batches(data, ROWS, config, seed, mixes=mixes))


def pixels(parts: list[Batch]) -> Tensor:
    return torch.cat([batch.images for batch in parts])


def test_each_row_comes_once_in_batches_of_nearly_one_size() -> None:
    parts = passed(small({}), 0)
    assert sorted(len(batch.targets) for batch in parts) == [3, 4, 4]
    seen = (pixels(parts) * 255).round().byte()
    wanted = torch.from_numpy(IMAGES)[ROWS]
    matches = (seen[:, None] == wanted[None]).flatten(2).all(2)
    assert matches.sum(0).tolist() == matches.sum(1).tolist() == [1] * len(ROWS)
    order = matches.long().argmax(1)
    torch.testing.assert_close(torch.cat([b.targets for b in parts]), torch.from_numpy(PROBA)[ROWS][order])
    assert order.tolist() != list(range(len(ROWS)))


def test_the_seed_alone_decides_order_and_augmentation() -> None:
    config = small(AUGMENT)
    assert torch.equal(pixels(passed(config, 1)), pixels(passed(config, 1)))
    one, two = (pixels(passed(config, seed, SAME)) for seed in (1, 2))
    assert not torch.allclose(one, two)
    # each sample has numbers of its own, within a batch and between batches
    flat = one.flatten(1)
    distances = torch.cdist(flat, flat) + torch.eye(len(flat))
    assert distances.min() > 1e-3


def test_without_augmentation_images_stay_as_they_are() -> None:
    (first, *_) = passed(small({}), 1, SAME)
    torch.testing.assert_close(first.images[0], torch.from_numpy(IMAGES[0]).float() / 255)


def test_every_batch_is_mixed_by_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[mix.MixParams] = []
    apply = mix.apply

    def recording(images: Tensor, targets: Tensor, params: mix.MixParams | None) -> tuple[Tensor, Tensor]:
        assert params is not None
        drawn.append(params)
        return apply(images, targets, params)

    monkeypatch.setattr(mix, "apply", recording)
    config = small({"mix": {"mixup_alpha": 1.0}})
    for seed in (1, 2):
        passed(config, seed, mixes=True)
    assert len({params.own for params in drawn}) == len(drawn) == 6
    passed(config, 1, mixes=False)
    assert len(drawn) == 6


def test_the_teacher_belongs_to_the_same_rows() -> None:
    config = small({"loss": {"teacher": "t.npz", "teacher_weight": 0.5}})
    data = to_device(IMAGES, PROBA, TARGETS, CPU, TEACHER)
    parts = passed(config, 3, data)
    seen = (pixels(parts) * 255).round().byte()
    order = (seen[:, None] == torch.from_numpy(IMAGES)[ROWS][None]).flatten(2).all(2).long().argmax(1)
    teachers = torch.cat([batch.teacher for batch in parts if batch.teacher is not None])
    torch.testing.assert_close(teachers, torch.from_numpy(TEACHER)[ROWS][order])
    assert all(batch.teacher is None for batch in passed(small({}), 3))


def test_three_views_are_the_plain_images_and_two_that_differ() -> None:
    parts = passed(small({"augment": {"augmix_jsd": 1.0, "rotate": 40}}), 1, SAME)
    for batch in parts:
        size = len(batch.targets)
        plain, one, two = batch.images.split(size)
        torch.testing.assert_close(plain, torch.from_numpy(IMAGES[[0] * size]).float() / 255)
        assert not torch.allclose(one, two)
        assert not torch.allclose(one, plain)


def test_the_albumentations_backend_draws_by_the_seed() -> None:
    config = small({"augment": {"rotate": 40, "backend": "albumentations"}})

    def images(seed: int) -> Tensor:
        """Of one image at every row: what differs is its augmentation, in the order of the batches."""
        return pixels(list(batches(SAME, ROWS, config, seed, mixes=False)))

    assert torch.equal(images(1), images(1))
    assert not torch.equal(images(1).sort(dim=0).values, images(2).sort(dim=0).values)


# ── whole batches ────────────────────────────────────────────────────────────────────────────────────


def test_the_rows_after_the_last_whole_batch_are_left_out() -> None:
    whole = list(batches(DATA, ROWS, small({}), 0, mixes=False, drop_last=True))
    assert [len(batch.targets) for batch in whole] == [4, 4]
    # the first eight of the same order
    assert torch.equal(pixels(whole), pixels(passed(small({}), 0))[:8])


@pytest.mark.parametrize(("rows", "steps"), [(128, 1), (255, 1), (256, 2), (60_000, 468)])
def test_whole_batches_are_the_rows_divided_by_their_size(rows: int, steps: int) -> None:
    assert steps_of(rows, 128, drop_last=True) == steps


def test_a_training_of_whole_batches_leaves_out_other_rows_in_each_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Batch] = []
    values: list[float] = []

    def recording(*args: Any, **kwargs: Any) -> Iterator[Batch]:
        for batch in batches(*args, **kwargs):
            seen.append(batch)
            yield batch

    def noting(losses: Tensor, fraction: float | None) -> Tensor:
        values.append(losses.mean().item())
        return losses.mean()

    monkeypatch.setattr(loop, "batches", recording)
    monkeypatch.setattr(batch_loss, "reduce", noting)
    state, epochs = training({"train": {"epochs": 3, "batch_size": 40, "drop_last": True}})
    history = list(epochs)
    assert [len(batch.targets) for batch in seen] == [40, 40] * 3  # of 90 rows
    assert state.step == 6
    left_out = [set(pixels(seen[i : i + 2]).flatten(1).sum(1).tolist()) for i in (0, 2, 4)]
    assert left_out[0] != left_out[1] != left_out[2]
    for report, first, second in zip(history, values[::2], values[1::2], strict=True):
        assert report.train_loss == pytest.approx((first + second) / 2, rel=1e-5)


def test_swas_statistics_need_no_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(loop, "REFRESH_IMAGES", 25)

    def recording(model: Any, images: Iterator[Tensor]) -> None:
        sizes.append(sum(len(x) for x in images))

    monkeypatch.setattr(loop, "refresh_batchnorm", recording)
    list(training({"train": {"epochs": 2, "batch_size": 40, "drop_last": True, "swa_start": 0.5}})[1])
    assert sizes == [25]
