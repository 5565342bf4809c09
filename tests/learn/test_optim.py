import copy

import pytest
import torch
from torch import nn

from tune_digits.config import variants
from tune_digits.config.model import Keras8, LeanCnn
from tune_digits.config.optimizer import (
    Adam,
    AdamW,
    Lamb,
    Muon,
    NAdam,
    Optimizer,
    Over9000,
    RAdam,
    RmsProp,
    Sgd,
)
from tune_digits.learn.ema import ema_decay_at, ema_update
from tune_digits.learn.models import build_model
from tune_digits.learn.optim import (
    OPTIMIZERS,
    build_optimizer,
    lr_scales,
    parameter_groups,
    set_lr,
)

CONFIGS = {
    "sgd": Sgd(lr=0.1, momentum=0.8, weight_decay=0.01),
    "adam": Adam(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.01),
    "adamw": AdamW(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1),
    "radam": RAdam(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1),
    "nadam": NAdam(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1, momentum_decay=0.1),
    "lamb": Lamb(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-5, weight_decay=0.1),
    "over9000": Over9000(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1, lookahead_k=0),
    "rmsprop": RmsProp(lr=0.02, alpha=0.8, momentum=0.5, eps=1e-6, weight_decay=0.01),
    "muon": Muon(lr=0.02, momentum=0.8, weight_decay=0.1, adam_lr=0.01, beta1=0.8, beta2=0.95),
}
FUSED = ("sgd", "adam", "adamw")
KERAS = [
    CONFIGS[name].model_copy(update={"arithmetic": "keras"}) for name in ("sgd", "adam", "adamw", "rmsprop")
]
WRAPPED = [c.model_copy(update={"lookahead_k": 2, "centralize": True}) for c in CONFIGS.values()]
EVERY = [*CONFIGS.values(), *KERAS, *WRAPPED]


def small(config=None):
    torch.manual_seed(0)
    return build_model(config or LeanCnn(width=4, depth=1), 1, 8, 8, 3, (0.5,), (0.5,))


def give_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        # laid out in memory as its parameter, as autograd does it
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))


class Reference(torch.optim.Optimizer):
    """LAMB (arXiv:1904.00962, algorithm 2), one tensor after the other."""

    def __init__(self, params, **defaults):
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self):
        (group,) = self.param_groups
        beta1, beta2 = group["betas"]
        for p in group["params"]:
            zeros = {"m": torch.zeros_like(p), "v": torch.zeros_like(p), "t": 0}
            state = self.state[p] = self.state[p] or zeros
            state["t"] += 1
            # pytorch-optimizer decays the weights before the trust ratio is taken, not inside it
            p *= 1 - group["lr"] * group["weight_decay"]
            state["m"] = beta1 * state["m"] + (1 - beta1) * p.grad
            state["v"] = beta2 * state["v"] + (1 - beta2) * p.grad**2
            update = state["m"] / (state["v"].sqrt() + group["eps"])
            length = p.norm().clamp(max=10)
            ratio = length / (update.norm() + group["eps"]) if length > 0 else 1.0
            # pytorch-optimizer corrects the bias of the first moment, not of the second
            p -= group["lr"] / (1 - beta1 ** state["t"]) * ratio * update


def train(model, optimizer, rates=(0.1, 0.03, 0.2)):
    for seed, lr in enumerate(rates):
        give_gradients(model, seed)
        set_lr(optimizer, lr)
        optimizer.step()
    return list(model.parameters())


def test_optimizers_are_those_of_the_configuration():
    assert OPTIMIZERS.keys() == variants(Optimizer).keys() == CONFIGS.keys()


@pytest.mark.parametrize("name", FUSED)
def test_fused_equals_unfused(name):
    fused, plain = small(), small()
    config = CONFIGS[name]
    reference = OPTIMIZERS[name](parameter_groups(plain, config), config, False)
    optimizer = build_optimizer(fused, config)
    assert optimizer.defaults["fused"] is True
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
        (
            "radam",
            lambda p: torch.optim.RAdam(
                p, lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, decoupled_weight_decay=True
            ),
        ),
        (
            "nadam",
            lambda p: torch.optim.NAdam(
                p,
                lr=0.1,
                betas=(0.8, 0.95),
                eps=1e-6,
                weight_decay=0.1,
                momentum_decay=0.1,
                decoupled_weight_decay=True,
            ),
        ),
        ("lamb", lambda p: Reference(p, lr=0.1, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.1)),
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


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "muon"])
def test_decay_all_is_one_group(name):
    model = small()
    (group,) = build_optimizer(model, CONFIGS[name].model_copy(update={"decay_all": True})).param_groups
    assert len(group["params"]) == len(list(model.parameters()))
    assert group["weight_decay"] == CONFIGS[name].weight_decay


@pytest.mark.parametrize("config", EVERY)
def test_set_lr_reaches_every_group_and_zero_changes_nothing(config):
    model = small()
    optimizer = build_optimizer(model, config)
    set_lr(optimizer, 0.0)
    assert {g["lr"] for g in optimizer.param_groups} == {0.0}
    before = [p.clone() for p in model.parameters()]
    give_gradients(model, 0)
    optimizer.step()
    for a, b in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("config", EVERY)
def test_an_optimizer_goes_on_from_the_state_of_its_parameters_alone(config):
    model = small()
    optimizer = build_optimizer(model, config)
    train(model, optimizer)
    other = copy.deepcopy(model)
    restored = build_optimizer(other, config)
    saved = copy.deepcopy(optimizer.state_dict())["state"]
    assert all(
        isinstance(v, torch.Tensor | int | float) for values in saved.values() for v in values.values()
    )
    restored.load_state_dict({"state": saved, "param_groups": restored.state_dict()["param_groups"]})
    before = [p.clone() for p in model.parameters()]
    for a, b, c in zip(train(model, optimizer), train(other, restored), before, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
        assert not torch.equal(a, c)


@pytest.mark.parametrize("config", EVERY)
def test_memory_layout_changes_nothing_but_rounding(config):
    plain = small()
    inner = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    after = train(plain, build_optimizer(plain, config))
    # Muon's iteration runs in bfloat16
    close = {"rtol": 0.05, "atol": 5e-3} if config.name == "muon" else {"rtol": 1e-4, "atol": 1e-5}
    for a, b in zip(after, train(inner, build_optimizer(inner, config)), strict=True):
        torch.testing.assert_close(a, b, **close)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("k", [1, 2])
def test_lookahead_is_its_formula(name, k):
    config = CONFIGS[name].model_copy(update={"lookahead_k": k, "lookahead_alpha": 0.3})
    ours, theirs = small(), small()
    optimizer, base = build_optimizer(ours, config), build_optimizer(theirs, CONFIGS[name])
    slow = [p.detach().clone() for p in theirs.parameters()]
    for step, lr in enumerate((0.1, 0.03, 0.2, 0.1), 1):
        for model, steps in ((ours, optimizer), (theirs, base)):
            give_gradients(model, step)
            set_lr(steps, lr)
            steps.step()
        if step % k == 0:
            for s, p in zip(slow, theirs.parameters(), strict=True):
                s += 0.3 * (p.detach() - s)
                p.data.copy_(s)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_radam_with_lookahead_and_centred_gradients_is_ranger():
    from pytorch_optimizer import Ranger

    config = RAdam(beta1=0.8, beta2=0.95, eps=1e-5, lookahead_k=3, centralize=True)
    ours, theirs = small(), small()
    # where the variance is still uncertain, PyTorch takes a step of momentum, Ranger none unless it is told to
    ranger = Ranger(theirs.parameters(), betas=(0.8, 0.95), k=3, degenerated_to_sgd=True)
    rates = (0.1, 0.03, 0.2, 0.1, 0.1, 0.02, 0.1, 0.1, 0.1)
    for a, b in zip(
        train(ours, build_optimizer(ours, config), rates), train(theirs, ranger, rates), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_centred_gradients_have_no_mean_over_an_outputs_inputs():
    model = small()
    optimizer = build_optimizer(model, Sgd(momentum=0.0, nesterov=False, centralize=True))
    before = [p.detach().clone() for p in model.parameters()]
    give_gradients(model, 0)
    gradients = [p.grad.clone() for p in model.parameters()]
    set_lr(optimizer, 1.0)
    optimizer.step()
    for p, old, gradient in zip(model.parameters(), before, gradients, strict=True):
        if p.ndim >= 2:
            gradient = gradient - gradient.flatten(1).mean(1).view(-1, *[1] * (p.ndim - 1))
        torch.testing.assert_close(p, old - gradient, rtol=1e-4, atol=1e-5)


def test_muon_makes_hidden_weights_orthogonal_and_is_adamw_elsewhere():
    config = Muon(lr=0.1, momentum=0.9, weight_decay=0.0, adam_lr=0.02, beta1=0.8, beta2=0.95)
    ours, theirs = small(), small()
    hidden = [p for p in theirs.parameters() if p.ndim >= 2 and p is not theirs.classifier.weight]
    others = [p for p in theirs.parameters() if all(p is not h for h in hidden)]
    adamw = torch.optim.AdamW(others, lr=0.02, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0)
    optimizer = build_optimizer(ours, config)
    before = {n: p.detach().clone() for n, p in ours.named_parameters()}
    names = {id(p): n for n, p in theirs.named_parameters()}
    give_gradients(ours, 0)
    give_gradients(theirs, 0)
    set_lr(optimizer, 0.1)
    optimizer.step()
    adamw.step()
    after = dict(ours.named_parameters())
    for p in others:
        torch.testing.assert_close(after[names[id(p)]], p, rtol=1e-4, atol=1e-5)
    for p in hidden:
        step = (before[names[id(p)]] - after[names[id(p)]]).flatten(1)
        values = torch.linalg.svdvals(step)
        # five steps of Newton-Schulz bring the singular values near 1, not to it; a tall matrix steps further
        assert (values / values.mean() - 1).abs().max() < 0.5
        assert 0.05 < values.mean() < 0.4


def test_rates_by_depth_and_kind():
    model = small(Keras8(width=4))
    config = Sgd(bias_lr=2.0, head_lr=3.0, layer_decay=0.5, weight_decay=0.1)
    scales = lr_scales(model, config)
    convolutions = [n for n, p in model.named_parameters() if p.ndim == 4]
    denses = [n for n, p in model.named_parameters() if p.ndim == 2]
    assert [scales[n] for n in convolutions] == [0.5 ** (9 - i) for i in range(8)]
    assert [scales[n] for n in denses] == [0.5, 3.0]
    assert scales[denses[1].replace("weight", "bias")] == 6.0
    optimizer = build_optimizer(model, config)
    set_lr(optimizer, 0.1)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(rates) == len(scales)
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.1 * scales[name])
        assert decays[id(parameter)] == (0.1 if parameter.ndim >= 2 else 0.0)


def test_frozen_parameters_are_left_out():
    model = small()
    frozen = next(model.parameters()).requires_grad_(False)
    groups = build_optimizer(model, AdamW()).param_groups
    assert all(p is not frozen for group in groups for p in group["params"])


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
