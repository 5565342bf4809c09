"""What every loss may have besides: weights, hard samples, a teacher, centers; and what is refused."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loss_samples import ONE_HEAD, B, K, generator, one_hot, soft_targets, some_labels, some_logits
from pydantic import ValidationError
from scipy import stats
from sklearn.utils.class_weight import compute_class_weight

from tune_digits.config import Mix, TrialConfig, variants
from tune_digits.config.loss import CrossEntropy, Loss
from tune_digits.errors import ConfigError
from tune_digits.learn import mix
from tune_digits.learn.batch_loss import kept_fraction, reduce
from tune_digits.learn.loss_checks import check_heads
from tune_digits.learn.losses import (
    LOSSES,
    center_loss,
    class_weights,
    distillation,
    jsd_consistency,
    loss_per_sample,
)
from tune_digits.validate import validate


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# ── weights of heads and classes ─────────────────────────────────────────────────────────────────────

HEADS = (slice(0, 4), slice(4, 6), slice(6, 11))
COUNTS = torch.tensor([50.0, 5, 1, 0, 30, 26, 9, 9, 9, 9, 20])


def three_heads():
    logits = some_logits(classes=11)
    targets = torch.cat([one_hot(some_labels(classes=h.stop - h.start), h.stop - h.start) for h in HEADS], 1)
    return logits, targets


def test_head_weights_are_shares_of_their_sum():
    logits, targets = three_heads()
    alone = [F.cross_entropy(logits[:, h], targets[:, h], reduction="none") for h in HEADS]
    expected = 0.7 * alone[0] + 0.2 * alone[1] + 0.1 * alone[2]
    for weights in [(0.7, 0.2, 0.1), (7, 2, 1)]:
        out = loss_per_sample(logits, targets, CrossEntropy(head_weights=weights), HEADS)
        torch.testing.assert_close(out, expected)


def test_inverse_weights_are_those_of_scikit_learn():
    labels = np.repeat(np.arange(5), [50, 5, 1, 7, 20])
    expected = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    counts = torch.from_numpy(np.bincount(labels)).float()
    out = class_weights(CrossEntropy(class_weights="inverse"), counts, (slice(0, 5),))
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_balanced_weights_are_the_effective_numbers_of_the_paper():
    counts, beta = np.array([50, 5, 1, 7, 2000]), 0.99
    effective = (1 - np.power(beta, counts)) / (1 - beta)
    expected = 1 / effective / (1 / effective).sum() * 5
    config = CrossEntropy(class_weights="balanced", class_balance=beta)
    out = class_weights(config, torch.from_numpy(counts).float(), (slice(0, 5),))
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_balanced_weights_run_from_even_to_inverse():
    even = class_weights(CrossEntropy(class_weights="balanced", class_balance=0), COUNTS, HEADS)
    torch.testing.assert_close(even, torch.ones(11))
    steep = class_weights(CrossEntropy(class_weights="balanced", class_balance=1 - 1e-9), COUNTS, HEADS)
    inverse = class_weights(CrossEntropy(class_weights="inverse"), COUNTS, HEADS)
    for h in HEADS:
        torch.testing.assert_close(steep[h], inverse[h] / inverse[h].mean(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", ["inverse", "balanced"])
def test_each_head_has_weights_of_its_own_and_a_class_without_rows_counts_as_one(kind):
    config = CrossEntropy(class_weights=kind)
    together = class_weights(config, COUNTS, HEADS)
    for h in HEADS:
        alone = class_weights(config, COUNTS[h], (slice(0, h.stop - h.start),))
        assert torch.equal(together[h], alone)
    assert together[3] == together[2]
    assert together.isfinite().all()


def test_weighted_cross_entropy_on_labels_is_pytorchs():
    logits, labels, weights = some_logits(), some_labels(), torch.rand(K, generator=generator())
    expected = F.cross_entropy(logits, labels, weight=weights, reduction="none")
    config = CrossEntropy(given_weights=tuple(weights.tolist()))
    torch.testing.assert_close(loss_per_sample(logits, one_hot(labels), config, ONE_HEAD), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_a_mixed_target_weighs_what_its_classes_weigh_on_average(name):
    logits, targets = some_logits(), soft_targets()
    counts = torch.tensor([1.0, 2, 4, 8, 16, 32, 64])
    make = variants(Loss)[name]
    weights = class_weights(make(class_weights="inverse"), counts, ONE_HEAD)
    plain = loss_per_sample(logits, targets, make(label_smoothing=0.1), ONE_HEAD)
    config = make(label_smoothing=0.1, class_weights="inverse")
    out = loss_per_sample(logits, targets, config, ONE_HEAD, class_counts=counts)
    torch.testing.assert_close(out, plain * (targets @ weights))


def test_class_weights_without_counts_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="class_counts"):
        loss_per_sample(some_logits(), soft_targets(), CrossEntropy(class_weights="inverse"), ONE_HEAD)


# ── the hardest of a batch ───────────────────────────────────────────────────────────────────────────


def ohem(**knobs):
    return CrossEntropy(reduction="ohem", **knobs)


@pytest.mark.parametrize(("rate", "kept"), [(1.0, 12), (0.5, 6), (0.3, 4), (0.01, 1)])
def test_ohem_is_the_mean_of_the_largest(rate, kept):
    losses = torch.rand(B, generator=generator())
    expected = losses.sort(descending=True).values[:kept].mean()
    torch.testing.assert_close(reduce(losses, rate), expected)


def test_reduction_is_the_mean_by_default():
    losses = torch.rand(B, generator=generator())
    assert torch.equal(reduce(losses, None), losses.mean())


def test_ohems_rate_falls_as_in_the_bengali_recipe():
    config = ohem()
    assert [config.ohem_rate_at(e, 210) for e in (0, 29, 30)] == [1, 1, 1]
    assert config.ohem_rate_at(45, 210) == pytest.approx(math.exp(-15 / 60))
    assert config.ohem_rate_at(55, 210) == pytest.approx(math.exp(-25 / 60))
    assert config.ohem_rate_at(56, 210) == 0.65 == config.ohem_rate_at(500, 210)
    assert reduce(torch.arange(100.0), config.ohem_rate_at(45, 210)).item() == pytest.approx(
        99 - (78 - 1) / 2
    )


def test_ohem_reaches_only_the_samples_it_keeps_and_keeps_a_nan():
    losses = torch.arange(4.0, requires_grad=True)
    reduce(losses, 0.5).backward()
    assert losses.grad.tolist() == [0, 0, 0.5, 0.5]
    broken = torch.tensor([1.0, float("nan"), 2, 3])
    assert reduce(broken, 0.5).isnan()


# ── distillation ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_distillation_is_kl_of_both_logits_over_the_temperature(temperature):
    student, teacher = some_logits(), torch.randn(B, K)
    expected = temperature**2 * stats.entropy(
        (teacher.double() / temperature).softmax(1), (student.double() / temperature).softmax(1), axis=1
    )
    out = distillation(student, teacher.softmax(1), temperature)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_the_teacher_takes_its_part_of_every_head(name):
    logits, targets = three_heads()
    teacher = torch.cat([torch.rand(B, h.stop - h.start).softmax(1) for h in HEADS], 1)
    make = variants(Loss)[name]
    plain = loss_per_sample(logits, targets, make(), HEADS)
    soft = torch.stack([distillation(logits[:, h], teacher[:, h], 3.0) for h in HEADS]).mean(0)
    config = make(teacher="t.npz", teacher_weight=0.4, temperature=3)
    out = loss_per_sample(logits, targets, config, HEADS, teacher=teacher)
    torch.testing.assert_close(out, 0.6 * plain + 0.4 * soft)


def test_a_certain_teacher_and_extreme_logits_give_finite_gradients():
    logits = some_logits(scale=200).requires_grad_()
    out = distillation(logits, one_hot(some_labels()), 2.0)
    out.sum().backward()
    assert out.isfinite().all() and (out >= 0).all() and logits.grad.isfinite().all()


# ── center loss and consistency ──────────────────────────────────────────────────────────────────────


def test_center_loss_on_labels_is_the_papers_formula():
    features, centers, labels = torch.randn(B, 5), torch.randn(K, 5), some_labels()
    expected = (features - centers[labels]).square().sum(1) / 2
    torch.testing.assert_close(center_loss(features, one_hot(labels), centers), expected)


def test_center_loss_on_mixed_targets_and_its_gradients_are_the_sum_over_classes():
    targets = soft_targets()

    def value_and_gradients(loss):
        features = torch.randn(B, 5, generator=generator()).requires_grad_()
        centers = torch.randn(K, 5, generator=generator()).requires_grad_()
        out = loss(features, targets, centers)
        return [out, *torch.autograd.grad(out.sum(), (features, centers))]

    def written_out(f, q, c):
        return (q * (f[:, None] - c[None]).square().sum(2)).sum(1) / 2

    for ours, theirs in zip(value_and_gradients(center_loss), value_and_gradients(written_out), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_center_loss_is_float32_under_autocast():
    features, centers, targets = torch.randn(B, 5), torch.randn(K, 5), soft_targets()
    plain = center_loss(features, targets, centers)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(center_loss(features, targets, centers), plain)


def test_consistency_is_the_jensen_shannon_divergence_of_three():
    p = [some_logits(), torch.randn(B, K), torch.randn(B, K)]
    proba = np.stack([x.double().softmax(1).numpy() for x in p])
    expected = stats.entropy(proba.mean(0), axis=1) - stats.entropy(proba, axis=2).mean(0)
    np.testing.assert_allclose(jsd_consistency(*p, ONE_HEAD), expected, rtol=1e-4, atol=1e-6)
    assert jsd_consistency(p[0], p[0], p[0], ONE_HEAD).abs().max() < 1e-6


def test_consistency_at_extreme_logits_is_bounded_with_finite_gradients():
    views = [x.requires_grad_() for x in (200 * torch.eye(3)).unbind(0)]
    out = jsd_consistency(*(v[None] for v in views), (slice(0, 3),))
    assert out.item() == pytest.approx(math.log(3))
    out.sum().backward()
    assert all(v.grad.isfinite().all() for v in views)


def test_consistency_is_the_mean_over_heads():
    views = [torch.randn(B, 11) for _ in range(3)]
    alone = [jsd_consistency(*(v[:, h] for v in views), (slice(0, h.stop - h.start),)) for h in HEADS]
    torch.testing.assert_close(jsd_consistency(*views, HEADS), sum(alone) / 3)


# ── together ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "fmix"])
@pytest.mark.parametrize("name", LOSSES)
def test_mixing_goes_with_ohem_class_weights_teacher_and_center_loss(name, kind):
    """Each sample of a mixed batch has one loss: a teacher's columns are mixed as the targets are."""
    config = variants(Loss)[name](
        reduction="ohem", ohem_rate=0.5, ohem_decay=0, class_weights="inverse",
        teacher="t.npz", teacher_weight=0.5, center_weight=0.1,
    )  # fmt: skip
    params = mix.draw(Mix(**{f"{kind}_alpha": 1.0}), B, 8, 8, generator())
    targets, teacher = one_hot(some_labels()), torch.rand(B, K).softmax(1)
    _, columns = mix.apply(torch.rand(B, 1, 8, 8), torch.cat([targets, teacher], 1), params)
    mixed, mixed_teacher = columns.split(K, 1)
    torch.testing.assert_close(
        mixed_teacher, params.own * teacher + (1 - params.own) * teacher[params.partner]
    )
    logits, features = some_logits().requires_grad_(), torch.randn(B, 5, requires_grad=True)
    each = loss_per_sample(
        logits, mixed, config, ONE_HEAD, class_counts=targets.sum(0), teacher=mixed_teacher
    ) + config.center_weight * center_loss(features, mixed, torch.randn(K, 5))
    total = reduce(each, kept_fraction(config, 0, 8, mixed=True))
    torch.testing.assert_close(total, each.sort().values[6:].mean())
    total.backward()
    touched = logits.grad.abs().sum(1) > 0
    assert logits.grad.isfinite().all() and features.grad.isfinite().all()
    assert touched.sum() == 6 and torch.equal(touched, features.grad.abs().sum(1) > 0)


# ── what is refused, and with what words ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"head_weights": (0, 0)}, "head_weights: one of them must be more than 0"),
        ({"head_weights": (1, -1)}, "greater than or equal to 0"),
        ({"given_weights": (0,)}, "given_weights: one of them must be more than 0"),
        ({"given_weights": (1, 2), "class_weights": "inverse"}, "exclude each other"),
        ({"reduction": "ohem", "ohem_rate": 0.5}, "ohem_min 0.65 is more than ohem_rate 0.5"),
        ({"teacher_weight": 0.5}, "teacher_weight needs a teacher"),
        ({"class_balance": 1.0}, "less than 1"),
    ],
    ids=str,
)
def test_knobs_that_contradict_each_other_are_refused(knobs, words):
    with pytest.raises(ValidationError, match=words):
        CrossEntropy(**knobs)


def test_weights_that_do_not_fit_the_data_are_refused_in_words():
    with pytest.raises(ConfigError, match=r"head_weights: 2 weights, but the data have 3 target columns"):
        check_heads(CrossEntropy(head_weights=(1, 2)), HEADS)
    with pytest.raises(ConfigError, match=r"given_weights: 3 weights, but the data have 11 classes"):
        check_heads(CrossEntropy(given_weights=(1, 2, 3)), HEADS)
    check_heads(CrossEntropy(head_weights=(1, 2, 3), given_weights=(1,) * 11), HEADS)
    check_heads(CrossEntropy(), HEADS)


def test_a_missing_teacher_is_refused_where_a_study_is_read_alone(tmp_path):
    raw = {"loss": {"name": "focal", "teacher": str(tmp_path / "none.npz"), "teacher_weight": 0.5}}
    with pytest.raises(ConfigError, match=r"a\.yaml: trial\.loss\.teacher: there is no such file"):
        validate(TrialConfig, raw, "a.yaml: trial")
    assert TrialConfig.model_validate(raw).loss.teacher_weight == 0.5


OHEM = {"name": "cross_entropy", "reduction": "ohem"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"loss": OHEM}, r"would keep every sample in all 8 epochs"),
        ({"loss": OHEM, "train": {"epochs": 31}}, r"in all 31 epochs .* falls only after epoch 30"),
        ({"mix": {"mixup_alpha": 1}, "augment": {"augmix_jsd": 12}}, "use one of them"),
        ({"augment": {"augmix_jsd": 12, "backend": "albumentations"}}, "set augment.backend: batched"),
        ({"mix": {"mixup_alpha": 1, "off_last": 8}}, r"mix\.off_last 8 leaves none of the 8 epochs"),
    ],
    ids=str,
)
def test_what_would_do_nothing_in_a_trial_is_refused(raw, words):
    with pytest.raises(ConfigError, match=words):
        validate(TrialConfig, raw, "a.yaml: trial")


@pytest.mark.parametrize(
    "raw",
    [
        {"loss": OHEM, "train": {"epochs": 32}},
        {"loss": {**OHEM, "ohem_rate": 0.8}},
        {"loss": {**OHEM, "ohem_rate": 0.8}, "mix": {"mixup_alpha": 0.4, "off_last": 2}},
        {"loss": {**OHEM, "ohem_decay": 0}},  # the end of a searched range of rates
        {"mix": {"off_last": 8}},
    ],
    ids=str,
)
def test_what_does_something_is_allowed(raw):
    validate(TrialConfig, raw, "a.yaml: trial")
