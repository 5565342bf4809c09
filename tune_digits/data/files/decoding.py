"""One image file's bytes as an array: decoded safely, upright, in 8 bits, grey or RGB, resized.

Nothing is taken on trust: a file is refused that is damaged or cut short, or whose header announces more pixels than
any small-image task has (before they are decoded). H W are height and width, C channels.
"""

from __future__ import annotations

import os
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MOST_PIXELS = 50_000_000  # of one file: a photograph of 50 megapixels
MOST_BYTES = 200_000_000  # of one file
GREY = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")


class Unreadable(Exception):
    """What is wrong with one file, and what to do: the end of a sentence that begins with its name."""


def load_decoders() -> None:
    """Import Pillow's decoders, which threads that decode would otherwise do side by side."""
    Image.init()


def read_content(path: str) -> bytes:
    """The bytes of one file. Raises Unreadable where it cannot be read, is too large or empty."""
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise Unreadable(f"is larger than {MOST_BYTES / 1e6:,.0f} MB, and is not read.")
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}.") from error
    if not content:
        raise Unreadable("is empty: it has zero bytes. Copy it again, or leave it out.")
    return content


def read_header(content: bytes) -> tuple[tuple[int, int], bool]:
    """(height, width) as a person sees it, and whether there is colour. Raises Unreadable."""
    image = _open(content)
    try:
        # of a PNG without EXIF data in front Pillow would decode all to look behind the pixels
        known = image.format != "PNG" or "exif" in image.info
        turned = known and image.getexif().get(0x0112) in (5, 6, 7, 8)
        palette = image.getpalette() if image.mode == "P" else None
    except Exception as error:
        raise _damaged(error) from error
    size = (image.width, image.height) if turned else (image.height, image.width)
    if palette is not None:
        return size, not (palette[0::3] == palette[1::3] == palette[2::3])
    return size, image.mode not in GREY


def decode(content: bytes, size: tuple[int, int], channels: int, resize: bool) -> tuple[np.ndarray, str]:
    """The image as uint8 (C, H, W) of `size` (H, W), and what had to be converted, in words (or '').

    An image of another size is resized where `resize`. Raises Unreadable where not, and for damaged images.
    """
    image = _open(content)
    height, width = size
    try:
        image, note = _plain(image, content)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            if not resize:
                raise Unreadable(
                    f"has {image.height}x{image.width} pixels, but {height}x{width} are expected. Give data.size to "
                    f"resize all images."
                )
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    except Unreadable:
        raise
    except Exception as error:
        raise _damaged(error) from error
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), note


def _open(content: bytes) -> Image.Image:
    """The image, not decoded yet, of a size that may be decoded."""
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
        pixels = image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        pixels = MOST_PIXELS + 1
    except UnidentifiedImageError as error:
        raise Unreadable(f"is not an image of a known form ({', '.join(FORMATS)}), or is damaged.") from error
    except Exception as error:  # what decoders raise on damaged bytes is documented nowhere
        raise _damaged(error) from error
    if pixels > MOST_PIXELS:
        raise Unreadable(
            f"says in its header that it has more than {MOST_PIXELS:,} pixels, and is not decoded. Make it smaller, "
            f"or leave it out."
        )
    return image


def _damaged(error: Exception) -> Unreadable:
    cause = f"{error}" or type(error).__name__
    return Unreadable(f"is damaged or cut short ({cause[:120]}). Copy it again, or leave it out.")


def _plain(image: Image.Image, content: bytes) -> tuple[Image.Image, str]:
    """The image in 8 bits, grey or RGB, without transparency, upright; and what was converted."""
    image.load()
    notes = []
    deep_png = image.format == "PNG" and content[24] == 16
    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or image.getexif().get(0x0112, 1) != 1:
        notes.append("turned as their EXIF data say")
    image = turned
    if image.mode.startswith("I;16") or (image.mode == "I" and deep_png):
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
        deep_png = True
    elif image.mode in ("I", "F"):
        raise Unreadable("has 32 bits per pixel, without saying what is white. Save it with 8 or 16 bits.")
    if deep_png:
        notes.append("of 16 bits")
    if image.mode == "CMYK":
        notes.append("CMYK")
    if image.has_transparency_data:
        notes.append("with an alpha channel (put on white)")
        grey = image.mode == "LA"
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        image = paper.convert("L" if grey else "RGB")
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in GREY else "RGB")
    return image, ", ".join(notes)
