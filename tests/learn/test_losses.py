"""Each loss against its paper's formula or a reference library."""

import math

import pytest
import torch
import torch.nn.functional as F
from loss_samples import ONE_HEAD, B, K, one_hot, soft_targets, some_labels, some_logits
from pydantic import ValidationError

from tune_digits.config import variants
from tune_digits.config.loss import CrossEntropy, Focal, GeneralizedCrossEntropy, Loss, SymmetricCrossEntropy
from tune_digits.learn.losses import (
    LOSSES,
    cross_entropy,
    focal,
    generalized_cross_entropy,
    loss_per_sample,
    smooth,
    symmetric_cross_entropy,
)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_losses_are_those_of_the_configuration():
    assert LOSSES.keys() == variants(Loss).keys()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_every_loss_is_float32_per_sample_with_finite_gradients(name, dtype, smoothing):
    config = variants(Loss)[name](label_smoothing=smoothing)
    logits = some_logits(scale=40).to(dtype).requires_grad_()
    loss = loss_per_sample(logits, one_hot(some_labels()), config, ONE_HEAD)
    assert loss.shape == (B,) and loss.dtype == torch.float32
    assert loss.isfinite().all() and (loss >= 0).all()
    loss.sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_along_its_gradient(name):
    logits, targets = some_logits().requires_grad_(), one_hot(some_labels())
    config = variants(Loss)[name]()
    loss = loss_per_sample(logits, targets, config, ONE_HEAD).mean()
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss_per_sample(logits - 0.5 * slope, targets, config, ONE_HEAD).mean() < loss


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_the_same_under_autocast(name):
    logits, targets, config = some_logits(), soft_targets(), variants(Loss)[name]()
    plain = loss_per_sample(logits, targets, config, ONE_HEAD)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss_per_sample(logits, targets, config, ONE_HEAD), plain, rtol=0, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.13])
def test_cross_entropy_on_labels(smoothing):
    logits, labels = some_logits(), some_labels()
    config = CrossEntropy(label_smoothing=smoothing)
    expected = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(loss_per_sample(logits, one_hot(labels), config, ONE_HEAD), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.13])
def test_cross_entropy_on_soft_targets(smoothing):
    logits, targets = some_logits(), soft_targets()
    config = CrossEntropy(label_smoothing=smoothing)
    expected = -((targets * (1 - smoothing) + smoothing / K) * torch.log(logits.softmax(1))).sum(1)
    torch.testing.assert_close(loss_per_sample(logits, targets, config, ONE_HEAD), expected)


def test_smoothing_keeps_the_sum_and_shares_evenly():
    targets = one_hot(some_labels())
    assert smooth(targets, 0.0) is targets
    out = smooth(targets, 0.14)
    torch.testing.assert_close(out.sum(1), torch.ones(B))
    torch.testing.assert_close(out.unique(), torch.tensor([0.02, 0.88]))


def test_focal_with_gamma_zero_is_cross_entropy():
    logits, targets = some_logits(), soft_targets()
    torch.testing.assert_close(
        focal(logits, targets, Focal(gamma=0)), cross_entropy(logits, targets, CrossEntropy())
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_on_labels_is_the_papers_formula(gamma):
    logits, labels = some_logits(scale=1.0), some_labels()
    p = logits.double().softmax(1)[torch.arange(B), labels]
    expected = (-((1 - p) ** gamma) * p.log()).float()
    torch.testing.assert_close(focal(logits, one_hot(labels), Focal(gamma=gamma)), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_a_gradient_where_the_probability_rounds_to_one(gamma):
    logits = torch.tensor([[200.0, 0, 0], [-200.0, 0, 0]], requires_grad=True)
    focal(logits, torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]), Focal(gamma=gamma)).sum().backward()
    assert logits.grad.isfinite().all() and logits.grad[0].abs().max() < 1e-6 < logits.grad[1].abs().max()


def test_symmetric_cross_entropy_of_the_kannada_kernel_by_hand():
    """R1: alpha = beta = 1, predictions and one-hot targets clipped to [1e-7, 1] before the logarithm; mean of three.

    The loss of a sample is -log(max(p of its label, 1e-7)) + 16.118 times the probabilities of the other classes.
    """
    a = math.log(1e-7)
    assert a == pytest.approx(-16.118095650958319)
    proba = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [1e-12, 0.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2, 0])
    by_hand = [
        -math.log(0.7) - a * 0.3,  # 0.35667 + 4.83543
        -math.log(0.25) - a * 0.75,  # 1.38629 + 12.08857
        -a - a * 1.0,  # 16.11810 + 16.11810: the prediction is clipped
    ]
    assert by_hand == pytest.approx([5.19210, 13.47487, 32.23619], abs=2e-5)
    logits = proba.clamp_min(1e-30).log().float()
    config = SymmetricCrossEntropy(alpha=1, beta=1, clip=1e-7)
    out = loss_per_sample(logits, one_hot(labels, 3), config, (slice(0, 3),))
    torch.testing.assert_close(out, torch.tensor(by_hand), rtol=1e-5, atol=1e-5)
    assert out.mean().item() == pytest.approx(16.96772, abs=2e-5)


def test_a_clipped_prediction_has_no_gradient_by_cross_entropy():
    logits = torch.tensor([[-40.0, 0.0]], requires_grad=True)
    config = SymmetricCrossEntropy(alpha=1, beta=0, clip=1e-7)
    symmetric_cross_entropy(logits, torch.tensor([[1.0, 0.0]]), config).sum().backward()
    assert torch.equal(logits.grad, torch.zeros(1, 2))


def test_without_clip_predictions_are_not_clipped():
    logits = torch.tensor([[-40.0, 0.0]])
    out = symmetric_cross_entropy(logits, torch.tensor([[1.0, 0.0]]), SymmetricCrossEntropy(alpha=1, beta=0))
    assert out.item() == pytest.approx(40.0)


def test_two_lower_limits_of_a_target_are_refused():
    with pytest.raises(ValidationError, match="log_zero -7 has no effect with clip 1e-07"):
        SymmetricCrossEntropy(clip=1e-7, log_zero=-7.0)


def test_symmetric_cross_entropy_on_labels_is_the_papers_formula():
    logits, labels = some_logits(), some_labels()
    p = logits.softmax(1)[torch.arange(B), labels]
    config = SymmetricCrossEntropy(alpha=0.3, beta=0.7)
    expected = -0.3 * p.log() + 0.7 * 4 * (1 - p)
    torch.testing.assert_close(symmetric_cross_entropy(logits, one_hot(labels), config), expected)


def test_symmetric_cross_entropy_on_soft_targets():
    logits, targets = some_logits(), soft_targets()
    p, log_q = logits.softmax(1), targets.log().clamp(min=-4)
    config = SymmetricCrossEntropy(alpha=0.3, beta=0.7)
    expected = -0.3 * (targets * p.log()).sum(1) - 0.7 * (p * log_q).sum(1)
    torch.testing.assert_close(symmetric_cross_entropy(logits, targets, config), expected)


def test_symmetric_cross_entropy_counts_tiny_targets_as_zero():
    targets = torch.tensor([[1 - 2e-3, 1e-3, 1e-3]])
    config = SymmetricCrossEntropy(alpha=0, beta=1)
    expected = -(math.log(1 - 2e-3) - 4 - 4) / 3
    assert symmetric_cross_entropy(torch.zeros(1, 3), targets, config).item() == pytest.approx(expected)


def test_symmetric_cross_entropy_clamps_where_it_is_told_to():
    config = SymmetricCrossEntropy(alpha=0, beta=1, log_zero=-9.2)
    loss = symmetric_cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]]), config)
    assert loss.item() == pytest.approx(9.2 * 3 / 4)


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_generalized_cross_entropy_on_labels_is_the_papers_formula(q):
    logits, labels = some_logits(scale=1.0), some_labels()
    p = logits.double().softmax(1)[torch.arange(B), labels]
    expected = ((1 - p**q) / q).float()
    config = GeneralizedCrossEntropy(q=q)
    torch.testing.assert_close(generalized_cross_entropy(logits, one_hot(labels), config), expected)


def test_generalized_cross_entropy_lies_between_cross_entropy_and_absolute_error():
    logits, targets = some_logits(), one_hot(some_labels())
    as_error = generalized_cross_entropy(logits, targets, GeneralizedCrossEntropy(q=1))
    torch.testing.assert_close(as_error, (logits.softmax(1) - targets).abs().sum(1) / 2)
    as_entropy = generalized_cross_entropy(logits, targets, GeneralizedCrossEntropy(q=1e-6))
    torch.testing.assert_close(
        as_entropy, F.cross_entropy(logits, targets, reduction="none"), rtol=1e-4, atol=1e-5
    )


def test_generalized_cross_entropy_of_soft_targets_is_the_mean_over_their_classes():
    logits, targets, config = some_logits(), soft_targets(), GeneralizedCrossEntropy()
    each = [generalized_cross_entropy(logits, one_hot(torch.full((B,), k)), config) for k in range(K)]
    expected = (targets * torch.stack(each, 1)).sum(1)
    torch.testing.assert_close(generalized_cross_entropy(logits, targets, config), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_heads_are_independent_and_averaged(name):
    heads, config = (slice(0, 4), slice(4, 6), slice(6, 11)), variants(Loss)[name](label_smoothing=0.1)
    logits = some_logits(classes=11)
    targets = torch.cat([one_hot(some_labels(classes=h.stop - h.start), h.stop - h.start) for h in heads], 1)
    alone = [
        loss_per_sample(logits[:, h], targets[:, h], config, (slice(0, h.stop - h.start),)) for h in heads
    ]
    torch.testing.assert_close(loss_per_sample(logits, targets, config, heads), sum(alone) / 3)
