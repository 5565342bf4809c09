"""Initial weights taken from another network, as far as names and shapes fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tune_digits.errors import ConfigError

# what may stand before a weight's name, outermost first: wrappers of other programs, then our own modules
PREFIXES = ("_orig_mod.", "module.", "model.", "network.", "body.")


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was taken from given tensors, and what was left out.

    taken: names of the model's tensors that were replaced; summed: those of them whose colours were summed; missing:
    the model's tensors that no given one has the name of; unexpected: given ones that the model has no name for;
    other_shape: given ones whose shape is not the model's.
    """

    taken: tuple[str, ...]
    summed: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    other_shape: tuple[str, ...]

    def in_words(self) -> str:
        """What was not taken as it is, in words; '' where everything was.

        >>> Transfer(("a.weight",), ("a.weight",), ("b.weight",), (), ("c.weight", "c.bias")).in_words()
        'summed over the colours: a.weight; not in the file: b.weight; of another shape: c.weight, c.bias'
        """
        groups = {
            "summed over the colours": self.summed,
            "not in the file": self.missing,
            "not in this network": self.unexpected,
            "of another shape": self.other_shape,
        }
        return "; ".join(f"{words}: {', '.join(names)}" for words, names in groups.items() if names)


def bare(name: str) -> str:
    """The name as the network itself has it.

    >>> bare("module.network.fc.weight")
    'fc.weight'
    """
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def load_matching(model: nn.Module, tensors: Mapping[str, Tensor]) -> Transfer:
    """Copy into `model`, in place, the tensors of equal name (prefixes aside) and shape.

    Where the first convolution takes one channel and the given one takes several, these are summed: the network then
    answers to a grey image what the other answers to that image in each of its channels. The normalisation stays the
    model's own: it belongs to its own images. Another number of classes or positions leaves out the layers whose shape
    depends on it. Raises ConfigError where no weight at all fits.
    """
    own = {
        bare(name): (name, t) for name, t in model.state_dict().items() if not name.startswith("normalize.")
    }
    first = next((f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Conv2d)), "")
    taken, summed, unexpected, other_shape = [], [], [], []
    given_names = set()
    for given, tensor in tensors.items():
        if given.startswith("normalize."):
            continue
        given_names.add(bare(given))
        if bare(given) not in own:
            unexpected.append(given)
            continue
        name, target = own[bare(given)]
        if name == first and tensor.ndim == 4 and target.shape[1] == 1 < tensor.shape[1]:
            tensor = tensor.sum(1, keepdim=True)
            summed.append(name)
        if target.shape != tensor.shape:
            other_shape.append(given)
            continue
        with torch.no_grad():
            target.copy_(tensor)
        taken.append(name)
    # a bias or a counter alone may fit by chance
    if not any(dict(own.values())[name].ndim > 1 for name in taken):
        examples = [
            ", ".join(f"{n} {tuple(t.shape)}" for n, t in list(d)[:3])
            for d in (tensors.items(), own.values())
        ]
        raise ConfigError(f"no weight fits this model: given are {examples[0]} ..., it has {examples[1]} ...")
    return Transfer(
        tuple(taken),
        tuple(name for name in summed if name in taken),
        # older files have no counters of batches, which only a momentum of null reads
        tuple(
            n for b, (n, _) in own.items() if b not in given_names and not b.endswith("num_batches_tracked")
        ),
        tuple(unexpected),
        tuple(other_shape),
    )
