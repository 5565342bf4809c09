import logging
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tune_digits.data.files import decoding, image_files
from tune_digits.data.files.image_files import Conversion, read_image_files
from tune_digits.data.files.progress import telling
from tune_digits.errors import DataError

AS_IS = Conversion(None, None, resize=False)
RNG = np.random.default_rng(0)


def grey(height: int = 6, width: int = 6) -> np.ndarray:
    return RNG.integers(0, 256, (height, width), dtype=np.uint8)


def rgb(height: int = 6, width: int = 6) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray | Image.Image, **options) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def read(folder: Path, *names: str, conversion: Conversion = AS_IS, cache: Path | None = None) -> np.ndarray:
    return read_image_files(folder, names, conversion, cache, folder / "train.csv")


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and has no pixels to speak of."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".webp", ".gif", ".jpg"])
@pytest.mark.parametrize("make", [grey, rgb])
def test_pixels_come_out_as_pillow_has_them(tmp_path, ending, make):
    options = {"lossless": True} if ending == ".webp" else {}
    path = save(tmp_path / f"a{ending}", make(), **options)
    mode = "L" if make is grey and ending != ".webp" else "RGB"  # WebP knows no grey
    with Image.open(path) as image:
        expected = np.asarray(image.convert(mode))
    expected = expected[None] if mode == "L" else expected.transpose(2, 0, 1)
    images = read(tmp_path, path.name)
    assert images.dtype == np.uint8 and images.flags.c_contiguous
    np.testing.assert_array_equal(images, expected[None])


def test_grey_and_colour_together_are_colour_unless_grey_is_asked_for(tmp_path):
    one, three = grey(), rgb()
    save(tmp_path / "1.png", one)
    save(tmp_path / "3.png", three)
    images = read(tmp_path, "1.png", "3.png")
    np.testing.assert_array_equal(images[0], np.stack([one] * 3))
    np.testing.assert_array_equal(images[1], three.transpose(2, 0, 1))
    as_grey = read(tmp_path, "1.png", "3.png", conversion=Conversion(None, 1, resize=False))
    np.testing.assert_array_equal(as_grey[:, 0], [one, np.asarray(Image.fromarray(three).convert("L"))])
    assert read(tmp_path, "1.png").shape == (1, 1, 6, 6)


def test_a_palette_of_greys_is_grey_and_one_of_colours_is_colour(tmp_path):
    pixels = grey()
    image = Image.fromarray(pixels, mode=None).convert("P")
    save(tmp_path / "grey.png", image)
    np.testing.assert_array_equal(read(tmp_path, "grey.png")[0, 0], pixels)
    save(tmp_path / "colour.png", Image.fromarray(rgb()).quantize(8))
    assert read(tmp_path, "colour.png").shape[1] == 3


def test_resizing_keeps_the_mean_and_is_what_pillow_does(tmp_path):
    pixels = grey(24, 12)
    save(tmp_path / "a.png", pixels)
    save(tmp_path / "b.png", grey(5, 40))
    images = read(tmp_path, "a.png", "b.png", conversion=Conversion((8, 6), None, resize=True))
    assert images.shape == (2, 1, 8, 6)
    expected = Image.fromarray(pixels).resize((6, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images[0, 0], np.asarray(expected))
    assert abs(images[0].mean() - pixels.mean()) < 5  # a mean over areas, not single pixels picked out


def test_photographs_are_turned_upright(tmp_path, caplog):
    pixels = rgb(4, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    save(tmp_path / "a.png", pixels, exif=exif)
    with caplog.at_level(logging.WARNING, "tune_digits"):
        images = read(tmp_path, "a.png")
    np.testing.assert_array_equal(images[0], np.rot90(pixels, -1).transpose(2, 0, 1))
    assert "1 turned as their EXIF data say, for instance a.png" in caplog.text


def test_odd_forms_are_converted_and_counted(tmp_path, caplog):
    deep = RNG.integers(0, 65536, (6, 6), dtype=np.uint16)
    save(tmp_path / "deep.png", Image.fromarray(deep))
    save(tmp_path / "cmyk.jpg", Image.fromarray(rgb()).convert("CMYK"))
    clear = np.dstack([rgb(), np.full((6, 6), 0, np.uint8)])
    half = np.dstack([np.zeros((6, 6, 3), np.uint8), np.full((6, 6), 128, np.uint8)])
    save(tmp_path / "clear.png", clear)
    save(tmp_path / "half.png", half)
    save(tmp_path / "plain.png", rgb())
    names = ("deep.png", "cmyk.jpg", "clear.png", "half.png", "plain.png")
    for _ in range(2):  # read, and out of the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING, "tune_digits"):
            images = read(tmp_path, *names, cache=tmp_path / "cache")
        (record,) = caplog.records
        said = record.getMessage()
        assert "some of 5 images" in said and "train.csv" in said
        for words in (
            "1 of 16 bits",
            "1 CMYK, for instance cmyk.jpg",
            "2 with an alpha channel (put on white)",
        ):
            assert words in said
    np.testing.assert_array_equal(images[0, 0], np.rint(deep / 257))
    assert (images[2] == 255).all()  # all clear: white paper
    assert (np.abs(images[3].astype(int) - 127) <= 1).all()  # half black on white


def test_kept_copies_follow_the_content_and_the_options(tmp_path, monkeypatch):
    calls = []
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda *a, **how: (calls.append(1), decode(*a, **how))[1])
    save(tmp_path / "a.png", grey())
    cache = tmp_path / "cache"
    first = read(tmp_path, "a.png", cache=cache)
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    os.utime(tmp_path / "b.png", (0, 0))
    np.testing.assert_array_equal(read(tmp_path, "b.png", cache=cache), first)
    assert len(calls) == 1  # neither name nor time matters
    read(tmp_path, "b.png", conversion=Conversion((4, 4), None, resize=True), cache=cache)
    assert len(calls) == 2
    read(tmp_path, "b.png", conversion=Conversion((4, 4), 3, resize=True), cache=cache)
    assert len(calls) == 3
    read(tmp_path, "b.png", cache=cache)
    assert len(calls) == 3
    monkeypatch.setattr(image_files, "READER", "image_files-later")
    read(tmp_path, "b.png", cache=cache)
    assert len(calls) == 4
    pixels = grey()
    save(tmp_path / "b.png", pixels)
    np.testing.assert_array_equal(read(tmp_path, "b.png", cache=cache)[0, 0], pixels)


def test_order_is_that_of_the_names(tmp_path):
    pixels = [grey() for _ in range(40)]
    for i, image in enumerate(pixels):
        save(tmp_path / f"{i}.png", image)
    order = RNG.permutation(40)
    np.testing.assert_array_equal(
        read(tmp_path, *(f"{i}.png" for i in order))[:, 0], [pixels[i] for i in order]
    )


def test_progress_goes_from_nothing_to_all(tmp_path):
    for i in range(600):
        save(tmp_path / f"{i}.png", grey(2, 2))
    told = []
    with telling(lambda name, fraction: told.append((name, fraction))):
        read(tmp_path, *(f"{i}.png" for i in range(600)))
    assert {name for name, _ in told} == {tmp_path.name}
    fractions = [fraction for _, fraction in told]
    # headers first, then pixels, a word for every 256 of each
    assert fractions == sorted(fractions) and fractions[0] == 0 and 0.8 < fractions[-1] < 1 and len(told) == 6


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────


def test_missing_files_are_counted(tmp_path, refuses):
    save(tmp_path / "a.png", grey())
    refuses(
        lambda: read(tmp_path, "a.png", "no.png", "a.png", "nor.png"),
        *("train.csv, row 2", "'no.png' is missing", "1 more of 4", "take the row out"),
    )


def test_paths_out_of_the_folder_are_refused(tmp_path, refuses):
    outside = save(tmp_path / "outside.png", grey())
    folder = tmp_path / "data"
    save(folder / "images" / "a.png", grey())
    (folder / "link.png").symlink_to(outside)
    (folder / "away").symlink_to(tmp_path)
    (folder / "inner.png").symlink_to(folder / "images" / "a.png")
    for name in (
        "../outside.png",
        str(outside),
        "link.png",
        "away/outside.png",
        "images/../../outside.png",
        "/dev/zero",
    ):
        refuses(
            lambda name=name: read(folder, name), "train.csv, row 1", "leads out of the folder", "relative"
        )
    assert len(read(folder, "inner.png", "images/../images/a.png")) == 2
    (tmp_path / "shortcut").symlink_to(folder)  # the folder itself may be a link
    assert len(read(tmp_path / "shortcut", "images/a.png")) == 1
    refuses(lambda: read(folder, "images"), "is not a file but a folder")
    refuses(lambda: read(folder, "a\0.png"), "row 1", "cannot be a path")


def test_damaged_files(tmp_path, refuses):
    (tmp_path / "empty.png").touch()
    refuses(lambda: read(tmp_path, "empty.png"), "row 1", "'empty.png' is empty", "zero bytes")
    content = save(tmp_path / "a.jpg", rgb(64, 64)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    refuses(
        lambda: read(tmp_path, "a.jpg", "cut.jpg"),
        "row 2",
        "damaged or cut short",
        "truncated",
        "Copy it again",
    )
    content = save(tmp_path / "b.png", rgb(64, 64)).read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    refuses(lambda: read(tmp_path, "cut.png"), "row 1", "damaged or cut short")
    (tmp_path / "text.png").write_text("<html>not found</html>")
    refuses(lambda: read(tmp_path, "text.png"), "row 1", "not an image of a known form", "PNG")
    save(tmp_path / "float.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    refuses(lambda: read(tmp_path, "float.tif"), "row 1", "32 bits")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, refuses, monkeypatch):
    def loaded(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(decoding, "_plain", loaded)
    for side in (7_100, 9_900, 100_000):  # above our limit, and above Pillow's warning and error
        (tmp_path / "bomb.png").write_bytes(png_header(side, side))
        for conversion in (AS_IS, Conversion((8, 8), 1, resize=True)):
            refuses(
                lambda conversion=conversion: read(tmp_path, "bomb.png", conversion=conversion),
                *("row 1", "more than 50,000,000 pixels", "is not decoded"),
            )


def test_too_much_for_the_memory_is_said_before_it_is_asked_for(tmp_path, refuses, monkeypatch):
    monkeypatch.setattr(image_files, "MEMORY_FRACTION", 1e-3)
    (tmp_path / "a.png").write_bytes(png_header(7_000, 7_000))
    refuses(
        lambda: read(tmp_path, *["a.png"] * 2_000),
        "2,000 images of 7000x7000",
        "98 GB",
        "smaller data.size",
    )


def test_several_sizes_need_data_size(tmp_path, refuses):
    save(tmp_path / "a.png", grey())
    save(tmp_path / "b.png", grey(7, 6))
    refuses(
        lambda: read(tmp_path, "a.png", "b.png"), "of several sizes", "row 2", "7x6", "6x6", "Give data.size"
    )
    refuses(
        lambda: read(tmp_path, "b.png", conversion=Conversion((6, 6), 1, resize=False)),
        "7x6 pixels, but 6x6",
        "data.size",
    )


SEEDS = []
for _form, _options in (("PNG", {}), ("JPEG", {}), ("GIF", {}), ("WEBP", {}), ("TIFF", {}), ("BMP", {})):
    _buffer = BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(_buffer, _form, **_options)
    SEEDS.append(_buffer.getvalue())


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.data(),
)
def test_whatever_the_bytes_it_is_an_image_or_a_data_error(tmp_path_factory, content, edits, data):
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)))] or content)
    for place, value in edits:
        damaged[place % len(damaged)] = value
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    (folder / "a.png").write_bytes(damaged)
    try:
        images = read(folder, "a.png", conversion=Conversion((4, 4), None, resize=True))
    except DataError as error:
        assert "row 1" in str(error)
    else:
        assert images.shape[2:] == (4, 4)
