"""Networks of other libraries, by their names there, and how they are changed for small images."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.util import find_spec
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from tune_digits.config.network import BLUR_POOL, GEM, Activation, AnyNetwork
from tune_digits.config.part import BelowOne, cite


class Listed(AnyNetwork):
    """A network of another library, made for photographs of 224x224."""

    stem: Literal["small", "as_is"] = Field(
        "small",
        description="the first layers: as published (as_is), or with the first strided convolution and max-pooling at"
        " stride 1, for small images",
    )
    input_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="shorter side in pixels that images are resized to; null: only resized where the network needs it",
    )
    dropout: BelowOne = Field(
        0.0, description="probability of dropout before the classifier, besides the network's own"
    )
    bn_before_classifier: bool = Field(
        False,
        description="BatchNorm of the features before the classifier (and before the dropout that stands there)",
    )
    activation: Activation | None = Field(
        None,
        description="activation in place of all modules of the kinds ReLU, SiLU, Hardswish, GELU and the like; gates"
        " (sigmoids) stay; null: the network's own",
        json_schema_extra=cite("Mish: arXiv:1908.08681"),
    )
    blur_pool: bool = Field(
        False,
        description="anti-aliased max-pooling: each max-pooling at stride 2 becomes one at stride 1 and a blur at"
        " stride 2; strided convolutions stay as they are",
        json_schema_extra=BLUR_POOL,
    )
    pooling: Literal["avg", "max", "gem"] = Field(
        "avg",
        description="how the last feature maps become a vector: the network's own pooling (a mean), maximum, or GeM",
        json_schema_extra=GEM,
    )
    bn_gamma_init: Literal["ones", "uniform", "zero_last"] = Field(
        "ones",
        description="BatchNorm's initial scale: the network's own, uniform in -0.05..0.05, or 0 in the last BatchNorm"
        " of each residual branch (zero_last)",
        json_schema_extra=cite("zero_last: arXiv:1706.02677"),
    )


class Torchvision(Listed):
    """Any classification network that torchvision lists; pretrained weights come from a file (`weights`)."""

    source: ClassVar[str] = ""
    name: str = Field(
        "torchvision:resnet18", description="torchvision:NAME, a classification model of torchvision"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        from torchvision import models

        _check_name(
            value, lambda: models.list_models(module=models), "torchvision lists no classification model"
        )
        return value


class Timm(Listed):
    """Any classification network that timm lists; pretrained weights come from a file (`weights`)."""

    source: ClassVar[str] = ""
    name: str = Field(
        "timm:seresnext26d_32x4d", description="timm:NAME, a model of timm (needs the extra 'timm')"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            import timm
        except ImportError:
            raise ValueError("timm is not installed: pip install 'tune_digits[timm]'") from None
        _check_name(value, timm.list_models, "timm lists no model")
        return value


def _check_name(value: str, listed: Callable[[], list[str]], complaint: str) -> None:
    library, _, arch = value.partition(":")
    names = listed()
    if arch not in names:
        near = difflib.get_close_matches(arch, names, 3)
        hint = f"; did you mean {', '.join(f'{library}:{n}' for n in near)}?" if near else ""
        raise ValueError(f"{complaint} '{arch}'{hint}")


def networks_called(name: str) -> list[str]:
    """The networks of torchvision, and of timm where it is installed, that are called `name` or nearly so, as
    `model.name` writes them: `resnet18` -> ['torchvision:resnet18', 'timm:resnet18']."""
    from torchvision import models

    listed = {"torchvision": models.list_models(module=models)}
    if find_spec("timm"):
        import timm

        listed["timm"] = timm.list_models()
    arch = name.rpartition(":")[2]
    near = {library: difflib.get_close_matches(arch, names, 1, 0.8) for library, names in listed.items()}
    return [f"{library}:{match}" for library, matches in near.items() for match in matches]
