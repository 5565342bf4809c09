"""Trainings in float16: scaled gradients, updates that are left out, and what does not follow them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from small_training import IMAGES, TRAIN, config_of, scores, training
from torch import Tensor, nn

from tune_digits.config import variants
from tune_digits.config.optimizer import Optimizer, Sgd
from tune_digits.learn import batch_loss, fit, loop
from tune_digits.learn.models import build_model
from tune_digits.learn.optim import build_optimizer, set_lr
from tune_digits.learn.predict import predict_logits
from tune_digits.learn.scaling import ScaledUpdates
from tune_digits.learn.state import pack, unpack

HALF: dict[str, Any] = {"train": {"precision": "float16"}}


def test_a_float16_training_learns_what_a_float32_training_learns() -> None:
    half, full = scores(training(HALF)[1]), scores(training({})[1])
    assert half != full
    for (loss, valid, _), (other, other_valid, _) in zip(half, full, strict=True):
        assert loss == pytest.approx(other, rel=0.02)
        assert valid == pytest.approx(other_valid, rel=0.02)


def test_products_are_float16_and_losses_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    original = batch_loss.head_losses

    def recording(logits: Tensor, *args: Any, **kwargs: Any) -> Any:
        values = original(logits, *args, **kwargs)
        seen.append((logits.dtype, values[0].dtype))
        return values

    loss = {"reduction": "ohem", "ohem_form": "separate", "ohem_rate": 0.8}
    monkeypatch.setattr(batch_loss, "head_losses", recording)
    state, epochs = training({**HALF, "loss": loss})
    list(epochs)
    assert set(seen) == {(torch.float16, torch.float32)}
    assert {p.dtype for p in state.model.parameters()} == {torch.float32}


def test_predictions_are_in_float16_too() -> None:
    state, _ = training(HALF)
    images = torch.from_numpy(IMAGES[TRAIN:])
    half, full = (predict_logits(state.model, images, precision=name) for name in ("float16", "float32"))
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, rtol=0.01, atol=0.01)


def small(config: Any) -> tuple[nn.Module, ScaledUpdates, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = build_model(config_of({}).model, 1, 8, 8, 3, (0.5,), (0.5,))
    optimizer = build_optimizer(model, config)
    set_lr(optimizer, 0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    return model, ScaledUpdates(scaler, optimizer), optimizer


def remembered(optimizer: torch.optim.Optimizer) -> list[Any]:
    states = optimizer.state_dict()["state"].values()
    return [v.clone() if isinstance(v, Tensor) else v for state in states for v in state.values()]


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("arithmetic", ["torch", "keras"])
@pytest.mark.parametrize("name", variants(Optimizer))
def test_an_update_whose_gradients_overflow_is_left_out(name: str, arithmetic: str, lookahead: int) -> None:
    """Neither the weights nor anything that the optimizer remembers moves."""
    cls = variants(Optimizer)[name]
    if arithmetic == "keras" and "arithmetic" not in cls.model_fields:
        pytest.skip("PyTorch's arithmetic alone")
    more = {"arithmetic": arithmetic} if "arithmetic" in cls.model_fields else {}
    model, updates, optimizer = small(cls(lookahead_k=lookahead, centralize=True, **more))
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def update(factor: float) -> bool:
        optimizer.zero_grad(set_to_none=True)
        return updates.update(factor * model(images).square().mean(), lambda: None)

    assert update(1.0)
    weights = [p.detach().clone() for p in model.parameters()]
    before = remembered(optimizer)
    assert not update(float("inf"))
    assert updates.scaler.get_scale() == 512
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    for a, b in zip(before, remembered(optimizer), strict=True):
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b
    assert [update(1.0) for _ in range(3)] == [True] * 3  # growing is not leaving out
    assert updates.scaler.get_scale() == 1024
    assert not all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


def test_gradients_are_clipped_after_they_are_unscaled() -> None:
    model, updates, _ = small(Sgd(momentum=0, nesterov=False))
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss = model(images).square().mean()
    expected = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    seen: list[Tensor] = []
    updates.update(loss, lambda: seen.extend(p.grad.clone() for p in model.parameters()))
    for ours, theirs in zip(seen, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_a_left_out_update_is_a_step_of_the_schedule_but_nothing_follows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second of three updates overflows: averages and centers stay, the schedule goes on."""
    change = {
        "train": {"precision": "float16", "epochs": 1, "ema_decay": 0.5},
        "loss": {"center_weight": 0.1},
        "schedule": {"name": "cosine"},
    }
    rates: list[float] = []
    followed: list[int] = []
    original, after = ScaledUpdates.update, fit.OneNetwork.after_update

    def overflowing(self: ScaledUpdates, loss: Tensor, clip: Any) -> bool:
        return original(self, loss * float("inf") if len(rates) == 2 else loss, clip)

    def noting(self: Any, step: int) -> None:
        followed.append(step)
        after(self, step)

    def recording(optimizer: torch.optim.Optimizer, lr: float) -> None:
        rates.append(lr)
        set_lr(optimizer, lr)

    monkeypatch.setattr(ScaledUpdates, "update", overflowing)
    monkeypatch.setattr(fit.OneNetwork, "after_update", noting)
    monkeypatch.setattr(loop, "set_lr", recording)
    state, epochs = training(change)
    list(epochs)
    assert followed == [0, 2]
    assert rates == pytest.approx([0.05, 0.025, 0.0], abs=1e-9)
    assert state.step == 3
    assert state.scaler is not None and state.scaler.get_scale() == 32768
    assert pack(state)[1]["scaler"]["scale"] == 32768


def test_the_scale_is_resumed() -> None:
    state, epochs = training({"train": {"precision": "float16", "epochs": 2}})
    next(epochs)
    assert state.scaler is not None
    state.scaler.update(new_scale=128.0)
    tensors, meta = pack(state)
    again, _ = training({"train": {"precision": "float16", "epochs": 2}})
    unpack(again, tensors, json.loads(json.dumps(meta)))
    assert again.scaler is not None and again.scaler.state_dict() == state.scaler.state_dict()
    assert again.scaler.get_scale() == 128


def test_other_precisions_scale_nothing() -> None:
    for name in ("auto", "float32", "bfloat16"):
        state, _ = training({"train": {"precision": name}})
        assert state.scaler is None
        assert pack(state)[1]["scaler"] is None
