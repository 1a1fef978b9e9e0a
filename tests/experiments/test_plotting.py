from itertools import combinations

import matplotlib.pyplot as plt
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
