"""Where the data lie, and in which format and order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tune_digits.data.dataset import Target
from tune_digits.learn.device import autocast, laid_out, product_dtype, to_device, to_float

TARGETS = (Target("shape", ("a", "b")), Target("tone", ("dark", "light", "none")))


def test_read_only_arrays_are_used_without_a_copy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8), dtype=np.uint8)
    images.flags.writeable = False
    data = to_device(images, np.zeros((7, 5), np.float32), TARGETS, torch.device("cpu"))
    assert data.images.data_ptr() == images.ctypes.data
    assert np.array_equal(data.images.numpy(), images)
    assert data.heads == (slice(0, 2), slice(2, 5))
    assert data.teacher is None


@pytest.mark.parametrize("channels", [1, 3])
def test_layouts_hold_the_same_pixels(channels: int) -> None:
    images = torch.rand(2, channels, 4, 5)
    innermost = laid_out(images, "auto")
    plain = laid_out(innermost, "contiguous")
    assert plain.stride() == (channels * 20, 20, 5, 1)
    assert innermost.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, images)
    assert torch.equal(innermost, images)


def test_bytes_become_numbers_from_0_to_1() -> None:
    images = torch.tensor([[[[0, 51], [102, 255]]]], dtype=torch.uint8)
    for layout in ("auto", "contiguous"):
        out = to_float(images, layout)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out, torch.tensor([[[[0, 0.2], [0.4, 1]]]]))


def test_auto_means_bfloat16_on_a_gpu_alone() -> None:
    devices = torch.device("cpu"), torch.device("cuda")
    assert [product_dtype("auto", d) for d in devices] == [torch.float32, torch.bfloat16]
    for name in ("float32", "bfloat16", "float16"):
        assert [product_dtype(name, d) for d in devices] == [getattr(torch, name)] * 2


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_product_has_the_format_of_the_precision(name: str) -> None:
    with autocast(name, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, name)
