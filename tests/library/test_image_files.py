"""An image file of any format and mode that Pillow writes is read as a viewer shows it."""

from io import BytesIO

import bad_input
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageDraw, ImageOps

from dcgmm.datasets.images import Look, read_image

RNG = np.random.default_rng(0)
Image.init()
# EPS needs Ghostscript, and Pillow only writes PALM and PDF. The others write no images of their own.
FORMATS = sorted(set(Image.SAVE) - {"BUFR", "EPS", "GRIB", "HDF5", "PALM", "PDF", "WMF"})
LOSSY = {"AVIF", "JPEG", "JPEG2000", "MPO", "WEBP"}
SLOW = {"AVIF", "ICNS"}
CLIPS = {"AVIF", "GIF", "WEBP"}  # Pillow clips deep values to bytes when it writes these


def read(content, name="a.png", unit=None, **look):
    picture = read_image(content, name, Look(**look), unit)
    return picture.pixels / np.float32(picture.unit)


def saved(image, kind="PNG", **options):
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flat(mode, grey):
    """A flat image of a mode, of a grey value in 0..255; a deep one in the same share of its depth."""
    colour = Image.new("RGB", (16, 16), (grey, grey, grey))
    match mode:
        case "1":
            return Image.new("1", (16, 16), grey >= 128)
        case "I":
            return Image.fromarray(np.full((16, 16), 257 * grey, "int32"))
        case "F":
            return Image.fromarray(np.full((16, 16), grey / 255, "float32"))
        case "I;16" | "I;16L" | "I;16B":
            kind = ">u2" if mode == "I;16B" else "<u2"
            return Image.frombytes(mode, (16, 16), np.full((16, 16), 257 * grey, kind).tobytes())
        case "P":
            return Image.new("L", (16, 16), grey).convert("P")
        case "La":
            return colour.convert("LA").convert("La")
        case "RGBa":
            return colour.convert("RGBA").convert("RGBa")
        case "LAB":
            profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            return ImageCms.profileToProfile(colour, *profiles, outputMode="LAB")
    return colour.convert(mode)


MODES = ["1", "L", "LA", "La", "P", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I;16B", "I"]


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=settings().max_examples // 5)
@given(grey=st.integers(3, 255), channels=st.sampled_from([1, 3]))
def test_every_format_and_mode_keeps_its_grey_value(kind, grey, channels):
    for mode in ("L", "RGBA") if kind in SLOW else (*MODES, "F"):
        deep = mode[0] in "IF"
        if deep and kind in CLIPS:
            continue
        try:
            content = saved(flat(mode, grey), kind)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # Pillow does not write this mode in this format
        # SPIDER stores every mode as floats, in their old range.
        unit = {"I": 65535, "F": 1}.get(mode[0], 255) if kind == "SPIDER" else None
        found = read(content, f"a.{kind}", unit, channels=channels)
        assert found.dtype == np.float32 and found.shape[2] == channels and found.min() >= 0 and found.max() <= 1
        expected = float(grey >= 128) if mode == "1" else grey / 255
        assert abs(found - expected).max() < (0.03 if kind in LOSSY or mode in ("HSV", "LAB") else 0.006), mode


def test_transparency_lies_on_the_background_and_black_strokes_stay_visible():
    page = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    ImageDraw.Draw(page).line((2, 3, 13, 12), (0, 0, 0, 255), 3)
    palette = page.quantize(8)
    keyed = Image.new("L", (16, 16), 9)
    ImageDraw.Draw(keyed).line((2, 3, 13, 12), 0, 3)
    contents = [
        saved(page),
        saved(page.convert("LA")),
        saved(palette),
        saved(keyed, transparency=9),
        saved(page, "WEBP"),
    ]
    for content in contents:
        for channels in (1, 3):
            white, grey = (read(content, channels=channels, background=value) for value in (1.0, 0.5))
            assert white[0, 0, 0] == 1 and abs(white[8, 8]).max() < 0.01
            assert abs(grey[0, 0, 0] - 0.5) < 1e-6 and abs(grey[8, 8]).max() < 0.01
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 51))
    np.testing.assert_allclose(read(saved(half)), 0.8, atol=1e-6)
    coloured = read(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 0))), channels=3, background=(1.0, 0.5, 0.0))
    assert coloured[0, 0].tolist() == [1.0, 0.5, 0.0]
    opaque = read_image(saved(Image.new("RGBA", (4, 4), (9, 9, 9, 255))), "a.png", Look())
    assert not opaque.blended and opaque.largest == 9


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_keep_their_low_byte(channels):
    values = RNG.integers(0, 65536, (5, 7, channels), dtype="uint16")
    if channels in (2, 4):
        values[..., -1] = 65535
    content = tf.io.encode_png(values).numpy()
    colours = values[..., : 1 if channels < 3 else 3]
    found = read(content, channels=colours.shape[2])
    np.testing.assert_array_equal(found, colours.astype("float32") / np.float32(65535))


@pytest.mark.parametrize(
    ("order", "compression"), [("<", None), (">", None), ("<", "tiff_lzw"), ("<", "tiff_adobe_deflate")]
)
def test_deep_tiff_files_keep_their_low_byte_in_both_byte_orders(order, compression):
    values = RNG.integers(0, 65536, (6, 5), dtype="uint16")
    mode = "I;16" if order == "<" else "I;16B"
    image = Image.frombytes(mode, (5, 6), values.astype(f"{order}u2").tobytes())
    np.testing.assert_allclose(read(saved(image, "TIFF", compression=compression))[..., 0], values / 65535, atol=1e-6)


def tiff(values):
    """Return a TIFF file of values (3, 4, C), uint16, in one strip."""
    channels = values.shape[2]
    entries = [  # tag, type, count, value; type 3 is a short, 4 a long
        (256, 4, 1, 4),
        (257, 4, 1, 3),
        (258, 3, channels, 8 + 2 + 12 * 9 + 4),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 12 * 9 + 4 + 2 * channels),
        (277, 3, 1, channels),
        (278, 4, 1, 3),
        (279, 4, 1, values.nbytes),
    ]
    head = b"II*\0" + np.array([8], "<u4").tobytes() + np.array([len(entries)], "<u2").tobytes()
    for tag, kind, count, value in entries:
        head += np.array([tag, kind], "<u2").tobytes() + np.array([count, value], "<u4").tobytes()
    return head + bytes(4) + np.array([16] * channels, "<u2").tobytes() + values.astype("<u2").tobytes()


@bad_input.files()
def test_a_deep_colour_tiff_file_keeps_its_low_byte_and_one_of_many_bands_is_refused():
    values = RNG.integers(0, 65536, (3, 4, 3), dtype="uint16")
    np.testing.assert_array_equal(read(tiff(values), channels=3), values.astype("float32") / np.float32(65535))
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image: .*several bands as arrays \(.npz\)"):
        read(tiff(np.repeat(values, 3, axis=2)))


def test_a_scale_replaces_the_depth_of_drawings_on_transparent_ground():
    mask = Image.new("LA", (4, 4), (1, 128))
    assert read_image(saved(mask), "a.png", Look(), unit=1.0).largest == 1


def test_a_file_that_tells_its_depth_is_scaled_by_it():
    pgm = b"P5 2 1 4095 " + np.array([0, 4095], ">u2").tobytes()
    picture = read_image(pgm, "a.pgm", Look())
    assert (picture.kind, picture.unit, picture.pixels.ravel().tolist()) == ("known", 4095.0, [0.0, 4095.0])
    full = b"P5 2 1 65535 " + np.array([0, 4095], ">u2").tobytes()
    assert read_image(full, "a.pgm", Look()).kind == "deep"


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_photographs_are_upright(turn, kind):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    pixels = np.zeros((24, 16), "uint8")
    pixels[:8, :8], pixels[8:16, 8:] = 255, 128
    image = Image.fromarray(pixels)
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(image, kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(saved(image, "PNG", exif=exif))))
    np.testing.assert_allclose(read(content)[..., 0], np.asarray(upright) / 255, atol=0.03)


@given(
    offset=st.integers(0, 268), size=st.sampled_from([28, 27, 64, 140]), fit=st.sampled_from(["stretch", "crop", "pad"])
)
def test_thin_lines_do_not_vanish(offset, size, fit):
    page = np.zeros((280, 280), "uint8")
    page[:, offset : offset + 2] = 255
    found = read(saved(Image.fromarray(page)), size=(size, size), fit=fit)
    assert found.max() >= 0.9 * 2 * size / 280 / 2
    assert found.mean() == pytest.approx(2 / 280, abs=1e-5)


@given(st.tuples(*[st.integers(1, 40)] * 4), st.sampled_from(["stretch", "crop", "pad"]))
def test_any_size_becomes_any_other_within_the_range(sizes, fit):
    pixels = np.random.default_rng(sizes).integers(0, 256, sizes[:2], dtype="uint8")
    found = read(saved(Image.fromarray(pixels)), size=sizes[2:], fit=fit)
    assert found.shape == (*sizes[2:], 1) and found.min() >= pixels.min() / 255 - 1e-6
    if fit != "pad":
        assert found.max() <= pixels.max() / 255 + 1e-6
    flat_image = read(saved(Image.new("L", sizes[:2], 100)), size=sizes[2:], fit=fit, background=100 / 255)
    np.testing.assert_allclose(flat_image, 100 / 255, atol=1e-6)


def test_an_image_of_other_proportions_is_stretched_cropped_or_padded():
    left = np.repeat(np.r_[np.zeros(4), np.full(4, 255)].astype("uint8")[None], 4, 0)  # 4x8, its right half is white
    content = saved(Image.fromarray(left))
    assert read(content, size=(4, 4)).squeeze()[0].tolist() == [0, 0, 1, 1]
    assert read(content, size=(4, 4), fit="crop").squeeze()[0].tolist() == [0, 0, 1, 1]
    assert read(content, size=(2, 2), fit="crop").squeeze().tolist() == [[0, 1], [0, 1]]
    padded = read(content, size=(8, 8), fit="pad", background=0.5).squeeze()
    assert padded[0].tolist() == [0.5] * 8 and padded[4].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_large_photograph_is_decoded_smaller_and_looks_the_same():
    ramp = np.linspace(0, 255, 2048).astype("uint8")[None].repeat(1024, 0)
    image = Image.fromarray(ramp)
    jpeg, png = (read(saved(image, kind), size=(16, 32)) for kind in ("JPEG", "PNG"))
    np.testing.assert_allclose(jpeg, png, atol=0.01)


def test_missing_pixels_stay_missing_and_spread_only_to_their_neighbours():
    values = np.full((8, 8), 0.5, "float32")
    values[0, 0] = np.nan
    found = read(saved(Image.fromarray(values), "TIFF"), "a.tif", size=(4, 4))
    assert np.isnan(found[0, 0, 0]) and np.isnan(found).sum() == 1


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("L", (8, 8), value) for value in (200, 100, 50)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        picture = read_image(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options), "a", Look())
        assert picture.animated and abs(picture.pixels - 200).max() < 3


@bad_input.files(7)
def test_what_cannot_be_read_is_named_with_the_reason(monkeypatch):
    whole = saved(Image.fromarray(RNG.integers(0, 256, (64, 64), dtype="uint8")))
    for content, reason in [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"not an image\n", "it is text that begins with 'not an image"),
        (whole[:500], "truncated"),
        (bytes(range(200, 256)), "of no kind that Pillow knows"),
    ]:
        with pytest.raises(ValueError, match=f"folder/b.png cannot be read as an image: .*{reason}"):
            read_image(content, "folder/b.png", Look())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="folder/b.png cannot be read as an image: Image size .* exceeds limit"):
        read_image(whole, "folder/b.png", Look())
    infinite = saved(Image.fromarray(np.full((4, 4), np.inf, "float32")), "TIFF")
    with pytest.raises(ValueError, match="b.tif has infinite pixels"):
        read_image(infinite, "b.tif", Look())
