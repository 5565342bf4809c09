"""trial.train: the training loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tune_digits.config.part import BelowOne, Part, cite


class Train(Part):
    """The training loop: how long, in which batches and precision, and which weights are kept."""

    epochs: int = Field(8, ge=1, le=10_000, description="passes over the training rows")
    batch_size: int = Field(128, ge=2, le=65_536, description="samples per weight update")
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
    early_stopping: int = Field(
        0,
        ge=0,
        description="a training ends after this many epochs without a better validation score, and keeps its last"
        " weights; 0: off; confirmation and ensemble train all epochs, since nothing is validated there",
    )
    snapshots: bool = Field(
        False,
        description="keep the weights at the end of each cycle of the schedule as additional members of the ensemble",
        json_schema_extra=cite("arXiv:1704.00109"),
    )
    normalize: Literal["none", "dataset", "image"] = Field(
        "dataset",
        description="none: pixels in 0..1; dataset: minus the mean and divided by the standard deviation of the"
        " training images, per channel; image: minus the mean and divided by the standard deviation of each image",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 autocast on a GPU, float32 on a CPU"
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
