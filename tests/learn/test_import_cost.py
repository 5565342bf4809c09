"""What a process that trains must not import: each of these takes seconds of a core in every worker."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import numpy as np, torch
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn import device, fit
images = np.zeros((40, 1, 8, 8), np.uint8)
proba = np.eye(2, dtype=np.float32)[np.arange(40) % 2]
rows = np.arange(40)
for name in ("sgd", "adam", "adamw", "radam", "nadam", "rmsprop"):
    config = TrialConfig.model_validate({
        "model": {"name": "lean_cnn", "width": 4, "depth": 1}, "optimizer": {"name": name, "lr": 1e-3},
        "train": {"epochs": 1, "ema_decay": 0.9}, "augment": {"rotate": 10}, "mix": {"mixup_alpha": 1.0},
    })
    state = fit.start_training(config, images, rows, 2, 0, 0, torch.device("cpu"))
    data = device.to_device(images, proba, (Target("label", ("a", "b")),), torch.device("cpu"))
    list(fit.fit(state, config, data, torch.arange(40), torch.arange(10), seed=0))
print(*(m for m in ("torch._dynamo", "torch._inductor", "torchvision", "pandas", "albumentations", "ray",
                    "pytorch_optimizer", "kornia", "timm", "scipy") if m in sys.modules))
"""


def test_a_training_imports_neither_the_compiler_nor_what_it_does_not_use() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []
