"""trial.train: the training loop."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from tune_digits.config.part import BelowOne, Part, Positive, cite
from tune_digits.errors import ConfigError


def _as_tuple(value: Any) -> Any:
    """One number stands for a list of one."""
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


class GivenNumbers(Part):
    """Fixed numbers that images are normalised by, on the scale 0..1."""

    mean: Annotated[tuple[float, ...], BeforeValidator(_as_tuple)] = Field(
        description="subtracted: a number for each channel, or one for all"
    )
    std: Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple)] = Field(
        description="divided by after that: a number for each channel, or one for all"
    )

    @model_validator(mode="after")
    def _of_the_same_channels(self) -> GivenNumbers:
        if not (self.mean and self.std) or len({len(self.mean), len(self.std)} - {1}) > 1:
            raise ValueError(
                f"mean has {len(self.mean)} numbers and std {len(self.std)}: give one for each channel, or one for all"
            )
        return self


Named = Literal["none", "dataset", "image", "imagenet"]
Normalization = Annotated[
    Annotated[Named, Tag("name")] | Annotated[GivenNumbers, Tag("numbers")],
    # without it a mistake in one form is reported as a mistake in both
    Discriminator(lambda value: "numbers" if isinstance(value, dict | GivenNumbers) else "name"),
]


class Train(Part):
    """The training loop: how long, in which batches and precision, and which weights are kept."""

    epochs: int = Field(8, ge=1, le=10_000, description="passes over the training rows")
    batch_size: int = Field(128, ge=2, le=65_536, description="samples per weight update")
    drop_last: bool = Field(
        False,
        description="true: every batch has exactly batch_size samples, and those of the shuffled rows that fill no"
        " batch are left out of this epoch (Keras's steps_per_epoch = rows // batch_size); false: the rows are divided"
        " into batches whose sizes differ by one at most",
    )
    ema_decay: BelowOne = Field(
        0.0,
        description="decay per update of the exponential moving average of the weights (EMA), which is then validated"
        " and kept instead of the weights; 0: off",
    )
    swa_start: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="fraction of the training after which the weights at the ends of epochs are averaged, each with"
        " the same weight (SWA); with ema_decay the moving averages are averaged; 1: off",
        json_schema_extra=cite("arXiv:1803.05407"),
    )
    keep: Literal["last", "best_score", "best_loss"] = Field(
        "last",
        description="whose weights a training is left with, is scored with and predicts with: those of its last"
        " epoch, of the epoch with the best validation score, or of the one with the least validation loss; the first"
        " of equally good ones. The best of many epochs looks better than it is: scores become optimistic, those of"
        " the confirmation too, which validates every epoch for it. Where all rows are trained on (ensemble) nothing"
        " is validated, and the last weights are kept",
    )
    early_stopping: int = Field(
        0,
        ge=0,
        description="a training ends after this many epochs in a row without a better value of what early_stopping_on"
        " names; 0: off; the ensemble trains all epochs, since nothing is validated there, and so does the"
        " confirmation with keep: last",
    )
    early_stopping_on: Literal["score", "loss"] = Field(
        "score", description="what early_stopping watches: validation score or validation loss"
    )
    valid_loss: Literal["cross_entropy", "trained"] = Field(
        "cross_entropy",
        description="the validation loss that is reported, and that keep: best_loss, early_stopping_on: loss and the"
        " plateau schedule watch: plain cross-entropy, by which trials with different losses compare, or the loss that"
        " is trained, with its label smoothing and weights of heads and classes, but without OHEM, teacher, center"
        " loss and mixing (val_loss in Keras)",
    )
    snapshots: bool = Field(
        False,
        description="keep the weights at the end of each cycle of the schedule as additional members of the ensemble;"
        " where the training ends within a cycle, its last weights are no member, because the learning rate is high"
        " there",
        json_schema_extra=cite("arXiv:1704.00109"),
    )
    normalize: Normalization = Field(
        "dataset",
        description="none: pixels in 0..1; dataset: minus the mean and divided by the standard deviation of the"
        " training images, per channel; image: minus the mean and divided by the standard deviation of each image;"
        " imagenet: the mean and standard deviation of ImageNet's three channels; {mean: 0.5, std: 0.25}: these"
        " numbers, or lists with one for each channel",
    )
    channels: Literal["as_is", "repeat"] = Field(
        "as_is",
        description="repeat: the network sees the one channel of grey images three times, as networks trained on colour"
        " images need it; augmentation and mixing still work on one",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="number format of matrix products and convolutions (autocast); losses are always computed in"
        " float32; auto: bfloat16 on a GPU, float32 on a CPU; float16: for GPUs without bfloat16 (P100, T4), with"
        " scaled gradients: an update whose gradients overflow is left out, though it counts as a step of the"
        " schedule",
        json_schema_extra=cite("arXiv:1710.03740"),
    )
    layout: Literal["auto", "channels_last", "contiguous"] = Field(
        "auto",
        description="memory order of images and weights; auto: channels_last, which is faster on CPU and GPU",
    )
    compile: bool = Field(
        False,
        description="compile the network by torch.compile, which takes 10 s or more at the start: for long trainings"
        " on a GPU",
    )

    def seen_channels(self, channels: int) -> int:
        """How many channels a network sees of images with `channels`.

        Raises ConfigError where such images cannot be repeated to three, or `normalize` has numbers for others.
        """
        repeat = self.channels == "repeat"
        if repeat and channels != 1:
            raise ConfigError(
                f"train.channels: repeat makes three channels of one, but these images have {channels}: leave it out"
            )
        seen = 3 if repeat else channels
        if self.normalize == "imagenet" and seen != 3:
            raise ConfigError(
                f"train.normalize: imagenet has numbers for three channels, but these images have {seen}: set "
                "train.channels: repeat, or give numbers, such as {mean: 0.449, std: 0.226}, the means of ImageNet's"
            )
        if isinstance(self.normalize, GivenNumbers):
            given = max(len(self.normalize.mean), len(self.normalize.std))
            if given not in (1, seen):
                raise ConfigError(
                    f"train.normalize has numbers for {given} channels, but the network sees {seen}: give {seen} or one"
                )
        return seen
