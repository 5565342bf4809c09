"""The whole vote as one file for other programs: ONNX or TorchScript, normalisation and test-time shifts included."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tune_digits.disk import replacing
from tune_digits.ensemble.members import Manifest, load_member
from tune_digits.ensemble.vote import TIE, Ballot
from tune_digits.errors import RunError
from tune_digits.learn.predict import SHIFTS, shifted, softmax_heads

NAMES = {"onnx": "vote.onnx", "torchscript": "vote.torchscript.pt"}
RULES = ("soft", "weighted", "greedy", "hard")


class Vote(nn.Module):
    """All members and their vote: uint8 images (N, C, H, W) -> probabilities float32 (N, K), each head's sum is 1."""

    def __init__(self, members: list[nn.Module], heads: tuple[slice, ...], ballot: Ballot, tta: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.heads, self.hard, self.tta = heads, ballot.rule == "hard", tta
        alike = ((1 / len(members),) * len(members),) * len(heads)
        self.weights = ballot.weights or alike
        self.factors = torch.tensor(ballot.offsets).exp().tolist()

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.float() / 255
        proba = torch.stack([self._member(member, pixels) for member in self.members])
        parts = []
        for weights, head in zip(self.weights, self.heads, strict=True):
            own = proba[:, :, head]
            shares = own.new_tensor(weights)[:, None, None]
            voted = (shares * own).sum(0)
            if self.hard:
                first = nn.functional.one_hot(own.argmax(2), own.shape[2]).to(own.dtype)
                # the tie goes to the larger mean, as `hard_vote` has it
                voted = ((shares * first).sum(0) + TIE * voted) / (1 + TIE)
            if self.factors:
                voted = voted * own.new_tensor(self.factors[head])
                voted = voted / voted.sum(1, keepdim=True)
            parts.append(voted)
        return torch.cat(parts, 1)

    def _member(self, member: nn.Module, pixels: Tensor) -> Tensor:
        views = [
            softmax_heads(member(shifted(pixels, dy, dx)).float(), self.heads)
            for dy, dx in SHIFTS[: self.tta]
        ]
        return torch.stack(views).mean(0)


def load_vote(folder: Path, manifest: Manifest) -> Vote:
    """The saved ensemble of `folder` as one network on the CPU. Raises RunError for a vote that is no network."""
    if manifest.tta_strength is not None:
        raise RunError(
            f"{folder}: views drawn from the augmentation cannot be exported; leave tta_strength out"
        )
    if manifest.ballot.rule not in RULES:
        raise RunError(
            f"{folder}: a {manifest.ballot.rule} vote cannot be exported; use one of {', '.join(RULES)}"
        )
    members = [load_member(folder / name, manifest, torch.device("cpu"))[0] for name in manifest.members]
    return Vote(members, manifest.heads, manifest.ballot, manifest.tta).eval()


def export(folder: Path, manifest: Manifest, form: str) -> Path:
    """Write the vote into the ensemble's folder and return the file. form: of NAMES.

    ONNX: input `images` uint8 (N, C, H, W), output `probabilities` float32 (N, K), any N. Raises RunError where the
    packages for it are missing, or a network has an operation that the form has not.
    """
    path = folder / NAMES[form]
    vote = load_vote(folder, manifest)
    example = torch.zeros((2, *manifest.shape), dtype=torch.uint8)
    try:
        with replacing(path) as temporary, warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of converters, about themselves
            WRITERS[form](vote, example, temporary)
    except ImportError as error:
        raise RunError(
            f"{form}: the package {error.name} is missing; install it with: pip install 'tune_digits[onnx]'"
        ) from None
    return path


def _onnx(vote: Vote, example: Tensor, path: Path) -> None:
    for name in ("onnx", "onnxscript"):
        importlib.import_module(name)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        torch.onnx.export(
            vote,
            (example,),
            str(path),
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes={"images": {0: torch.export.Dim("n", min=1)}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    finally:
        logger.setLevel(level)


def _torchscript(vote: Vote, example: Tensor, path: Path) -> None:
    torch.jit.trace(vote, example).save(str(path))  # type: ignore[no-untyped-call]  # it has no types


WRITERS: dict[str, Callable[[Vote, Tensor, Path], None]] = {"onnx": _onnx, "torchscript": _torchscript}
