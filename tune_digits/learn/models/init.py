"""Initial weights, and the settings of BatchNorm, for any network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tune_digits.errors import ConfigError
from tune_digits.learn.models.norm import Fixed

# Keras's RandomUniform, which its name "uniform" means
KERAS_UNIFORM = 0.05
# standard deviation of a standard normal number that lies within -2..2
STD_WITHIN_2 = 0.87962566103423978


def _he(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")


def _keras_he(weight: Tensor) -> None:
    """Keras's he_normal for convolutions: drawn within 2 standard deviations, and as wide as if it were not cut."""
    if weight.ndim < 3:
        nn.init.xavier_uniform_(weight)
        return
    std = (2 / weight[0].numel()) ** 0.5 / STD_WITHIN_2
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


# `init` in the configuration -> what fills the weights of convolutions and dense layers; biases become 0.
# keras: Glorot & Bengio 2010; he: He et al. 2015, arXiv 1502.01852. default leaves all as it is
INITS: dict[str, Callable[[Tensor], object] | None] = {
    "default": None,
    "keras": nn.init.xavier_uniform_,
    "he": _he,
    "keras_he": _keras_he,
}


def initialise(network: nn.Module, init: str) -> None:
    """Fill the weights of convolutions and dense layers as INITS says, in place, from torch's global generator."""
    fill = INITS[init]
    if fill is None:
        return
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            fill(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def set_batchnorm(network: nn.Module, momentum: float, eps: float, gamma: str) -> None:
    """Set these hyper-parameters of every BatchNorm, in place, except of those that are `Fixed`.

    gamma: ones (as the network has it), uniform (-0.05..0.05), or zero_last: 0 in the last BatchNorm of each
    residual branch, so that every block starts as the identity (Goyal et al. 2017, arXiv 1706.02677). Raises
    ConfigError where zero_last finds no residual branch with a BatchNorm.
    """
    for norm in _norms(network):
        if isinstance(norm, Fixed):
            continue
        norm.momentum, norm.eps = momentum, eps
        if gamma == "uniform" and norm.affine:
            nn.init.uniform_(norm.weight, -KERAS_UNIFORM, KERAS_UNIFORM)
    if gamma == "zero_last":
        last = list(_last_norms(network))
        if not last:
            raise ConfigError(
                "bn_gamma_init: zero_last needs residual blocks that end in BatchNorm, and this network has none; "
                "use ones or uniform"
            )
        for norm in last:
            nn.init.zeros_(norm.weight)


def _norms(module: nn.Module) -> Iterator[_BatchNorm]:
    return (m for m in module.modules() if isinstance(m, _BatchNorm))


RESIDUAL_CLASSES = ("BasicBlock", "Bottleneck", "ResBottleneckBlock")
# how torchvision and timm mark a block that adds its input to its output
RESIDUAL_MARKS = ("use_res_connect", "apply_residual", "has_skip")


def _last_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    for block in network.modules():
        if type(block).__name__ in RESIDUAL_CLASSES or any(getattr(block, m, False) for m in RESIDUAL_MARKS):
            branch = [
                c for name, c in block.named_children() if name not in ("downsample", "proj", "shortcut")
            ]
            norms = [norm for child in branch for norm in _norms(child) if norm.affine]
            if norms:
                yield norms[-1]
