"""trial.train: the training loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tune_digits.config.part import BelowOne, Part, cite


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
    normalize: Literal["none", "dataset", "image"] = Field(
        "dataset",
        description="none: pixels in 0..1; dataset: minus the mean and divided by the standard deviation of the"
        " training images, per channel; image: minus the mean and divided by the standard deviation of each image",
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
