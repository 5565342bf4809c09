"""What the knobs exchange and add in networks of torchvision and timm, and the networks of published recipes."""

import pytest
import torch
from library_samples import assert_works, build, images, tv
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import get_model

from tune_digits.config.listed import Timm, Torchvision
from tune_digits.errors import ConfigError
from tune_digits.learn.models import check_model
from tune_digits.learn.models.blocks import GeM, MaxBlurPool
from tune_digits.learn.models.exchange import ACTIVATION_CLASSES, exchange_activations, exchange_max_pools
from tune_digits.learn.models.listed import Resize, add_batchnorm
from tune_digits.learn.models.transfer import load_matching


def kinds_of(network):
    return {type(m).__name__ for m in network.modules()} & ACTIVATION_CLASSES


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "swin_t"]
)
@pytest.mark.parametrize(("activation", "kind"), [("mish", "Mish"), ("relu", "ReLU")])
def test_an_activation_stands_in_the_place_of_all_others(name, activation, kind):
    plain, changed = (build(tv(name, activation=a)) for a in (None, activation))
    assert kinds_of(changed) == {kind}
    before, after = (
        {n: type(m).__name__ for n, m in model.named_modules(remove_duplicate=False)}
        for model in (plain, changed)
    )
    assert before.keys() == after.keys()
    assert {n for n in before if before[n] != after[n]} <= {
        n for n in before if before[n] in ACTIVATION_CLASSES
    }
    # gates stay what they are, and so do the initial weights
    for gate in ("Sigmoid", "Hardsigmoid"):
        assert list(before.values()).count(gate) == list(after.values()).count(gate)
    torch.testing.assert_close(dict(changed.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)


def test_the_activation_is_computed_where_it_stands():
    block = build(tv("resnet18", activation="mish")).eval().network.layer1[0]
    x, mish = images(64, (5, 5)), nn.functional.mish
    torch.testing.assert_close(
        block(x), mish(block.bn2(block.conv2(mish(block.bn1(block.conv1(x))))) + x), rtol=0, atol=0
    )


def test_an_activation_that_a_network_calls_as_a_function_is_not_left_behind_silently():
    for name in ("densenet121", "googlenet"):
        with pytest.raises(
            ConfigError, match=rf"{name}.*activation: mish cannot .* which calls relu as a function"
        ):
            check_model(tv(name, activation="mish"), 1, 28, 28, 7)
    check_model(tv("densenet121", activation="relu"), 1, 28, 28, 7)
    with pytest.raises(ConfigError, match="has no module of an activation"):
        exchange_activations(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "mish", torch.zeros(1, 1, 2, 2))
    shared = nn.ReLU(inplace=True)
    twice = nn.Sequential(nn.Conv2d(1, 2, 1), shared, nn.Conv2d(2, 2, 1), shared)
    exchange_activations(twice, "mish", torch.zeros(1, 1, 2, 2))
    assert [type(m) for m in twice] == [nn.Conv2d, nn.Mish] * 2 and twice.training


def test_max_pools_at_stride_2_become_blurred_ones_of_the_same_size():
    plain = build(tv("squeezenet1_1", stem="as_is")).network
    blurred = assert_works(tv("squeezenet1_1", stem="as_is", blur_pool=True), 1, (28, 28)).network
    places = [n for n, m in plain.named_modules() if isinstance(m, nn.MaxPool2d)]
    assert [n for n, m in blurred.named_modules() if isinstance(m, MaxBlurPool)] == places and len(
        places
    ) == 3
    assert not [m for m in blurred.modules() if isinstance(m, nn.MaxPool2d)]
    assert blurred.state_dict().keys() == plain.state_dict().keys()
    x = images(64, (15, 12))
    assert blurred.features[2](x).shape == plain.features[2](x).shape  # 3x3, rounded up
    resnet = build(tv("resnet18", stem="as_is", blur_pool=True)).network
    assert (resnet.maxpool.size, resnet.maxpool.padding) == ((3, 3), (1, 1))
    assert resnet.maxpool(x).shape == nn.MaxPool2d(3, 2, 1)(x).shape
    # pools that leave the size alone stay
    mixed = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(2))
    exchange_max_pools(mixed)
    assert [type(m) for m in mixed] == [nn.MaxPool2d, MaxBlurPool]


@pytest.mark.parametrize("knobs", [{"name": "resnet18"}, {"name": "mobilenet_v2", "stem": "as_is"}])
def test_blurred_pooling_is_refused_where_there_is_nothing_to_blur(knobs):
    with pytest.raises(ConfigError, match=r"blur_pool: .* no max-pooling at stride 2 .*stem: as_is keeps it"):
        check_model(tv(**knobs, blur_pool=True), 1, 28, 28, 7)


def test_a_batchnorm_stands_before_the_classifier_and_its_dropout():
    network = assert_works(tv("mobilenet_v2", bn_before_classifier=True, dropout=0.4), 1, (28, 28)).network
    (norm, own), (dropout, classifier) = network.classifier
    assert isinstance(norm, nn.BatchNorm1d) and norm.num_features == classifier.in_features == 1280
    assert (own.p, dropout.p) == (0.2, 0.4)
    # the features that the classifier takes are those normalised
    features = images(1280, (1, 1)).flatten(1)
    expected = (features - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(network.eval().classifier(features), classifier(expected))
    assert [type(m) for m in build(tv("resnet18", bn_before_classifier=True)).network.fc] == [
        nn.BatchNorm1d,
        nn.Linear,
    ]
    convolution = nn.Sequential(nn.Flatten(), nn.Conv2d(5, 3, 1))
    add_batchnorm(convolution, (convolution[1],))
    assert isinstance(convolution[1][0], nn.BatchNorm2d) and convolution[1][0].num_features == 5


# ── networks of published recipes, by their configuration alone ──────────────────────────────────────

DIGITS = ["resnet18", "resnet34", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "squeezenet1_0"]
DIGITS += ["squeezenet1_1", "efficientnet_b0", "efficientnet_b3", "mnasnet0_5", "mnasnet1_0"]


@pytest.mark.parametrize("name", DIGITS)
def test_networks_for_photographs_train_on_a_digit_repeated_to_three_channels(name):
    model = build(Torchvision(name=f"torchvision:{name}", stem="as_is"), 3, classes=10)
    plain = get_model(name, weights=None, num_classes=10)
    # as published: nothing is resized, no layer is replaced (but SqueezeNet's classifier, which has ReLU on its logits)
    assert not [m for m in model.modules() if isinstance(m, Resize)]
    shapes, published = ({n: t.shape for n, t in m.state_dict().items()} for m in (model.network, plain))
    if name.startswith("squeezenet"):
        shapes, published = (
            {n: s for n, s in d.items() if "classifier" not in n} for d in (shapes, published)
        )
    assert shapes == published
    logits = model.train()(images(1, count=2).expand(2, 3, 28, 28))
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_leaves_networks_are_resnet50_and_mobilenet_with_a_batchnorm():
    leaves = {"stem": "as_is", "bn_before_classifier": True}
    network = build(Torchvision(name="torchvision:mobilenet_v2", **leaves), 3, (64, 64), 176).network
    assert isinstance(network.classifier[0][0], nn.BatchNorm1d)
    network = build(Torchvision(name="torchvision:resnet50", stem="as_is"), 3, (64, 64), 176).network
    given = get_model("resnet50", weights=None).state_dict()
    report = load_matching(network, given)
    assert report.in_words() == "of another shape: fc.weight, fc.bias"
    assert len(report.taken) == len(given) - 2


def test_the_bengali_network_has_one_channel_gem_and_mish():
    pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    bengali = {"stem": "as_is", "pooling": "gem", "activation": "mish"}
    config = Timm(name="timm:seresnext50_32x4d", **bengali, bn_gamma_init="zero_last")
    model = build(config, 1, (64, 64), 168 + 11 + 7)
    network = model.network
    assert network.conv1.weight.shape == (64, 1, 7, 7) and network.fc.out_features == 186
    assert isinstance(network.global_pool.pool, GeM) and network.global_pool.pool.p.item() == 3
    assert kinds_of(network) == {"Mish"}
    zeros = {n for n, m in network.named_modules() if isinstance(m, _BatchNorm) and (m.weight == 0).all()}
    assert len(zeros) == 16 and all(n.endswith(".bn3") for n in zeros)
    model(images(1, (64, 64), 2)).square().sum().backward()
    assert network.global_pool.pool.p.grad.abs() > 0


@pytest.mark.parametrize("name", ["densenet121", "ghostnet_100"])
def test_its_authors_other_networks_take_the_same_knobs(name):
    pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    model = build(Timm(name=f"timm:{name}", pooling="gem", activation="mish"), 1, classes=186)
    assert kinds_of(model) == {"Mish"} and [m for m in model.modules() if isinstance(m, GeM)]
