"""Starting from the weights of another network."""

import pytest
import torch
from torch import nn

from tune_digits.config.model import LeanCnn
from tune_digits.errors import ConfigError
from tune_digits.learn.models import build_model, check_model
from tune_digits.learn.models.transfer import load_matching

SMALL = {"width": 4, "depth": 1}


def build(seed, classes=5, channels=1, **knobs):
    torch.manual_seed(seed)
    stats = (0.1 * seed,) * channels, (1.0 + seed,) * channels
    return build_model(LeanCnn(**SMALL, **knobs), channels, 12, 12, classes, *stats)


def test_everything_of_equal_name_and_shape_is_copied_but_the_normalisation():
    source, target = build(1), build(2)
    report = load_matching(target, source.state_dict())
    for name, tensor in target.state_dict().items():
        wanted = build(2) if name.startswith("normalize.") else source
        torch.testing.assert_close(tensor, wanted.state_dict()[name], rtol=0, atol=0)
    assert report.in_words() == ""
    assert set(report.taken) == {n for n in target.state_dict() if not n.startswith("normalize.")}


def test_another_number_of_classes_keeps_its_own_classifier():
    source, target, fresh = build(1, classes=5), build(2, classes=9), build(2, classes=9)
    report = load_matching(target, source.state_dict())
    classifier = [n for n in target.state_dict() if n.startswith("network.14.")]
    assert set(report.other_shape) == set(classifier) and len(classifier) == 2
    assert (report.missing, report.unexpected, report.summed) == ((), (), ())
    assert set(report.taken) | set(classifier) == {n for n in target.state_dict() if "normalize." not in n}
    for name in classifier:
        torch.testing.assert_close(target.state_dict()[name], fresh.state_dict()[name], rtol=0, atol=0)
    first = "network.0.weight"
    torch.testing.assert_close(target.state_dict()[first], source.state_dict()[first], rtol=0, atol=0)


def test_names_match_without_the_prefixes_of_wrappers():
    source, target = build(1), build(2)
    named = {n.removeprefix("network."): t for n, t in source.state_dict().items()}
    bare = load_matching(
        target, {f"module.{n}": t for n, t in named.items() if not n.startswith("normalize")}
    )
    assert bare.in_words() == ""
    assert torch.equal(target.state_dict()["network.0.weight"], source.state_dict()["network.0.weight"])


def test_what_is_on_one_side_only_is_listed():
    given = build(1).state_dict()
    kept = {n: t for n, t in given.items() if not n.startswith("network.2.")}
    report = load_matching(build(2), {**kept, "extra.weight": torch.zeros(2)})
    assert report.missing == tuple(
        f"network.2.{n}" for n in ("weight", "bias", "running_mean", "running_var")
    )
    assert report.unexpected == ("extra.weight",)
    assert report.in_words() == (
        "not in the file: network.2.weight, network.2.bias, network.2.running_mean, network.2.running_var; "
        "not in this network: extra.weight"
    )


def test_for_one_channel_the_first_convolution_is_summed_over_the_colours():
    colour, grey = build(1, channels=3).eval(), build(2).eval()
    report = load_matching(grey, colour.state_dict())
    assert report.summed == ("network.0.weight",) and report.other_shape == ()
    assert report.in_words() == "summed over the colours: network.0.weight"
    # the grey image in each of the channels, without normalisation, gives the same
    image = torch.rand(2, 1, 12, 12)
    torch.testing.assert_close(grey.network(image), colour.network(image.expand(2, 3, 12, 12)))
    # only from several channels to one, only there, and only where the kernel fits
    back = load_matching(build(1, channels=3), grey.state_dict())
    assert back.other_shape == ("network.0.weight",)
    wide = {**colour.state_dict(), "network.0.weight": torch.zeros(4, 3, 5, 5)}
    assert load_matching(build(2), wide).other_shape == ("network.0.weight",)
    depthwise = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4))
    full = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    report = load_matching(depthwise, full.state_dict())
    assert (report.summed, report.other_shape) == (("0.weight",), ("1.weight",))


def test_nothing_that_fits_is_an_error():
    with pytest.raises(ConfigError, match=r"no weight fits this model: given are fc\.weight \(3, 4\)"):
        load_matching(build(1), {"fc.weight": torch.zeros(3, 4)})
    # counters and biases fit by chance
    counters = {n: t for n, t in build(1).state_dict().items() if t.ndim < 2}
    with pytest.raises(ConfigError, match="no weight fits"):
        load_matching(build(2), counters)


def test_a_model_starts_from_given_weights_and_the_check_says_what_was_taken():
    first = build(1)
    torch.manual_seed(3)
    model = build_model(LeanCnn(**SMALL), 1, 12, 12, 5, (0.3,), (1.0,), weights=first.state_dict())
    own = {n: t for n, t in model.state_dict().items() if not n.startswith("normalize.")}
    torch.testing.assert_close(own, {n: first.state_dict()[n] for n in own}, rtol=0, atol=0)
    assert model.normalize.mean.item() == pytest.approx(0.3)
    taken = check_model(LeanCnn(**SMALL), 1, 12, 12, 9, first.state_dict())
    assert set(taken.other_shape) == {"network.14.weight", "network.14.bias"}
    assert check_model(LeanCnn(**SMALL), 1, 12, 12, 9) is None
    with pytest.raises(ConfigError, match=r"trial\.model \(lean_cnn\): no weight fits this model"):
        check_model(LeanCnn(**SMALL), 1, 12, 12, 9, {"fc.weight": torch.zeros(3, 4)})
