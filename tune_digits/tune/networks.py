"""One trained network in one file: its weights and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_digits import disk
from tune_digits.config import TrialConfig
from tune_digits.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor


def save_network(path: Path, model: Any, config: TrialConfig, facts: dict[str, Any]) -> None:
    """The weights of one network, its configuration, and what else is worth knowing of its training."""
    disk.write_tensors(path, model.state_dict(), {"config": config.model_dump(mode="json"), **facts})


def read_network(path: Path) -> tuple[dict[str, Tensor], TrialConfig]:
    """The weights and the configuration that `save_network` wrote. Raises RunError where the file is damaged."""
    tensors, meta = disk.read_tensors(path)
    try:
        return tensors, TrialConfig.model_validate(meta["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def load_network(
    path: Path, shape: tuple[int, ...], classes: int, device: Any, fits: str
) -> tuple[Any, TrialConfig]:
    """A network ready to predict for images of `shape` (C, H, W), on `device`, and its configuration.

    classes: of all targets together. fits: what the weights should fit, for the message. Raises RunError.
    """
    import torch

    from tune_digits.learn.models import build_model

    tensors, config = read_network(path)
    channels, height, width = shape
    # the weights bring their own normalisation
    blank = (0.0,) * channels, (1.0,) * channels
    model = build_model(
        config.model.without_start(),
        channels,
        height,
        width,
        classes,
        *blank,
        train=config.train,
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(f"{path}: the weights do not fit {fits}: {error}") from None
    return model.to(device).to(memory_format=torch.channels_last).eval(), config
