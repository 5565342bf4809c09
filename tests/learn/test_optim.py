import copy

import pytest
import torch
from torch import nn

from tune_digits.config import Adam, AdamW, Keras8, LeanCnn, Optimizer, RmsProp, Sgd, variants
from tune_digits.learn.ema import ema_decay_at, ema_update
from tune_digits.learn.models import build_model
from tune_digits.learn.optim import OPTIMIZERS, build_optimizer, parameter_groups, set_lr

CONFIGS = {
    "sgd": Sgd(lr=0.1, momentum=0.8, weight_decay=0.01),
    "adam": Adam(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.01),
    "adamw": AdamW(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1),
    "rmsprop": RmsProp(lr=0.02, alpha=0.8, momentum=0.5, eps=1e-6, weight_decay=0.01),
}


def small(config=None):
    torch.manual_seed(0)
    return build_model(config or LeanCnn(width=4, depth=1), 1, 8, 8, 3, (0.5,), (0.5,))


def give_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def train(model, optimizer, rates=(0.1, 0.03, 0.2)):
    for seed, lr in enumerate(rates):
        give_gradients(model, seed)
        set_lr(optimizer, lr)
        optimizer.step()
    return list(model.parameters())


def test_optimizers_are_those_of_the_configuration():
    assert OPTIMIZERS.keys() == variants(Optimizer).keys() == CONFIGS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_equals_unfused(name):
    fused, plain = small(), small()
    config = CONFIGS[name]
    reference = OPTIMIZERS[name](parameter_groups(plain, config.weight_decay), config, False)
    optimizer = build_optimizer(fused, config)
    assert bool(optimizer.defaults.get("fused")) is (name != "rmsprop")
    for a, b in zip(train(fused, optimizer), train(plain, reference), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.01)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.01)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
        (
            "rmsprop",
            lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.8, eps=1e-6, momentum=0.5, weight_decay=0.01),
        ),
    ],
)
def test_every_knob_arrives(name, reference):
    ours, theirs = small(), small()
    optimizer = build_optimizer(ours, CONFIGS[name].model_copy(update={"decay_all": True}))
    for a, b in zip(train(ours, optimizer), train(theirs, reference(theirs.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("config", [LeanCnn(width=4), Keras8(width=4)])
def test_exactly_norms_and_biases_are_not_decayed(config):
    model = small(config)
    expected = set()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            expected |= {id(module.weight), id(module.bias)}
        elif isinstance(module, nn.Linear):
            expected.add(id(module.bias))
    decayed, spared = build_optimizer(model, AdamW(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    assert {id(p) for p in spared["params"]} == expected
    together = [id(p) for p in decayed["params"] + spared["params"]]
    assert len(together) == len(set(together)) and set(together) == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_all_is_one_group(name):
    model = small()
    (group,) = build_optimizer(model, CONFIGS[name].model_copy(update={"decay_all": True})).param_groups
    assert len(group["params"]) == len(list(model.parameters()))
    assert group["weight_decay"] == CONFIGS[name].weight_decay


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_set_lr_reaches_every_group_and_zero_changes_nothing(name):
    model = small()
    optimizer = build_optimizer(model, CONFIGS[name])
    set_lr(optimizer, 0.0)
    assert [g["lr"] for g in optimizer.param_groups] == [0.0, 0.0]
    before = [p.clone() for p in model.parameters()]
    give_gradients(model, 0)
    optimizer.step()
    for a, b in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_its_saved_state(name):
    model = small()
    optimizer = build_optimizer(model, CONFIGS[name])
    train(model, optimizer)
    other = copy.deepcopy(model)
    restored = build_optimizer(other, CONFIGS[name])
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for a, b in zip(train(model, optimizer), train(other, restored), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_ema_is_its_closed_form():
    model = small()
    average = copy.deepcopy(model)
    keys = [k for k, v in model.state_dict().items() if v.is_floating_point()]
    expected = {k: model.state_dict()[k].clone() for k in keys}
    decay = 0.7
    for step in range(5):
        with torch.no_grad():
            for value in (*model.parameters(), *model.buffers()):
                value += step + 1 if value.is_floating_point() else 1
        ema_update(average, model, decay)
        for key in keys:
            expected[key] = decay * expected[key] + (1 - decay) * model.state_dict()[key]
    for key, value in average.state_dict().items():
        torch.testing.assert_close(value, expected.get(key, model.state_dict()[key]))
    counters = [v for k, v in average.state_dict().items() if k.endswith("num_batches_tracked")]
    assert counters and all(v == 5 for v in counters)


def test_ema_of_equal_weights_changes_nothing():
    model = small()
    average = copy.deepcopy(model).requires_grad_(False)
    ema_update(average, model, 0.9)
    for a, b in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_ema_decay_starts_low_and_ends_at_its_value():
    assert ema_decay_at(0, 0.999) == pytest.approx(0.1)
    assert ema_decay_at(90, 0.999) == pytest.approx(0.91)
    assert ema_decay_at(10**6, 0.999) == 0.999
    decays = [ema_decay_at(step, 0.99) for step in range(2000)]
    assert decays == sorted(decays) and decays[-1] == 0.99
