import numpy as np
import pytest
from data_files import write_idx

from tune_digits.config import Cv
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task, load_unlabelled
from tune_digits.data.readers import torchvision_sets


def sample(folder):
    write_idx(folder / "KMNIST" / "raw", end=".gz")
    return torchvision_sets.Options(path="torchvision:KMNIST", root=str(folder))


def load(path, root, **data):
    return load_task(Auto(path=path, root=None if root is None else str(root), **data), Cv())


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_the_same_as_torchvision(tmp_path, make_idx, name):
    from torchvision import datasets

    make_idx(tmp_path / name / "raw")
    task = load(f"torchvision:{name}", tmp_path)
    assert task.describe() == f"{name}: 30 train, 6 test, 3x3x1, 3 classes"
    for part, train in ((task.train, True), (task.test, False)):
        theirs = getattr(datasets, name)(tmp_path, train=train, download=False)
        np.testing.assert_array_equal(part.images[:, 0], theirs.data.numpy())
        np.testing.assert_array_equal(part.labels[:, 0], theirs.targets.numpy())


def test_part_of_emnist(tmp_path, make_idx):
    from torchvision import datasets

    make_idx(tmp_path / "EMNIST" / "raw", "emnist-letters-", side=(4, 2))
    make_idx(tmp_path / "EMNIST" / "raw", "emnist-digits-", side=(3, 2))
    task = load("torchvision:EMNIST/letters", tmp_path, transpose=True)
    assert task.describe() == "EMNIST-letters: 30 train, 6 test, 2x4x1, 3 classes"
    theirs = datasets.EMNIST(tmp_path, split="letters", train=True, download=False)
    np.testing.assert_array_equal(task.train.images[:, 0], theirs.data.numpy().swapaxes(1, 2))


def test_nothing_is_downloaded(tmp_path, make_idx, refuses):
    refuses(
        lambda: load("torchvision:KMNIST", tmp_path),
        *(
            "KMNIST is not there",
            "nothing is downloaded",
            "train-images-idx3-ubyte",
            str(tmp_path / "KMNIST" / "raw"),
        ),
    )
    raw = make_idx(tmp_path / "EMNIST" / "raw", "emnist-digits-")
    (raw / "emnist-digits-train-labels-idx1-ubyte").unlink()
    refuses(
        lambda: load("torchvision:EMNIST/digits", tmp_path),
        "Put emnist-digits-train-labels-idx1-ubyte (plain",
    )
    refuses(
        lambda: load("torchvision:EMNIST/mnist", tmp_path), "emnist-mnist-train-images-idx3-ubyte", str(raw)
    )


def test_names(tmp_path, refuses):
    refuses(lambda: load("torchvision:CIFAR10", tmp_path), "'CIFAR10'", "MNIST, FashionMNIST, KMNIST, EMNIST")
    refuses(lambda: load("torchvision:EMNIST", tmp_path), "EMNIST/PART", "balanced")
    refuses(lambda: load("torchvision:EMNIST/roman", tmp_path), "EMNIST/PART")
    refuses(lambda: load("torchvision:MNIST/letters", tmp_path), "no part 'letters'")
    refuses(lambda: load("torchvision:MNIST", None), "needs data.root")
    refuses(lambda: load_task(torchvision_sets.Options(path=str(tmp_path)), Cv()), "torchvision:NAME")
    refuses(lambda: load_unlabelled("torchvision:MNIST", (1, 3, 3)), "t10k-images-idx3-ubyte")


def test_compressed_files_will_do(tmp_path, make_idx):
    make_idx(tmp_path / "MNIST" / "raw", end=".gz")
    assert len(load("torchvision:MNIST", tmp_path).train) == 30
