"""Views of an image at prediction (test-time augmentation): shifted by a pixel, or drawn from a member's augmentation.

Shape letters: N images, C channels, H W pixels, K class columns of all targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tune_digits.config import Augment, TrialConfig
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    from tune_digits.learn.augment import AugmentParams

# far from what seeds a training
VIEWS = 3_000_017
# what covers a part of an image: it teaches a network to do without it, and shows it nothing
COVERING = ("cutout", "grid_mask")


def softened(config: Augment, strength: float) -> Augment:
    """The configuration's operations at a fraction of their strength, each applied with its own probability.

    All magnitudes and the probabilities of flips are multiplied. Left out are what covers a part of an image,
    AutoAugment's policies, which have no strength, and the mixture of AugMix, of which one chain stays. Raises
    ConfigError for a pipeline of albumentations, which has no strength either.
    """
    if config.pipeline is not None:
        raise ConfigError(
            "ensemble.tta_strength: a member's augmentation is a pipeline of albumentations, which has no strength; "
            "leave tta_strength out for shifts by a pixel, or vote without that member"
        )
    off: dict[str, Any] = dict.fromkeys(COVERING, 0.0)
    off |= {"autoaugment": "none", "augmix": 0, "augmix_jsd": 0.0, "backend": "batched", "p": 1.0}
    if config.augmix and not config.randaugment_n:
        off["randaugment_n"] = 1
    return config.model_copy(update={**off, "strength": config.strength * strength})


def draw_views(config: Augment, count: int, strength: float, shape: tuple[int, ...]) -> list[AugmentParams]:
    """`count` changes, of one image each, drawn from the softened configuration; [] where it changes nothing.

    shape: (C, H, W). Each is meant for all images alike, so that what is said of an image depends on no other image, on
    no batch and on no device.
    """
    import torch

    from tune_digits.learn.augment import draw, is_identity
    from tune_digits.learn.seeds import derive_seed

    channels, height, width = shape
    mild = softened(config, strength)
    if is_identity(mild, channels):
        return []
    seeded = (torch.Generator().manual_seed(derive_seed(VIEWS, view)) for view in range(count))
    return [draw(mild, 1, height, width, generator, channels) for generator in seeded]


def predict_views(
    model: Any,
    config: TrialConfig,
    images: Any,
    heads: tuple[slice, ...],
    tta: int,
    strength: float | None,
) -> np.ndarray:
    """Probabilities float32 (N, K) of uint8 images (N, C, H, W) on the model's device: the mean over `tta` views.

    The first view is the image as it is. The others are shifts by a pixel (tta 9 at most), or with a strength draws of
    the configuration's augmentation at that fraction of its strength. A member that is trained without any sees the
    image as it is alone. Raises ConfigError (`softened`).
    """
    import torch

    from tune_digits.learn.predict import predict_changed, predict_proba

    precision = config.train.precision
    if strength is None or tta == 1:
        return predict_proba(model, images, heads, tta=tta, precision=precision)
    drawn = draw_views(config.augment, tta - 1, strength, tuple(images.shape[1:]))
    plain = predict_proba(model, images, heads, precision=precision)
    if not drawn:
        return plain
    total = torch.from_numpy(plain)
    for params in drawn:
        total = total + torch.from_numpy(
            predict_changed(model, images, heads, params, config.augment.fill, precision=precision)
        )
    return (total / (1 + len(drawn))).numpy()
