"""One image file as an array, by Pillow: all its formats and modes, upright, at full depth, resized by area."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from scipy import sparse

FITS = ("stretch", "crop", "pad")
# Formats that Pillow identifies but cannot decode (WMF: only on Windows).
UNDECODABLE = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
# Formats whose further frames are no animation: a phone's extra pictures, layers.
STILL = {"MPO", "PSD"}
DEEP_COLOUR = ("LA;16", "RGB;16", "RGBA;16", "RGBX;16")  # rawmodes of which Pillow keeps the high bytes
BITS_PER_SAMPLE, MAX_SAMPLE_VALUE = 258, 281  # tags of TIFF
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
KINDS = {
    b"": "is empty",
    b"version https://git-lfs": "is a Git LFS pointer and not the file itself: run `git lfs pull`",
    b"\x93NUMPY": "is a single array (.npy)",
    b"PK\x03\x04": "is a zip archive",
    b"\x1f\x8b": "is a gzip archive",
    b"\x89HDF": "is an HDF5 file",
    b"\x80": "is a pickle",
    b"<": "is text, such as HTML or XML",
}


@dataclass(frozen=True)
class Look:
    """How images are to look.

    Args:
        channels: 1, grey, or 3, colour.
        size: (H, W) in pixels. None: as they are.
        background: the value in [0, 1] behind transparent pixels and around padded images, or three values.
        fit: what happens to an image of other proportions: `"stretch"`, `"crop"` its centre, or `"pad"` it.

    Example:
        >>> Look(channels=3, size=(28, 28)).background
        1.0
    """

    channels: int = 1
    size: tuple[int, int] | None = None
    background: float | tuple[float, float, float] = 1.0
    fit: str = "stretch"


@dataclass(frozen=True)
class Picture:
    """The pixels of one file, before they are divided by the value that becomes 1.

    Args:
        pixels: float32 (H, W, C).
        kind: `"bytes"`; `"deep"`, of up to 16 bits, whose depth the whole data set tells; `"wide"`, numbers that need
            a `scale`; or `"known"`, whose `unit` the file tells.
        unit: the value that becomes 1, or a first guess.
        largest: the largest value of the visible pixels.
        lowest: the lowest one, at most 0.
        blended: whether the background, which is a share of `unit`, went into the pixels.
        animated: whether the file has further frames.

    Example:
        >>> Picture(np.zeros((1, 1, 1), "float32"), "bytes", 255.0, 0.0).blended
        False
    """

    pixels: np.ndarray
    kind: str
    unit: float
    largest: float
    lowest: float = 0.0
    blended: bool = False
    animated: bool = False


def is_image(path: Path) -> bool:
    """Return whether a file is an image: by its extension, or, if its name has none, by its content.

    Example:
        >>> is_image(Path("a/photo.JPG")), is_image(Path("labels.csv"))
        (True, False)
    """
    if path.suffix:
        return path.suffix.lower() in _extensions()
    try:
        with Image.open(path) as image:
            return image.format not in UNDECODABLE
    except (OSError, SyntaxError, ValueError):
        return False


@lru_cache(maxsize=1)
def _extensions():
    Image.init()
    readable = set(Image.OPEN) - UNDECODABLE
    return {extension for extension, name in Image.registered_extensions().items() if name in readable}


def seems_to_be(content: bytes) -> str:
    """Return what the first bytes of a file tell of its kind, as the end of a sentence, or an empty text.

    Example:
        >>> seems_to_be(b"version https://git-lfs.github.com/spec/v1")
        'is a Git LFS pointer and not the file itself: run `git lfs pull`'
    """
    if not content:
        return KINDS[b""]
    if known := next((said for head, said in KINDS.items() if head and content.startswith(head)), ""):
        return known
    printable = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in content[:64])
    return f"is text that begins with {content[:40].decode()!r}" if printable else ""


def read_image(content: bytes, path: str | os.PathLike, look: Look, unit: float | None = None) -> Picture:
    """Return the pixels of an image file: its first frame, upright, on the background, in the wanted size.

    Colours become grey by 0.299 R + 0.587 G + 0.114 B. A smaller image is made of means over areas, a larger one by
    bilinear interpolation.

    Args:
        content: the content of the file.
        path: the path of the file, for messages.
        look: channels, size, background and fit.
        unit: the value that becomes 1. Default: 255 for bytes, 65,535 for deeper ones, or as the file tells.

    Raises:
        ValueError: if Pillow cannot read the file; the message has the path and Pillow's reason.

    Example:
        >>> stream = BytesIO()
        >>> Image.new("CMYK", (4, 2), (0, 0, 0, 0)).save(stream, "TIFF")
        >>> picture = read_image(stream.getvalue(), "a.tif", Look(size=(1, 2)))
        >>> picture.pixels.squeeze().tolist(), picture.unit
        ([255.0, 255.0], 255.0)
    """
    try:
        picture, alpha, turn = _decoded(content, look)
    except Exception as error:  # Pillow's plug-ins raise errors of many kinds
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"it {seems_to_be(content) or 'is of no kind that Pillow knows'}"
            if content.startswith(TIFF):
                reason = "Pillow reads no TIFF file of this kind. Save images of several bands as arrays (.npz)"
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error
    if np.isinf([picture.lowest, picture.largest]).any():
        raise ValueError(f"{path} has infinite pixels; for missing ones, use NaN")
    if unit is not None:
        picture = replace(picture, unit=unit)
    elif alpha is not None and picture.kind == "bytes":
        picture = replace(picture, largest=_largest_of_drawing(picture, alpha))
    pixels, blended = _upright(picture.pixels, turn), False
    if pixels.shape[2] != look.channels:
        pixels = grey(pixels) if look.channels == 1 else np.repeat(pixels, 3, axis=2)
    ground = np.asarray(look.background, "float32") * np.float32(picture.unit)
    if alpha is not None:
        alpha = _upright(alpha, turn)[..., None]
        pixels, blended = ground + alpha * (pixels - ground), True
    if look.size is not None and look.size != pixels.shape[:2]:
        blended = blended or look.fit == "pad"
        pixels = _fitted(pixels, look.size, look.fit, ground)
    return replace(picture, pixels=pixels, blended=blended)


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) as grey values (..., 1), 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Example:
        >>> grey(np.array([[3.0, 3.0, 3.0]])).tolist()
        [[3.0]]
    """
    red, green, blue = (pixels[..., i : i + 1] for i in range(3))
    # In this form, equal colours keep their value to the last bit.
    return green + pixels.dtype.type(0.299) * (red - green) + pixels.dtype.type(0.114) * (blue - green)


def _decoded(content: bytes, look: Look) -> tuple[Picture, np.ndarray | None, int]:
    """Return a file's pixels as stored, alpha (H, W) if some pixel is transparent, and EXIF's orientation."""
    with Image.open(BytesIO(content)) as image:
        rawmode, known = _rawmode(image), _known_unit(image)
        if image.format == "JPEG" and look.size:
            image.draft(None, (2 * max(look.size),) * 2)  # decodes a large photograph at 1/2, 1/4 or 1/8 of its size
        animated = image.format not in STILL and bool(getattr(image, "is_animated", False))
        image.load()
        turn = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        if rawmode in DEEP_COLOUR:
            pixels, alpha, kind = *_deep_colour(content, image), "deep"
        elif image.mode[0] in "IF":
            pixels, kind = np.asarray(image).astype("float32")[..., None], "wide" if image.mode == "F" else "deep"
            if image.format == "PPM" and known:
                pixels = np.rint(pixels * np.float32(known / 65535))  # undo Pillow's scaling to 16 bits
            hidden = image.info.get("transparency")
            alpha = None if hidden is None else (pixels[..., 0] != hidden).astype("float32")
        else:
            pixels, alpha, kind = *_bytes(image, look.channels), "bytes"
    if alpha is not None and alpha.min(initial=1) == 1:
        alpha = None
    seen = pixels if alpha is None else pixels[alpha > 0]
    low, largest = (float(extreme.reduce(seen, axis=None, initial=0)) for extreme in (np.fmin, np.fmax))
    if kind == "wide" and low >= 0 and largest <= 1:
        kind, known = "known", 1.0
    elif kind == "deep":
        kind = "wide" if low < 0 or largest > 65535 else "known" if known else "deep"
    unit = known if kind == "known" and known else 255.0 if kind == "bytes" else 65535.0
    return Picture(pixels, kind, unit, largest, low, animated=animated), alpha, turn


def _rawmode(image: Any) -> str:
    """Return how pixels lie in the file, such as "RGB;16", without the byte order."""
    argument = image.tile[0].args if image.tile else ""
    rawmode = argument[0] if isinstance(argument, tuple) else argument
    return rawmode[:-1] if isinstance(rawmode, str) and rawmode[-4:-1] == ";16" else ""


def _known_unit(image: Any) -> float | None:
    """Return the value that stands for white where a file of more than eight bits tells it, else None."""
    tags = getattr(image, "tag_v2", {})
    if image.format == "PPM":
        return float(image.tile[0].args[1]) if image.mode == "I" and image.tile[0].codec_name == "ppm" else None
    bits = (tags.get(BITS_PER_SAMPLE) or (16,))[0]
    top = tags.get(MAX_SAMPLE_VALUE) or 2**bits - 1
    top = top[0] if isinstance(top, tuple) else top
    return float(top) if 255 < top < 65535 else None


def _deep_colour(content: bytes, high: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colours of 16 bits: Pillow keeps the high bytes, and the low ones if it is told the other byte order."""
    with Image.open(BytesIO(content)) as low:
        if low.tile[0].args == "LA;16B":  # as four bytes a pixel, because Pillow has no other byte order of it
            low.tile = [tile._replace(args="RGBA") for tile in low.tile]
            parts = np.asarray(low).astype("float32")
            values = 256 * parts[..., 0::2] + parts[..., 1::2]
        else:
            low.tile = [tile._replace(args=_swapped(tile.args)) for tile in low.tile]
            values = 256 * np.asarray(high).astype("float32") + np.asarray(low)
    hidden = high.info.get("transparency")
    if values.shape[2] in (2, 4):
        return values[..., :-1], values[..., -1] / np.float32(65535)
    return values, None if hidden is None else (values != np.array(hidden)).any(axis=2).astype("float32")


def _swapped(args: Any) -> Any:
    if isinstance(args, tuple):
        return _swapped(args[0]), *args[1:]
    order = {"N": sys.byteorder[0].upper()}.get(args[-1], args[-1])
    return args[:-1] + {"L": "B", "B": "L"}[order]


def _bytes(image: Any, channels: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return pixels of one byte a channel, (H, W, 1) or (H, W, 3), and alpha (H, W) in [0, 1]."""
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    if image.mode == "La":
        image = image.convert("LA")
    # By way of colours, because Pillow converts few modes to grey.
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("1", "L"):
        image = image.convert("RGB")
    opaque = "L" if channels == 1 else "RGB"
    values = np.asarray(image.convert(f"{opaque}A" if image.mode == "RGBA" else opaque)).astype("float32")
    if image.mode == "RGBA":
        return values[..., :-1], values[..., -1] / np.float32(255)
    return values.reshape(*values.shape[:2], -1), None


def _largest_of_drawing(picture: Picture, alpha: np.ndarray) -> float:
    """Return what a partly transparent image tells of the range of its data set.

    A dark drawing uses the whole range, because its ground is white. Opaque pixels of 0 and of 1 make a mask. One dark
    ink alone, 0 or 1, tells nothing, 0: the other images decide.
    """
    if picture.largest > 1:
        return 255.0
    opaque = picture.pixels[alpha == 1]
    return float(opaque.size > 0 and opaque.min() == 0 and opaque.max() == 1)


def _upright(array: np.ndarray, turn: int) -> np.ndarray:
    """Return an array (H, W, ...) turned as EXIF's orientation, 1 to 8, tells viewers to show it."""
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    return array[:, ::-1] if turn in (2, 3, 6, 7) else array


def _fitted(pixels: np.ndarray, size: tuple[int, int], fit: str, ground: np.ndarray) -> np.ndarray:
    lengths = pixels.shape[:2]
    if fit == "pad":
        factor = max(length / wanted for length, wanted in zip(lengths, size))
        inner = [min(wanted, max(1, round(length / factor))) for length, wanted in zip(lengths, size)]
        top, left = ((wanted - length) // 2 for wanted, length in zip(size, inner))
        padded = np.empty((*size, pixels.shape[2]), "float32")
        padded[:] = ground
        padded[top : top + inner[0], left : left + inner[1]] = _resized(pixels, inner, lengths)
        return padded
    if fit == "crop":
        factor = min(length / wanted for length, wanted in zip(lengths, size))
        return _resized(pixels, size, [factor * wanted for wanted in size])
    return _resized(pixels, size, lengths)


def _resized(pixels: np.ndarray, size: Sequence[int], kept: Sequence[float]) -> np.ndarray:
    """Return the centre of images (H, W, C), of `kept` pixels, in another size."""
    low, high = np.fmin.reduce(pixels, axis=None), np.fmax.reduce(pixels, axis=None)
    for axis in (0, 1):
        length = pixels.shape[axis]
        if (length, kept[axis]) != (size[axis], size[axis]):
            lines = np.moveaxis(pixels, axis, 0)
            made = _weights(length, size[axis], kept[axis]) @ lines.reshape(length, -1)
            pixels = np.moveaxis(made.reshape(size[axis], *lines.shape[1:]), 0, axis)
    return np.clip(pixels, low, high)  # because rounded weights may add up to a little more than 1


@lru_cache(maxsize=256)
def _weights(length: int, wanted: int, kept: float) -> Any:
    """Return the weights (wanted, length) of pixels in a line: means over areas to shrink it, else bilinear ones.

    The matrix is sparse, so that a missing pixel (NaN) reaches only the pixels that it is part of.
    """
    step, start = kept / wanted, (length - kept) / 2
    if step >= 1:
        edges = start + step * np.arange(wanted + 1)
        first, last = np.floor(edges[:-1] + 1e-9).astype(int), np.ceil(edges[1:] - 1e-9).astype(int)
        rows = np.repeat(np.arange(wanted), last - first)
        columns = np.concatenate([np.arange(a, b) for a, b in zip(first, last)])
        overlap = np.minimum(edges[rows + 1], columns + 1) - np.maximum(edges[rows], columns)
        entries = overlap / step
    else:
        centres = np.clip(start + step * (np.arange(wanted) + 0.5) - 0.5, 0, length - 1)
        left = np.minimum(centres.astype(int), max(length - 2, 0))
        rows = np.repeat(np.arange(wanted), 2)
        columns = np.stack([left, np.minimum(left + 1, length - 1)], axis=1).ravel()
        entries = np.stack([1 - (centres - left), centres - left], axis=1).ravel()
        rows, columns, entries = (part[entries > 0] for part in (rows, columns, entries))
    return sparse.csr_array((entries.astype("float32"), (rows, columns)), shape=(wanted, length))
