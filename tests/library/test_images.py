"""Arrays come out of files as they went in, and classes, thinning and damage do what they say."""

import bad_input
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dcgmm import datasets
from dcgmm.datasets import load_dataset, read_idx, select_classes, thinned

any_bytes = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture(scope="module")
def idx_path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "array-idx-ubyte"


@given(array=any_bytes)
def test_idx_round_trip(idx_path, array):
    idx_path.write_bytes(idx_bytes(array))
    read = read_idx(idx_path)
    assert read.dtype == np.uint8
    assert read.shape == array.shape
    np.testing.assert_array_equal(read, array)


@given(array=any_bytes, data=st.data())
def test_idx_of_another_length_is_refused(idx_path, array, data):
    content = idx_bytes(array)
    cut = data.draw(st.integers(0, len(content) - 1))
    for wrong in (content[:cut], content + b"\0"):
        idx_path.write_bytes(wrong)
        with pytest.raises(ValueError, match="array-idx-ubyte"):
            read_idx(idx_path)


@given(array=any_bytes, position=st.integers(0, 2), change=st.integers(1, 255))
def test_idx_with_another_magic_number_is_refused(idx_path, array, position, change):
    content = bytearray(idx_bytes(array))
    content[position] ^= change
    idx_path.write_bytes(content)
    with pytest.raises(ValueError, match="no IDX file of unsigned bytes"):
        read_idx(idx_path)


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_every_class_has_a_name_of_its_own(name):
    labels = np.unique(load_dataset(name)[3])
    assert labels.tolist() == list(range(len(set(datasets.CLASS_NAMES[name]))))


def test_class_names_are_in_the_order_of_the_labels():
    _, _, x, y = load_dataset("fashion_mnist")
    # Shoes leave the upper left dark, and nothing else does.
    upper_left = [x[y == c, :10, 4:12].mean() for c in range(10)]
    darkest = {datasets.CLASS_NAMES["fashion_mnist"][c] for c in np.argsort(upper_left)[:3]}
    assert darkest == {"Sandal", "Sneaker", "Ankle boot"}


@given(y=hnp.arrays(np.int64, st.integers(1, 50), elements=st.integers(0, 9)), data=st.data())
def test_selected_classes_are_all_and_only_those_asked_for_in_order(y, data):
    classes = data.draw(st.sets(st.sampled_from(y.tolist()), min_size=1))
    x = np.arange(len(y), dtype=np.float32)[:, np.newaxis]
    x_kept, y_kept = select_classes(x, y, classes)
    expected = [i for i, label in enumerate(y.tolist()) if label in classes]
    assert x_kept[:, 0].tolist() == expected
    assert y_kept.tolist() == y[expected].tolist()


@bad_input.arguments()
@pytest.mark.parametrize("classes", [[0, 7], [], [0.5], ["0"]])
def test_classes_that_do_not_occur_are_refused(classes):
    with pytest.raises(ValueError, match=r"has \[0, 1, 2\]; received"):
        select_classes(np.zeros((3, 28, 28, 1)), np.array([0, 1, 2]), classes)


@given(total=st.integers(1, 300), n=st.integers(1, 400))
def test_thinned_images_are_evenly_spread_in_order_and_with_their_labels(total, n):
    x, y = thinned(np.arange(total)[:, None], np.arange(total) + 1000, n)
    kept = x[:, 0]
    assert len(kept) == min(n, total)
    np.testing.assert_array_equal(y, kept + 1000)
    gaps = np.diff([*kept, total])
    assert kept[0] == 0 and np.all(gaps >= 1) and gaps.max() - gaps.min() <= 1


@bad_input.arguments()
@pytest.mark.parametrize("n", [0, -3, 1.5])
def test_thinning_keeps_all_where_no_number_is_given_and_refuses_what_is_none(n):
    x, y = np.zeros((3, 2, 2, 1)), np.arange(3)
    assert thinned(x, y, None) == (x, y)
    with pytest.raises(ValueError, match=f"a whole number of at least one, received {n}"):
        thinned(x, y, n)


def test_squares_lie_everywhere_within_their_margin_and_nowhere_else():
    masks = datasets.square_masks(2000, (9, 7), 3, margin=1)
    assert np.all(masks.sum(axis=(1, 2)) == 9)
    assert len(np.unique(masks, axis=0)) == 5 * 3
    expected = np.zeros((9, 7), bool)
    expected[1:-1, 1:-1] = True
    np.testing.assert_array_equal(masks.any(axis=0), expected)
    np.testing.assert_array_equal(masks, datasets.square_masks(2000, (9, 7), 3, margin=1))


@pytest.mark.parametrize(("damage", "mean"), [("black", 0), ("white", 1), ("noise", 0.5)])
def test_damage_stays_within_its_mask(images, damage, mean):
    masks = datasets.square_masks(40, (28, 28), 10)
    damaged = datasets.damaged(images, masks, damage, seed=1)
    np.testing.assert_array_equal(damaged[~masks], images[~masks])
    assert damaged[masks].mean() == pytest.approx(mean, abs=0.02)
    assert np.all(damaged[masks] != images[masks])
