"""Hashes of data: whether a result was computed from the data at hand, and what has changed where it was not.

What is hashed are values, not memory: a hash is the same in every process, on every platform, and for an array that
was read from a file or out of the cache.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

LENGTH = 32  # hexadecimal digits of the 64 of a SHA-256: 128 bits, at which two by chance alike do not occur
NAMES = ("images", "labels", "ids", "groups", "targets")  # what `describe_difference` compares row by row


def hash_array(values: np.ndarray | None) -> str:
    """The SHA-256 of an array of numbers or text of any shape, in hexadecimal digits; None has a hash of its own.

    Kind and size of the numbers, shape and order count; byte order and memory layout do not. Text counts as text: how
    many letters its dtype has room for does not matter. Raises TypeError for an array of Python objects.

    >>> hash_array(np.array(["a", "b"])) == hash_array(np.array(["a", "b"], dtype="U9"))
    True
    >>> hash_array(np.array([1, 2], ">i4")) == hash_array(np.array([1, 2], "<i4"))
    True
    >>> hash_array(np.array([1, 2], "i4")) == hash_array(np.array([1, 2], "i8"))
    False
    """
    if values is None:
        return _digest(b"none")
    if values.dtype.kind == "U":
        return _digest(f"text {values.shape} ".encode(), json.dumps(values.tolist()).encode())
    if values.dtype.kind not in "buif":
        raise TypeError(f"an array of the kind {values.dtype} has no hash; numbers and text have")
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return _digest(f"{plain.dtype.name} {plain.shape} ".encode(), plain.data)


def hash_of(value: Any) -> str:
    """The SHA-256 of anything that JSON can write; the order of a mapping's keys does not matter."""
    return _digest(json.dumps(value, sort_keys=True).encode())


def row_hashes(images: np.ndarray) -> np.ndarray:
    """A number for each image of uint8 (N, C, H, W), the same for the same bytes: uint64 (N,).

    BLAKE2b cut to 64 bits: that any two of a million different images share a number has a probability of 3e-8.
    """
    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    digests = (hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def describe_difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What differs between two tasks, in words, from their `Task.digests`; None where nothing does.

    A key that only one of them has was not recorded, and is not compared.

    >>> then = {"rows": 80, "images": "a1", "labels": "b1", "test": "c1"}
    >>> describe_difference(then, {**then, "labels": "b2"})
    'the labels differ, the images are the same'
    >>> describe_difference(then, {**then, "rows": 100, "images": "a2", "labels": "b2", "test": "c2"})
    '80 rows then, 100 now; the test set differs'
    >>> describe_difference(then, dict(then)) is None
    True
    """
    said = []
    shared = [key for key in NAMES if key in then and key in now]
    other = [key for key in shared if then[key] != now[key]]
    if then.get("rows") != now.get("rows") and "rows" in then and "rows" in now:
        said.append(f"{then['rows']:,} rows then, {now['rows']:,} now")
        # of other rows nothing is the same, but for the classes
        other = [key for key in other if key == "targets"]
        shared = other
    if other:
        same = [key for key in shared if key not in other]
        words = f"the {_listed(other)} differ"
        said.append(words + (f", the {_listed(same)} are the same" if same else ""))
    if "test" in then and "test" in now:
        said += _set_differs("test set", then["test"], now["test"])
    if "holdouts" in then and "holdouts" in now:
        for name in dict.fromkeys([*then["holdouts"], *now["holdouts"]]):
            said += _set_differs(f"holdout {name}", then["holdouts"].get(name), now["holdouts"].get(name))
    if "joined" in then and "joined" in now and then["joined"] != now["joined"]:
        counts = [", ".join(f"{name} {rows:,}" for name, rows in d["joined"].items()) for d in (then, now)]
        said.append(f"joined to the training rows: {counts[0] or 'none'} then, {counts[1] or 'none'} now")
    return "; ".join(said) or None


def _set_differs(name: str, then: str | None, now: str | None) -> list[str]:
    if then == now:
        return []
    return [f"the {name} {'is new' if then is None else 'is gone' if now is None else 'differs'}"]


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _digest(*content: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    return digest.hexdigest()[:LENGTH]
