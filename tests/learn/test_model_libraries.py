"""torchvision's and timm's networks on small images: one of each family, the smallest."""

import pytest
import torch
from library_samples import KNOBS, assert_works, build, images, tv
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tune_digits.config import TrialConfig
from tune_digits.config.listed import Timm
from tune_digits.config.model import LeanCnn, SimpleM7
from tune_digits.errors import ConfigError
from tune_digits.learn.models import check_model
from tune_digits.learn.models.listed import Resize, adapt_stem, sizes_to_try
from tune_digits.validate import validate

# family -> its cheapest member; the large ones (VGG's dense layers, MaxViT's 112 pixels) only where they differ
FAMILIES = ["resnet18", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2"]
FAMILIES += [
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_works_on_small_images(name):
    channels, size = ((1, (28, 28)), (3, (17, 23)))[len(name) % 2]
    assert_works(tv(name), channels, size)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "swin_t"])
def test_the_smallest_images_work_too(name):
    check_model(tv(name), 1, 8, 8, 3)
    if name != "swin_t":  # the most expensive here
        check_model(tv(name, stem="as_is"), 3, 8, 11, 3)


def last_map(config, size=(28, 28)):
    """Height and width of the map that the global mean takes."""
    seen = []
    model = build(config, 1, size).eval()
    for module in model.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d):
            module.register_forward_hook(lambda m, inputs, out: seen.append(tuple(inputs[0].shape[2:])))
    with torch.no_grad():
        model(images(1, size, 1))
    return seen[-1]


@pytest.mark.parametrize(
    ("name", "small", "as_is"),
    [
        ("resnet18", (4, 4), (1, 1)),
        ("googlenet", (4, 4), (1, 1)),
        ("shufflenet_v2_x0_5", (4, 4), (1, 1)),
        ("efficientnet_b0", (2, 2), (1, 1)),
    ],
)
def test_the_small_stem_leaves_more_to_see(name, small, as_is):
    if name.startswith("shuffle"):  # it takes the mean without a layer for it
        stems = [build(tv(name, stem=stem)).eval().network.conv1[0].stride for stem in ("small", "as_is")]
        assert stems == [(1, 1), (2, 2)]
        return
    assert last_map(tv(name)) == small
    assert last_map(tv(name, stem="as_is")) == as_is


def test_what_the_small_stem_replaces():
    network = build(tv("resnet18"), 3).network
    assert (network.conv1.kernel_size, network.conv1.stride, network.conv1.padding) == (
        (3, 3),
        (1, 1),
        (1, 1),
    )
    assert isinstance(network.maxpool, nn.Identity)
    network = build(tv("resnet18", stem="as_is")).network
    assert (network.conv1.in_channels, network.conv1.kernel_size) == (1, (7, 7))
    assert isinstance(network.maxpool, nn.MaxPool2d)
    patches = nn.Sequential(nn.Conv2d(3, 8, 4, 4))
    adapt_stem(patches, 1, True)
    assert (patches[0].in_channels, patches[0].kernel_size, patches[0].stride) == (1, (2, 2), (2, 2))
    # a pool after the first blocks is the network's own and stays
    late = nn.Sequential(*(nn.Conv2d(3, 3, 3) for _ in range(4)), nn.MaxPool2d(2))
    adapt_stem(late, 3, True)
    assert isinstance(late[4], nn.MaxPool2d)


def test_images_are_enlarged_where_the_network_needs_it_or_on_request():
    assert sizes_to_try(28, 28, None)[:2] == [(28, 28), (32, 32)]
    assert sizes_to_try(20, 30, 40) == [(40, 60)]
    small = build(tv("convnext_tiny"), 1, (8, 8)).network
    assert isinstance(small.resize, Resize) and small.resize.size == (16, 16)
    asked = build(tv("resnet18", input_size=40), 1, (20, 30)).network
    assert asked.resize.size == (40, 60)
    plain = Resize((56, 56))(images())
    torch.testing.assert_close(plain, nn.functional.interpolate(images(), scale_factor=2, mode="bilinear"))


def test_vit_is_built_for_the_patches_of_the_image(monkeypatch):
    from torchvision.models import vision_transformer

    plain = vision_transformer.VisionTransformer

    def shallow(**options):
        return plain(**{**options, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16})

    monkeypatch.setattr(vision_transformer, "VisionTransformer", shallow)
    small = assert_works(tv("vit_b_16"), 1, (28, 28)).network
    assert small.conv_proj.kernel_size == (4, 4) and small.encoder.pos_embedding.shape[1] == 49 + 1
    uneven = assert_works(tv("vit_b_32", stem="as_is"), 3, (20, 33)).network
    assert uneven.resize.size == (64, 64) and uneven.body.encoder.pos_embedding.shape[1] == 4 + 1


# ── knobs ────────────────────────────────────────────────────────────────────────────────────────────


def test_dropout_and_pooling_take_their_knobs():
    model = assert_works(tv("resnet18", dropout=0.4, pooling="gem"), 1, (16, 16))
    assert model.network.fc[0].p == 0.4 and model.network.fc[1].out_features == 7
    assert model.network.avgpool.p.grad.abs() > 0
    with pytest.raises(ConfigError, match=r"torchvision:densenet121.*pooling: gem does not go"):
        check_model(tv("densenet121", pooling="gem"), 1, 28, 28, 7)


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 8), ("mobilenet_v2", 10), ("regnet_y_400mf", 16)])
def test_zero_last_makes_residual_blocks_start_as_the_identity(name, blocks):
    network = build(tv(name, bn_gamma_init="zero_last")).network
    zeros = [n for n, m in network.named_modules() if isinstance(m, _BatchNorm) and (m.weight == 0).all()]
    assert len(zeros) == blocks and not any("downsample" in n or "proj" in n for n in zeros)


def test_zero_last_is_refused_without_residual_blocks():
    with pytest.raises(ConfigError, match="zero_last needs residual blocks"):
        check_model(tv("shufflenet_v2_x0_5", bn_gamma_init="zero_last"), 1, 28, 28, 7)


def test_resnet18_blocks_pass_their_input_on_at_zero_last():
    block = build(tv("resnet18", bn_gamma_init="zero_last")).eval().network.layer1[0]
    x = images(64, (5, 5))
    torch.testing.assert_close(block(x), x)


def test_first_weights_come_from_the_generator_alone():
    for name in ("shufflenet_v2_x0_5", "squeezenet1_1"):
        first, second = build(tv(name)).state_dict(), build(tv(name)).state_dict()
        torch.testing.assert_close(dict(first), dict(second), rtol=0, atol=0)


def test_a_check_leaves_the_generator_alone():
    torch.manual_seed(5)
    check_model(LeanCnn(width=4), 1, 8, 8, 2)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    torch.testing.assert_close(drawn, torch.rand(3), rtol=0, atol=0)
    check_model(SimpleM7(width=4), 3, 8, 9, 2)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"name": "torchvision:resnt18"}, ["trial.model.name", "'resnt18'", "torchvision:resnet18"]),
        (
            {"name": "torchvison:resnet18"},
            ["trial.model.name", "did you mean 'torchvision:NAME'", "timm:NAME"],
        ),
        ({"name": "torchvision:fcn_resnet50"}, ["no classification model 'fcn_resnet50'"]),
        ({"name": "torchvision:resnet18", "droput": 0.1}, ["trial.model.droput", "did you mean 'dropout'"]),
        ({"name": "torchvision:resnet18", "dropout": 2}, ["trial.model.dropout", "less than 1"]),
        ({"name": "torchvision:resnet18", "pooling": "flatten"}, ["trial.model.pooling", "avg, max, gem"]),
        ({"name": "torchvision:resnet18", "stem": "standard"}, ["trial.model.stem", "small, as_is"]),
        ({"name": "torchvision:resnet18", "activation": "swish"}, ["trial.model.activation", "mish"]),
        (
            {"name": "lean_cnn", "bn_gamma_init": "zero_last"},
            ["trial.model.bn_gamma_init", "residual blocks", "use ones or uniform"],
        ),
        ({"name": "resnet18"}, ["'resnet18'", "Allowed: lean_cnn", "torchvision:NAME"]),
        ({"nam": "lean_cnn"}, ["trial.model.name: missing"]),
    ],
)
def test_wrong_names_and_knobs_are_explained(model, words):
    with pytest.raises(ConfigError) as error:
        validate(TrialConfig, {"model": model}, "my.yaml: trial")
    for word in words:
        assert word in str(error.value)


# ── timm ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    ["seresnext26d_32x4d", "efficientnet_b0", "ghostnet_100", "test_vit", "test_convnext"],
)
def test_timm_networks_work_on_small_images(name):
    pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    channels, size = ((1, (28, 28)), (3, (17, 23)))[len(name) % 2]
    assert_works(Timm(name=f"timm:{name}", **KNOBS), channels, size)


def test_timm_takes_the_knobs():
    pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    knobs = {"dropout": 0.4, "pooling": "gem", "bn_gamma_init": "zero_last", **KNOBS}
    model = build(Timm(name="timm:resnet10t", **knobs), 3)
    assert model.network.fc[0].p == 0.4 and model.network.conv1[0].stride == (1, 1)
    assert type(model.network.global_pool.pool).__name__ == "GeM"
    assert (model.network.layer1[0].bn2.weight == 0).all()
    with pytest.raises(ConfigError, match=r"timm:seresnext50_32x4d"):
        validate(TrialConfig, {"model": {"name": "timm:serexnext50_32x4d"}}, "my.yaml: trial")


def test_timm_missing_is_said_with_the_way_out(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ConfigError, match=r"timm is not installed: pip install 'tune_digits\[timm\]'"):
        validate(TrialConfig, {"model": {"name": "timm:resnet18"}}, "my.yaml: trial")
