"""Layers of another library's network exchanged for others of the same shapes: activations and max-pooling.

Shape letters: B batch, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tune_digits.errors import ConfigError
from tune_digits.learn.models.blocks import ACTIVATIONS, MaxBlurPool

# classes of PyTorch and timm; gates (Sigmoid, Hardsigmoid, Softmax) are none of them
ACTIVATION_CLASSES = frozenset(
    (
        "ReLU ReLU6 LeakyReLU PReLU ELU CELU SELU SiLU Swish Mish HardMish Hardswish HardSwish GELU GELUTanh QuickGELU"
    ).split()
)
# functions that a network may call in place of such a module
ACTIVATION_FUNCTIONS = frozenset(
    "relu relu_ relu6 leaky_relu prelu elu celu selu silu mish hardswish gelu".split()
)


def exchange_activations(network: nn.Module, activation: str, images: Tensor) -> None:
    """Put new modules of `activation` in the place of all modules of ACTIVATION_CLASSES, in place.

    images (B, C, H, W) are sent through once to see which functions the network calls. Raises ConfigError where it
    has no such module, or calls an activation as a function, which cannot be exchanged.
    """
    found = [
        name
        for name, module in network.named_modules(remove_duplicate=False)
        if type(module).__name__ in ACTIVATION_CLASSES
    ]
    for name in found:
        module = ACTIVATIONS[activation]()
        # what the activation takes in may be needed again, where the network's own did not write over it
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.inplace = False
        network.set_submodule(name, module)
    others = sorted(_functions_called(network, images) & ACTIVATION_FUNCTIONS - {activation})
    if others or not found:
        why = f"calls {', '.join(others)} as a function" if others else "has no module of an activation"
        raise ConfigError(
            f"model.activation: {activation} cannot be put into this network, which {why}; leave it out (null)"
        )


def exchange_max_pools(network: nn.Module) -> None:
    """Put a MaxBlurPool in the place of each max-pooling at stride 2, in place. The maps keep their sizes.

    Raises ConfigError where there is none.
    """
    found = [
        (name, module)
        for name, module in network.named_modules(remove_duplicate=False)
        if type(module) is nn.MaxPool2d
        and _pair(module.stride) == (2, 2)
        and _pair(module.dilation) == (1, 1)
    ]
    if not found:
        raise ConfigError(
            "model.blur_pool: this network has no max-pooling at stride 2 (stem: small takes the first one away; "
            "stem: as_is keeps it); use false"
        )
    for name, pool in found:
        blur = MaxBlurPool(_pair(pool.kernel_size), _pair(pool.padding), ceil=pool.ceil_mode)
        network.set_submodule(name, blur)


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _functions_called(network: nn.Module, images: Tensor) -> set[str]:
    """Names of PyTorch's functions that are called in a forward pass without gradients."""
    names: set[str] = set()

    class Noting(TorchFunctionMode):
        def __torch_function__(
            self,
            func: Callable[..., Any],
            types: Sequence[type],
            args: Sequence[Any] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            names.add(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    was = network.training
    with torch.no_grad(), Noting():
        network.eval()(images)
    network.train(was)
    return names
