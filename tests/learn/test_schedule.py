import math
from itertools import product

import pytest
import torch
from torch.optim import lr_scheduler

from tune_digits.config import variants
from tune_digits.config.schedule import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    StepEpochs,
    Triangular,
)
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.schedule import SCHEDULES, cycle_ends, multiplier, watched


def curve(config, steps, per_epoch=1, history=()):
    return [multiplier(config, step, per_epoch, steps, history) for step in range(steps)]


def torch_curve(make, steps):
    """The learning rates that a torch scheduler sets, peak 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return rates


def test_schedules_are_those_of_the_configuration():
    assert SCHEDULES.keys() == variants(Schedule).keys()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("warmup", "per_epoch", "epochs"), list(product((0, 0.3, 1, 5), (1, 7), (1, 2, 6))))
def test_every_schedule_stays_within_0_and_1_and_starts_above_0(name, warmup, per_epoch, epochs):
    config = variants(Schedule)[name](warmup_epochs=warmup)
    rates = curve(config, per_epoch * epochs, per_epoch, [1.0, 0.9, 2.0, 2.0, 2.0])
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[0] > 0


@pytest.mark.parametrize("steps", [2, 3, 57])
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_is_torchs(steps, final):
    theirs = torch_curve(lambda o: lr_scheduler.CosineAnnealingLR(o, steps - 1, eta_min=final), steps)
    assert curve(Cosine(final=final), steps) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("steps", [10, 57, 200])
@pytest.mark.parametrize(
    ("peak_at", "start", "final"), [(0.3, 0.04, 0.0), (0.25, 0.1, 0.01), (0.9, 0.5, 0.5)]
)
def test_one_cycle_is_torchs(steps, peak_at, start, final):
    def make(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer,
            1.0,
            total_steps=steps,
            pct_start=peak_at,
            div_factor=1 / start,
            final_div_factor=start / final if final else math.inf,
            cycle_momentum=False,
        )

    ours = curve(OneCycle(peak_at=peak_at, start=start, final=final), steps)
    assert ours == pytest.approx(torch_curve(make, steps), abs=1e-9)


def test_one_cycle_of_very_few_steps_only_falls():
    assert curve(OneCycle(), 1) == [1.0]
    assert curve(OneCycle(), 2) == [1.0, 0.0]
    assert curve(OneCycle(final=0.5), 3) == [1.0, 0.75, 0.5]


@pytest.mark.parametrize("steps", [10, 30, 57])
@pytest.mark.parametrize("milestones", [(0.5, 0.75), (0.1, 0.3, 0.9), (0.0,), ()])
def test_step_is_torchs(steps, milestones):
    places = [round(m * steps) for m in milestones]
    theirs = torch_curve(lambda o: lr_scheduler.MultiStepLR(o, places, gamma=0.2), steps)
    assert curve(Step(milestones=milestones, factor=0.2), steps) == pytest.approx(theirs)


@pytest.mark.parametrize("per_epoch", [1, 7])
def test_exponential_is_torchs_stepped_at_every_update(per_epoch):
    theirs = torch_curve(lambda o: lr_scheduler.ExponentialLR(o, 0.8 ** (1 / per_epoch)), 40)
    assert curve(Exponential(factor=0.8), 40, per_epoch) == pytest.approx(theirs)


@pytest.mark.parametrize("per_epoch", [1, 7])
@pytest.mark.parametrize(("first", "growth", "final"), [(1, 1, 0.0), (3, 1, 0.1), (2, 2, 0.0), (1, 3, 0.05)])
def test_cosine_restarts_is_torchs(per_epoch, first, growth, final):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, growth, eta_min=final)
    ours = curve(CosineRestarts(first=first, growth=growth, final=final), 15 * per_epoch, per_epoch)
    optimizer.step()
    for step, rate in enumerate(ours):
        theirs.step(step / per_epoch)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)


@pytest.mark.parametrize("peak_at", [0.5, 0.25])
@pytest.mark.parametrize("mode", ["triangular", "triangular2"])
def test_triangular_is_torchs(peak_at, mode):
    per_epoch, cycle, low = 10, 2, 0.1
    up = round(per_epoch * cycle * peak_at)
    theirs = torch_curve(
        lambda o: lr_scheduler.CyclicLR(
            o, low, 1.0, up, per_epoch * cycle - up, mode=mode, cycle_momentum=False
        ),
        70,
    )
    config = Triangular(cycle=cycle, peak_at=peak_at, low=low, shrink=1.0 if mode == "triangular" else 0.5)
    assert curve(config, 70, per_epoch) == pytest.approx(theirs)


def test_step_epochs_is_torchs_where_the_factor_is_one():
    config = StepEpochs(milestones=(2, 5, 5.5), factors=(0.3,))
    theirs = torch_curve(lambda o: lr_scheduler.MultiStepLR(o, [20, 50, 55], gamma=0.3), 80)
    assert curve(config, 80, 10) == pytest.approx(theirs)


def test_step_epochs_is_the_kannada_baseline():
    config = StepEpochs(milestones=(35, 43, 48, 52), factors=(0.25, 0.25, 0.25, 0.256))

    def baseline(epoch):
        if epoch >= 52:
            return 1e-5
        return 0.0025 * 0.25 ** sum(epoch >= milestone for milestone in (35, 43, 48))

    rates = [0.0025 * rate for rate in curve(config, 56 * 3, 3)]
    assert rates == pytest.approx([baseline(step // 3) for step in range(56 * 3)])


def test_step_epochs_counts_the_warm_ups_epochs():
    rates = curve(StepEpochs(milestones=(3,), factors=(0.5,), warmup_epochs=2), 6, 1)
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 0.5, 0.5, 0.5])


def test_step_epochs_wants_one_factor_or_one_each():
    with pytest.raises(ValueError, match="one per milestone: 3, not 2"):
        StepEpochs(milestones=(1, 2, 3), factors=(0.5, 0.5))


def test_step_at_one_never_falls():
    assert curve(Step(milestones=(1.0,)), 30) == [1.0] * 30


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_plateau_is_torchs(patience, seed):
    noise = torch.randn(60, generator=torch.Generator().manual_seed(seed))
    losses = (0.5 + 2 / torch.arange(1, 61) + 0.05 * noise).tolist()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.9, patience=patience, threshold=0.01, eps=0)
    config = Plateau(patience=patience, factor=0.9, min_delta=0.01)
    for epoch in range(60):
        assert multiplier(config, epoch, 1, 60, losses[:epoch]) == pytest.approx(
            optimizer.param_groups[0]["lr"]
        )
        theirs.step(losses[epoch])
    assert optimizer.param_groups[0]["lr"] < 1


def test_plateau_counts_nan_as_bad():
    assert multiplier(Plateau(patience=1, factor=0.5), 3, 1, 9, [1.0, math.nan, math.nan]) == 0.5


def test_plateau_does_not_fall_below_final():
    assert multiplier(Plateau(patience=0, factor=0.5, final=0.2), 5, 1, 9, [1.0] * 5) == 0.2


def reports(train, valid):
    return [
        EpochReport(
            **dict.fromkeys(EpochReport.__dataclass_fields__) | {"epoch": i, "train_loss": t, "valid_loss": v}
        )
        for i, (t, v) in enumerate(zip(train, valid, strict=True), 1)
    ]


def test_plateau_watches_the_loss_it_is_told_to():
    both, blind = reports([3.0, 2.0], [1.0, 0.5]), reports([3.0, 2.0], [None, None])
    assert watched(Plateau(), both) == watched(Constant(), both) == [1.0, 0.5]
    assert watched(Plateau(), blind) == watched(Plateau(monitor="train"), both) == [3.0, 2.0]


@pytest.mark.parametrize(
    ("config", "ends"),
    [
        (CosineRestarts(first=2, growth=2), (2, 6, 14)),
        (CosineRestarts(first=5), (5, 10, 15, 20)),
        (CosineRestarts(first=5, warmup_epochs=1), (6, 11, 16)),
        (CosineRestarts(first=21), ()),
        (Triangular(cycle=8, warmup_epochs=0.5), (8, 16)),
        (Constant(), ()),
        (OneCycle(), ()),
    ],
)
def test_cycle_ends(config, ends):
    assert cycle_ends(config, 20) == ends


@pytest.mark.parametrize("warmup", [0, 1, 2.5])
@pytest.mark.parametrize("config", [CosineRestarts(first=3, growth=2), Triangular(cycle=3)])
def test_the_rate_is_lowest_where_cycles_end(config, warmup):
    config = config.model_copy(update={"warmup_epochs": warmup})
    rates = curve(config, 20 * 10, per_epoch=10)
    last_of_epoch = {epoch: rates[epoch * 10 - 1] for epoch in range(1, 21)}
    ends = cycle_ends(config, 20)
    for end in ends:
        assert last_of_epoch[end] < 0.45 < max(rates[end * 10 : end * 10 + 20])
    assert len(ends) >= 2


def test_plateau_ignores_the_epochs_of_the_warm_up():
    history = [1.0, 2.0, 2.0, 2.0]
    assert multiplier(Plateau(patience=0, factor=0.5), 4, 1, 9, history) == 0.125
    assert multiplier(Plateau(patience=0, factor=0.5, warmup_epochs=2), 4, 1, 9, history) == 0.5
    # of four steps each, the second begins within a warm-up of six
    assert multiplier(Plateau(patience=0, factor=0.5, warmup_epochs=1.5), 16, 4, 36, history) == 0.5


def test_constant():
    assert curve(Constant(), 5) == [1.0] * 5


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_rises_evenly_and_the_schedule_fills_the_rest(name):
    plain = variants(Schedule)[name]()
    warm = plain.model_copy(update={"warmup_epochs": 1.5})
    rates, rest = curve(warm, 60, per_epoch=10), curve(plain, 45, per_epoch=10)
    assert rates[:15] == pytest.approx([rest[0] * (step + 1) / 16 for step in range(15)])
    assert rates[15:] == pytest.approx(rest)


def test_a_warm_up_longer_than_the_training():
    assert curve(Cosine(warmup_epochs=4), 3) == pytest.approx([0.2, 0.4, 0.6])


def test_a_call_keeps_no_state():
    config, history = Plateau(patience=0), [1.0, 1.0, 0.5]
    assert len({multiplier(config, 3, 1, 9, history) for _ in range(3)}) == 1
    assert history == [1.0, 1.0, 0.5]
