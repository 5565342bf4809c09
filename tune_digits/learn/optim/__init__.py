"""Optimizers, with weight decay only where it regularises, and learning rates that may differ by depth and kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tune_digits.config.optimizer import (
    Adam,
    AdamW,
    Lamb,
    Muon,
    NAdam,
    Optimizer,
    Over9000,
    RAdam,
    RmsProp,
    Sgd,
)
from tune_digits.learn.models.classifier import ImageClassifier
from tune_digits.learn.optim.keras import KerasAdam, KerasRMSprop, KerasSGD
from tune_digits.learn.optim.ralamb import Ralamb
from tune_digits.learn.optim.wrappers import CountInState, Lookahead
from tune_digits.patches import torch_optimizers

Groups = list[dict[str, Any]]

# one kernel for all parameters of a step; on one core it was 2 to 5 times as fast as the loop over parameters
FUSED_DEVICES = ("cpu", "cuda")


def sgd(groups: Groups, config: Sgd, fused: bool | None) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    if config.arithmetic == "keras":
        return KerasSGD(groups, config.lr, config.momentum, config.nesterov)
    return torch_optimizers.SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=fused
    )


def adam(groups: Groups, config: Adam, fused: bool | None) -> torch.optim.Optimizer:
    """Adam (arXiv:1412.6980); weight decay is added to the gradient (Keras's arithmetic: decoupled)."""
    kind = torch_optimizers.Adam if config.arithmetic == "torch" else KerasAdam
    return kind(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=fused)


def adamw(groups: Groups, config: AdamW, fused: bool | None) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay, scaled by the learning rate (arXiv:1711.05101)."""
    kind = torch_optimizers.AdamW if config.arithmetic == "torch" else KerasAdam
    return kind(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=fused)


def radam(groups: Groups, config: RAdam, fused: bool | None) -> torch.optim.Optimizer:
    """Rectified Adam (arXiv:1908.03265). With lookahead_k and centralize it is Ranger. No fused kernel exists."""
    return torch_optimizers.RAdam(
        groups,
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        decoupled_weight_decay=True,
    )


def nadam(groups: Groups, config: NAdam, fused: bool | None) -> torch.optim.Optimizer:
    """Adam with Nesterov's momentum (Dozat 2016). No fused kernel exists."""
    return torch_optimizers.NAdam(
        groups,
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        momentum_decay=config.momentum_decay,
        decoupled_weight_decay=True,
    )


def lamb(groups: Groups, config: Lamb, fused: bool | None) -> torch.optim.Optimizer:
    """LAMB (arXiv:1904.00962) of pytorch-optimizer, which corrects the bias of the first moment alone."""
    # over a second to import: only for those who use it
    from pytorch_optimizer import Lamb

    return CountInState(Lamb(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps))


def over9000(groups: Groups, config: Over9000, fused: bool | None) -> torch.optim.Optimizer:
    """RAdam with a trust ratio; with lookahead_k, its default, it is Over9000. No fused kernel exists."""
    return Ralamb(groups, config.lr, (config.beta1, config.beta2), config.eps)


def rmsprop(groups: Groups, config: RmsProp, fused: bool | None) -> torch.optim.Optimizer:
    """RMSprop (Hinton's lecture 6e, 2012). No fused kernel exists; PyTorch's own choice is the fastest."""
    if config.arithmetic == "keras":
        return KerasRMSprop(groups, config.lr, config.alpha, config.momentum, config.eps)
    return torch_optimizers.RMSprop(
        groups, lr=config.lr, alpha=config.alpha, momentum=config.momentum, eps=config.eps
    )


def muon(groups: Groups, config: Muon, fused: bool | None) -> torch.optim.Optimizer:
    """Muon (arXiv:2502.16982) of pytorch-optimizer: torch.optim.Muon takes matrices alone, no convolutions."""
    from pytorch_optimizer import Muon

    return CountInState(
        Muon(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            adamw_betas=(config.beta1, config.beta2),
        )
    )


OPTIMIZERS: dict[str, Callable[[Groups, Any, bool | None], torch.optim.Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "radam": radam,
    "nadam": nadam,
    "lamb": lamb,
    "over9000": over9000,
    "rmsprop": rmsprop,
    "muon": muon,
}


def lr_scales(model: ImageClassifier, config: Optimizer) -> dict[str, float]:
    """Each parameter's factor of the learning rate, by name.

    A layer is a module with a weight of two or more dimensions, and the norms that come after it. Layers are counted
    back from the classifier, which is 0, in the order in which the model registers them.
    """
    heads = {id(p) for layer in model.classifiers for p in layer.parameters()}
    layers, seen, index, indices = 0, "", 0, []
    for name, parameter in model.named_parameters():
        module = name.rpartition(".")[0]
        if id(parameter) in heads:
            index, seen = -1, module
        elif parameter.ndim >= 2 and module != seen:
            index, seen, layers = layers, module, layers + 1
        indices.append(index)
    scales = {}
    for (name, parameter), at in zip(model.named_parameters(), indices, strict=True):
        scale = config.layer_decay ** (0 if at < 0 else layers - at)
        if name.rpartition(".")[2] == "bias":
            scale *= config.bias_lr
        if id(parameter) in heads:
            scale *= config.head_lr
        scales[name] = scale
    return scales


def parameter_groups(model: ImageClassifier, config: Optimizer) -> Groups:
    """The trainable parameters by weight decay and by `lr_scale`, their factor of the learning rate.

    Norms and biases (all vectors) are not decayed, unless `decay_all`: a norm's scale and a bias hold no capacity
    worth shrinking (airbench and timm spare them too). For Muon the groups say also which parameters it updates
    (`use_muon`): the weights of two and more dimensions, except the classifier's.
    """
    scales = lr_scales(model, config)
    heads = {id(layer.weight) for layer in model.classifiers}
    groups: dict[tuple[bool, bool, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = config.decay_all or parameter.ndim >= 2
        orthogonal = isinstance(config, Muon) and parameter.ndim >= 2 and id(parameter) not in heads
        scale = scales[name]
        if isinstance(config, Muon) and not orthogonal:
            scale *= config.adam_lr / config.lr
        group = {"params": [], "weight_decay": config.weight_decay if decays else 0.0, "lr_scale": scale}
        if isinstance(config, Muon):
            group["use_muon"] = orthogonal
        groups.setdefault((decays, orthogonal, scale), group)["params"].append(parameter)
    # decayed ones first
    return [groups[key] for key in sorted(groups, reverse=True)]


def centralize(groups: Groups, outputs: int = 0) -> None:
    """Subtract from every output's gradient its mean over the inputs (arXiv:2004.01461), in place; vectors stay.

    outputs: the dimension of the outputs; 1 where the parameters of several networks are stacked.
    """
    for group in groups:
        for p in group["params"]:
            if p.grad is not None and p.ndim >= outputs + 2:
                p.grad -= p.grad.mean(dim=tuple(range(outputs + 1, p.ndim)), keepdim=True)


def build_optimizer(
    model: ImageClassifier, config: Optimizer, stacked: Mapping[str, Tensor] | None = None
) -> torch.optim.Optimizer:
    """The configured optimizer of `model`, which is on its device already; the loop sets the rate of each step.

    Everything it remembers is in its `state`, per parameter, as tensors and numbers. The loop applies clip_norm.
    stacked: by name, the parameters (G, ...) of G networks like `model`; the optimizer then updates these.
    """
    device = next(model.parameters()).device.type
    fused = True if device in FUSED_DEVICES else None
    groups = parameter_groups(model, config)
    if stacked is not None:
        names = {p: name for name, p in model.named_parameters()}
        groups = [{**group, "params": [stacked[names[p]] for p in group["params"]]} for group in groups]
    optimizer = OPTIMIZERS[config.name](groups, config, fused)
    if config.centralize:
        outputs = 0 if stacked is None else 1
        optimizer.register_step_pre_hook(
            lambda optimizer, args, kwargs: centralize(optimizer.param_groups, outputs)
        )
    if config.lookahead_k > 0:
        optimizer = Lookahead(optimizer, config.lookahead_k, config.lookahead_alpha)
    return optimizer


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group for its next step: `lr` times the group's own `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
