"""How strong and how probable each operation is in a configuration."""

from __future__ import annotations

from tune_digits.config import Augment

MAGNITUDES = (
    "rotate", "shift", "zoom", "shear", "elastic", "grid_distortion", "optical_distortion", "perspective", "crop",
    "hflip", "vflip", "brightness", "contrast", "gamma", "saturation", "hue", "blur", "noise", "cutout", "grid_mask",
)  # fmt: skip
COLOURS = ("saturation", "hue")  # only for images with three channels

RANDAUGMENT_TOP = 30
# What magnitude 30 means in RandAugment (arXiv:1909.13719, with AutoAugment's ranges), for the operations that exist
# here. The paper's brightness is a factor 1 +- 0.9, here it is added; zoom, elastic and gamma are not in the paper, and
# cutout follows UDA (arXiv:1904.12848). Amounts are uniform up to the magnitude; the paper always takes all of it.
RANDAUGMENT = {
    "rotate": 30.0, "shift": 0.45, "shear": 17.0, "zoom": 0.5, "elastic": 0.06,
    "brightness": 0.45, "contrast": 0.9, "gamma": 0.9, "saturation": 0.9, "cutout": 0.5,
}  # fmt: skip


def magnitudes(config: Augment, channels: int = 3) -> dict[str, float]:
    """Every magnitude times `strength`, at most the upper bound that the configuration has for the magnitude itself.

    0 is an operation that is off: its magnitude or probability is 0, or it needs colours and the images have none.
    """
    found = {name: min(config.strength * _own(config, name), _LARGEST[name]) for name in MAGNITUDES}
    for name in found:
        if probability(config, name) == 0 or (name in COLOURS and channels != 3):
            found[name] = 0.0
    return found


def probability(config: Augment, name: str) -> float:
    """The probability of the operation for a sample that is augmented and, with RandAugment, has it among its n.

    In a group it is that of an operation which the group has taken: 1, but 0 where the group is off.
    """
    for group in config.groups.values():
        if name in group.of:
            return 1.0 if group.p else 0.0
    own: float | None = getattr(config.ps, name)
    return config.each_p if own is None else own


def is_identity(config: Augment, channels: int = 3) -> bool:
    """True if no image can change under this configuration."""
    if config.p == 0:
        return True
    if config.pipeline is not None or config.autoaugment != "none":
        return False
    return not any(magnitudes(config, channels).values())


def crop_margin(magnitude: float, height: int, width: int) -> tuple[int, int]:
    """The margins of a crop in whole pixels: (above and below, left and right)."""
    return round(magnitude * height), round(magnitude * width)


def _own(config: Augment, name: str) -> float:
    own: float = getattr(config, name)
    if own == 0 and (config.randaugment_n or config.augmix):
        return config.randaugment_magnitude / RANDAUGMENT_TOP * RANDAUGMENT.get(name, 0.0)
    return own


def largest(name: str) -> float:
    """The upper bound of a field of the configuration."""
    bounds: list[float] = [b.le for b in Augment.model_fields[name].metadata if hasattr(b, "le")]
    return bounds[0]


_LARGEST = {name: largest(name) for name in MAGNITUDES}
