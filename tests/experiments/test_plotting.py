import io
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest

from dcgmm import DCGMM
from dcgmm.experiments import plotting


@pytest.mark.parametrize("spec", ["1L", "2L-c", "3L-a", "2L-c C(10)"])
def test_a_drawn_model_names_every_layer_and_shape_and_no_two_texts_touch(spec):
    model = DCGMM.from_spec(spec)
    figure = plt.figure(figsize=(plotting.WIDTH, 2.9))
    ax = figure.add_axes((0, 0, 1, 1))
    plotting.draw_model(ax, model)
    figure.canvas.draw()
    words = [text.get_text() for text in ax.texts]
    shape = (None, *model.image_shape)
    for layer in model.stack:
        shape = layer.compute_output_shape(shape)
        assert layer.name in words
        assert "×".join(map(str, shape[1:])) in words
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    plt.close(figure)


@pytest.mark.parametrize("name", ["5 $", "$a_$", r"$\bad$", r"\$", "$$", "from 1 $ to 5 $"])
def test_a_name_with_dollar_signs_is_drawn_as_it_is(name):
    figure, drawing = plt.figure(), io.StringIO()
    figure.text(0, 0, plotting.literal(name))
    with plt.rc_context({"svg.fonttype": "none"}):
        figure.savefig(drawing, format="svg")
    plt.close(figure)
    assert f">{name}</text>" in drawing.getvalue()


def as_png(pixels):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "png", dpi=(160, 160))
    return file.getvalue()


@pytest.mark.parametrize("colours", ["grey", "few", "photograph"])
def test_a_palette_is_used_only_where_it_does_not_show(colours):
    rng = np.random.default_rng(0)
    pixels = {
        "grey": rng.integers(256, size=(90, 80, 1)) * np.ones(3),
        "few": rng.integers(256, size=(200, 3))[rng.integers(200, size=(90, 80))],
        "photograph": rng.integers(256, size=(90, 80, 3)),
    }[colours].astype("uint8")
    png = as_png(pixels)
    saved = plotting.with_palette(png)
    picture = PIL.Image.open(io.BytesIO(saved))
    assert picture.info["dpi"] == pytest.approx((160, 160), abs=0.1)
    np.testing.assert_array_equal(picture.convert("RGB"), pixels)
    assert saved == png if colours == "photograph" else len(saved) < len(png) / 2


def drawn(draw, images):
    figure, ax = plt.subplots()
    draw(ax, images, 2)
    (sheet,) = ax.get_images()
    plt.close(figure)
    return np.asarray(sheet.get_array())


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_images_of_any_number_of_channels_are_shown_and_the_caption_says_which(channels):
    images = np.linspace(0, 1, channels) * np.ones((3, 4, 5, 1))
    sheet = drawn(plotting.image_grid, images)
    assert sheet.shape[:2] == (11, 13) and sheet.shape[2:] in ((), (3,))
    if channels > 3:  # red is the last band, blue the first
        np.testing.assert_allclose(sheet[1, 1], [1, images[0, 0, 0, channels // 2], 0])
    picture = plotting.picture(images[0])
    assert picture.shape == ((4, 5) if channels == 1 else (4, 5, 3))
    note = plotting.bands_note(channels)
    assert (note == "") == (channels in (1, 3)) and (not note or f"the {channels} bands" in note)


@pytest.mark.parametrize("channels", [1, 3, 13])
def test_differences_of_channels_are_shown_as_their_mean(channels):
    differences = np.random.default_rng(0).normal(size=(3, 4, 5, channels))
    sheet = drawn(plotting.difference_grid, differences)
    np.testing.assert_array_equal(sheet[1:5, 1:6], differences[0].mean(axis=-1))
    assert np.isnan(drawn(plotting.difference_grid, np.zeros((1, 2, 2, channels)))[0, 0])
