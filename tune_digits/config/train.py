"""trial.train: the loop itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tune_digits.config.part import BelowOne, Part


class Train(Part):
    epochs: int = Field(8, ge=1, le=10_000, description="passes over the training part")
    batch_size: int = Field(128, ge=2, le=65_536, description="samples per weight update")
    ema_decay: BelowOne = Field(0.0, description="decay per update of the averaged weights; 0 = off")
    swa_start: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="part of the training after which the weights are averaged equally over the ends of epochs"
        " (SWA, arXiv:1803.05407), with ema_decay its average; 1 = off",
    )
    early_stopping: int = Field(
        0,
        ge=0,
        description="epochs without a better validation score after which a training ends, with its last weights;"
        " 0 = off; confirmation and ensemble train all epochs, since nothing is validated there",
    )
    snapshots: bool = Field(
        False,
        description="keep the weights at the end of each cycle of the schedule as members of the ensemble"
        " (arXiv:1704.00109)",
    )
    normalize: Literal["none", "dataset", "image"] = Field(
        "dataset",
        description="pixels 0..1 as they are, less the training images' mean over their deviation per channel,"
        " or less each image's own mean over its own deviation",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 autocast on a GPU, float32 on a CPU"
    )
    layout: Literal["auto", "channels_last", "contiguous"] = Field(
        "auto",
        description="order in memory of images and weights; auto: channels_last, faster on CPU and GPU",
    )
    compile: bool = Field(
        False,
        description="torch.compile the network, which takes 10 s and more at first: for long trainings on a GPU",
    )
