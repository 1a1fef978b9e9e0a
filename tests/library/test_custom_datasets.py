"""Images in folders and arrays in files are data sets like any other."""

import dataclasses
import os
import re
import shutil
import warnings

import bad_input
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcgmm import datasets
from dcgmm.datasets import folders
from dcgmm.datasets.custom import ImageFolder, NpzFile, from_settings
from dcgmm.datasets.listing import list_images, natural_key

RNG = np.random.default_rng(0)


def arrays(n=30, **changed):
    x, y = RNG.integers(0, 256, (n, 6, 8), dtype="uint8"), np.arange(n) % 3
    return {"x_train": x, "y_train": y, "x_test": x[:10], "y_test": y[:10], **changed}


def write_images(folder, n, size=(6, 8), channels=1):
    for i in range(n):
        path = folder / f"class-{i % 3}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(path, RNG.integers(0, 256, (*size, channels)), scale=False)


def test_npz_files_are_scaled_and_get_a_channel(tmp_path):
    given = arrays()
    np.savez(tmp_path / "a.npz", **given)
    source = NpzFile(tmp_path / "a.npz")
    x, y, x_test, y_test = source.load()
    assert (x.shape, x.dtype, x_test.shape, y_test.dtype) == ((30, 6, 8, 1), "float32", (10, 6, 8, 1), "int64")
    np.testing.assert_array_equal(x[..., 0], given["x_train"].astype("float32") / np.float32(255))
    assert source.classes() == [0, 1, 2]
    before = source.fingerprint()
    np.savez(tmp_path / "a.npz", **arrays())
    assert source.fingerprint() != before


@bad_input.arrays()
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": np.full((30, 6, 8), 200.0)}, r"float64 from 200.0 to 200.0.*0 to 1"),
        ({"x_train": np.full((30, 6, 8), np.nan)}, "from nan to nan"),
        ({"x_train": np.zeros((30, 48))}, r"must be images .* is of shape \(30, 48\)"),
        ({"x_test": np.zeros((10, 5, 8))}, r"x_test \(10, 5, 8, 1\) does not fit"),
        ({"y_train": np.zeros(29, int)}, r"does not fit y_train \(29,\)"),
        ({"y_train": np.zeros(30)}, "must be integers"),
    ],
)
def test_npz_files_that_do_not_fit_are_refused(tmp_path, changed, message):
    np.savez(tmp_path / "a.npz", **arrays(**changed))
    with pytest.raises(ValueError, match=message):
        NpzFile(tmp_path / "a.npz").load()


@bad_input.arrays()
def test_npz_files_need_all_four_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 6, 8)))
    with pytest.raises(ValueError, match="has no x_test, y_test, y_train; it has x_train"):
        NpzFile(tmp_path / "a.npz").load()


@pytest.mark.parametrize("channels", [1, 3])
def test_folders_are_read_and_split_by_class(tmp_path, channels):
    write_images(tmp_path, 30, channels=channels)
    (tmp_path / ".ipynb_checkpoints").mkdir()  # as Jupyter leaves it
    source = ImageFolder(tmp_path, size=(6, 8), channels=channels)
    x, y, x_test, y_test = source.load()
    assert (x.shape, x_test.shape) == ((24, 6, 8, channels), (6, 6, 8, channels))
    assert x.dtype == "float32" and 0.9 < x.max() <= 1
    assert sorted(y_test) == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(x, source.load()[0])
    assert source.classes() == [0, 1, 2]

    parts = ImageFolder(tmp_path, size=(3, 4), channels=channels, test=tmp_path)
    assert parts.load()[2].shape == (30, 3, 4, channels)
    assert parts.fingerprint() != source.fingerprint()
    before = source.fingerprint()
    write_images(tmp_path, 1, channels=channels)
    assert source.fingerprint() != before


@bad_input.settings()
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"folder": "gone", "size": [6, 8]}, FileNotFoundError, "there is no folder .*gone"),
        ({"folder": "empty", "size": [6, 8]}, ValueError, "has no folders with images"),
        ({"npz": "gone.npz"}, FileNotFoundError, "gone.npz"),
        ({"folder": "empty"}, ValueError, "has no folders with images, one for each class: it is empty"),
        ({"folder": "empty", "size": [6, 8, 1]}, ValueError, r"size is \(H, W\) .*received \[6, 8, 1\]"),
        ({"folder": "empty", "size": [6, 8], "colour": True}, ValueError, "unknown key 'colour' of a data set"),
        ({"folder": "empty", "size": [6, 8], "test": 2}, ValueError, "share of the images between 0 and 1"),
        ({"folder": "empty", "size": [6, 8], "channels": 2}, ValueError, "channels is 1 or 3"),
        ({"size": [6, 8]}, ValueError, "expected `npz: path` or `folder: path`"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, error, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        from_settings(settings, tmp_path).classes()


def write_classes(counts, tmp_path, draw=None, suffix=".png"):
    """Write class folders {name: number of images}; return the folder."""
    for name, n in counts.items():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            image = draw(i) if draw else Image.fromarray(RNG.integers(0, 256, (6, 8), dtype="uint8"))
            image.save(tmp_path / name / f"{i}{suffix}")
    return tmp_path


def loaded(source):
    """Return the arrays and the texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arrays = source.load()
    return arrays, [str(warning.message) for warning in caught]


def test_classes_have_natural_order_and_their_names_are_told(tmp_path):
    root = write_classes(dict.fromkeys(["10", "9", "img10", "img2", "img", "0"], 5), tmp_path)
    source = ImageFolder(root)
    description = source.describe("letters")
    assert description.class_names == ("0", "9", "10", "img", "img2", "img10")
    assert description.known == (0, 1, 2) and description.unknown == (3, 4, 5)
    assert description.image_shape == (6, 8, 1) and source.classes() == [0, 1, 2, 3, 4, 5]
    files = list_images(write_classes({"a": 12}, tmp_path / "one")).classes["a"]
    assert [path.stem for path in files] == [str(i) for i in range(12)]


@given(st.lists(st.text("ab01 é", min_size=1, max_size=6), max_size=12))
def test_natural_order_is_defined_for_all_names(names):
    assert sorted(sorted(names, key=natural_key)) == sorted(names)
    numbers = [name for name in names if name.isdecimal()]
    assert sorted(numbers, key=lambda n: (int(n), n)) == sorted(numbers, key=natural_key)


def test_hidden_files_are_passed_over_and_change_no_fingerprint(tmp_path):
    source = ImageFolder(write_classes({"a": 10, "b": 10}, tmp_path))
    before = source.fingerprint(), source.classes(), len(source.load()[0])
    for folder in ("a/.ipynb_checkpoints", "__MACOSX/a", ".git", "a/b/@eaDir"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(tmp_path / "a" / "0.png", tmp_path / folder / "0.png")
    for name in ("b/._3.png", "b/Thumbs.db", "desktop.ini", "a/.DS_Store"):
        (tmp_path / name).write_bytes(bytes(100))
    arrays, said = loaded(source)
    assert (source.fingerprint(), source.classes(), len(arrays[0])) == before and not said


@bad_input.files()
def test_files_that_are_no_images_are_counted_in_one_line(tmp_path):
    root = write_classes({"a": 6, "b": 6}, tmp_path)
    for i, suffix in enumerate((".tif", ".webp", ".ppm", ".jp2", "")):
        image = Image.fromarray(RNG.integers(0, 256, (6, 8), dtype="uint8"))
        image.save(root / "b" / f"x{i}{suffix}", format=None if suffix else "PNG")
    for name in ("photo.heic", "scan.dcm", "labels.csv", "notes.txt", "README"):
        (root / "b" / name).write_bytes(b"some text" if name == "README" else bytes(9))
    os.symlink(root / "gone.png", root / "b" / "dangling.png")
    (x, _, x_test, _), said = loaded(ImageFolder(root))
    assert len(x) + len(x_test) == 17
    assert len(said) == 1 and "3 files are left out" in said[0] and "b/dangling.png" in said[0]


def test_links_that_lead_back_end(tmp_path):
    root = write_classes({"a/deeper": 5, "b": 5}, tmp_path)
    os.symlink(root, root / "a" / "deeper" / "back")
    os.symlink(root / "b", root / "c")
    assert {name: len(paths) for name, paths in list_images(root).classes.items()}["b"] == 5
    assert list(list_images(root).classes) == ["a", "b", "c"]


@bad_input.files()
@pytest.mark.parametrize(
    "names", [("train", "test"), ("Training", "validation"), ("train", "val", "test", "other"), ("test",)]
)
def test_a_folder_one_level_too_high_is_refused(tmp_path, names):
    root = write_classes({f"{part}/{name}": 3 for part in names for name in ("cat", "dog")}, tmp_path)
    with pytest.raises(ValueError, match=f"{names[0]}.* parts of a data set and not classes"):
        ImageFolder(root).load()
    ImageFolder(write_classes({"train": 5, "bus": 5}, tmp_path / "vehicles")).load()  # a train may be a class


def test_folders_of_folders_are_classes_with_a_word(tmp_path):
    root = write_classes({"animals/cat": 5, "animals/dog": 5}, tmp_path)
    (_, y, _, _), said = loaded(ImageFolder(root))
    assert set(y) == {0} and "The classes are animals; if they should be cat, dog" in said[0]


def test_images_without_class_folders_are_one_class(tmp_path):
    write_classes({"good": 10, "other": 5, "classes/a": 5}, tmp_path)
    (_, y, _, y_test), said = loaded(ImageFolder(tmp_path / "good", test=tmp_path / "other"))
    assert set(y) == set(y_test) == {0} and "they are one class, 'good'" in said[0]
    with pytest.raises(ValueError, match="has images but no folder for each class"):
        ImageFolder(tmp_path / "classes", test=tmp_path / "other").load()


def test_classes_that_only_the_test_folder_has_come_after_the_others(tmp_path):
    write_classes({"train/good": 8, "train/worn": 8, "test/good": 3, "test/crack": 2, "test/a": 1}, tmp_path)
    source = ImageFolder(tmp_path / "train", test=tmp_path / "test")
    (_, y, _, y_test), said = loaded(source)
    assert np.bincount(y).tolist() == [8, 8] and np.bincount(y_test).tolist() == [3, 0, 1, 2]
    assert len(said) == 1 and "only the test folder has a (2), crack (3): they are outliers" in said[0]
    description = source.describe()
    assert description.class_names == ("good", "worn", "a", "crack")
    assert (description.classes, description.known, description.unknown) == ((0, 1), (0, 1), (2, 3))
    assert source.classes() == [0, 1]


@bad_input.files()
def test_a_test_folder_within_the_folder_is_refused(tmp_path):
    root = write_classes({"a": 5, "b": 5, "test/a": 5}, tmp_path)
    with pytest.raises(ValueError, match="lie in each other, so they share images"):
        ImageFolder(root, test=root / "test").load()


def test_empty_class_folders_are_left_out(tmp_path):
    (tmp_path / "b").mkdir()
    source = ImageFolder(write_classes({"a": 10, "c": 10}, tmp_path))
    (x, y, _, _), said = loaded(source)
    assert source.classes() == [0, 1] == np.unique(y).tolist() and "without images are left out: b" in said[0]
    assert len(datasets.select_classes(x, y, source.classes())[0]) == 16


@bad_input.files()
@pytest.mark.parametrize(
    ("counts", "share"), [({"cats": 10, "owls": 1}, 0.2), ({"a": 3, "b": 3, "owls": 2}, 0.2), ({"owls": 1}, 0.5)]
)
def test_too_few_images_for_a_split_name_class_and_counts(tmp_path, counts, share):
    with pytest.raises(ValueError, match=rf"too few images .*'owls' has the fewest .*owls: {counts['owls']}\).*`test`"):
        ImageFolder(write_classes(counts, tmp_path), test=share).load()


def test_the_same_files_in_both_parts_are_counted(tmp_path):
    root = write_classes({"train/a": 6, "test/a": 4}, tmp_path)
    for i in range(3):
        shutil.copy(root / "train" / "a" / f"{i}.png", root / "test" / "a" / f"{i}.png")
    _, said = loaded(ImageFolder(root / "train", test=root / "test"))
    assert len(said) == 1 and "3 of 4 test images are training images, too, such as" in said[0]


@bad_input.files()
def test_images_of_several_sizes_need_a_size(tmp_path):
    sizes = iter([(8, 6)] * 3 + [(5, 5)] * 7)
    root = write_classes({"a": 5, "b": 5}, tmp_path, lambda i: Image.effect_noise(next(sizes), 50))
    with pytest.raises(
        ValueError, match="images differ in size .*`size` is needed; found 5x5: 7 images, 6x8: 3 images"
    ):
        ImageFolder(root).load()
    assert ImageFolder(root, 7).load()[0].shape == (8, 7, 7, 1)


@bad_input.files()
def test_a_broken_file_is_named(tmp_path):
    root = write_classes({"a": 9, "b": 9}, tmp_path)
    (root / "b" / "3.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b.3\.png cannot be read as an image: it is empty"):
        ImageFolder(root).load()


@pytest.mark.parametrize(("top", "kind", "unit", "word"), [
    (1, "uint8", 1, "taken as they are, 0 and 1"),
    (30, "uint8", 255, "far below 255"),
    (200, "uint8", 255, None),
    (1, "uint16", 1, "taken as they are"),
    (4000, "uint16", 4095, "for 12 bits, so 4095 becomes 1"),
    (1000, "uint16", 1023, "10 bits"),
    (60000, "uint16", 65535, None),
])  # fmt: skip
def test_one_value_becomes_1_in_all_images(tmp_path, top, kind, unit, word):
    """The same rule holds for arrays and for folders, and `scale` replaces it."""
    values = RNG.integers(0, top, (20, 6, 8), endpoint=True).astype(kind)
    values[:, 0, 0] = top
    np.savez(tmp_path / "a.npz", images=values, labels=np.arange(20) % 2)
    root = write_classes({"a": 10, "b": 10}, tmp_path / "images", lambda i: Image.fromarray(values[i]))
    for source in (NpzFile(tmp_path / "a.npz"), ImageFolder(root)):
        (x, _, x_test, _), said = loaded(source)
        assert {x.max(), x_test.max()} == {np.float32(top) / np.float32(unit)}
        said = [text for text in said if "training images, too" not in text]
        assert len(said) == (word is not None) and all(word in text and "scale" in text for text in said)
        (x, *_), said = loaded(dataclasses.replace(source, scale=2 * top))
        assert x.max() == 0.5 and not [text for text in said if "scale" in text]
        with pytest.raises(ValueError, match=f"expected .*scale|with scale {top - 0.5}"):
            dataclasses.replace(source, scale=top - 0.5).load()


def test_the_background_is_white_whatever_the_depth(tmp_path):
    """Masks of 0 and 1, and 12 bits: padding has to be 1 after the division, not before."""
    for kind, top in {"uint8": 1, "uint16": 4000}.items():
        values = np.full((4, 8), top, kind)
        root = write_classes({"a": 5, "b": 5}, tmp_path / kind, lambda i, values=values: Image.fromarray(values))
        (x, *_), _ = loaded(ImageFolder(root, (8, 8), fit="pad", background=0.25))
        assert x[0, 0, 0, 0] == 0.25 and x[0, 4, 4, 0] == pytest.approx(top / (1 if top == 1 else 4095))


def test_masks_with_transparent_pixels_stay_masks_and_black_drawings_need_no_word(tmp_path):
    def drawing(value):
        values, alpha = np.full((4, 8), value, "uint8"), np.full((4, 8), 255, "uint8")
        alpha[:, :2] = 0
        return Image.merge("LA", [Image.fromarray(values), Image.fromarray(alpha)])

    def mask(i):
        return drawing(np.arange(8) // 5 if i else 0)

    (x, *_), said = loaded(ImageFolder(write_classes({"a": 5, "b": 5}, tmp_path / "masks", mask), background=0.25))
    assert np.unique(x).tolist() == [0, 0.25, 1] and any("the largest value is 1" in text for text in said)
    for ink in (0, 1):
        dark = write_classes({"a": 5, "b": 5}, tmp_path / f"ink{ink}", lambda i, ink=ink: drawing(ink))
        (x, *_), said = loaded(ImageFolder(dark))
        assert np.unique(x).tolist() == [ink / np.float32(255), 1]
        assert not [text for text in said if "scale" in text]


def test_a_class_of_masks_beside_bytes_is_said(tmp_path):
    draw = lambda i: Image.fromarray(RNG.integers(0, 256, (6, 8), dtype="uint8"))  # noqa: E731
    root = write_classes({"a": 6}, tmp_path, draw)
    write_classes({"b": 6}, tmp_path, lambda i: Image.fromarray(RNG.integers(0, 2, (6, 8), dtype="uint8")))
    assert "no value of class b is above 1, but other images reach" in loaded(ImageFolder(root))[1][0]


@bad_input.files(2)
def test_numbers_out_of_range_in_a_folder_are_refused_by_the_file(tmp_path):
    for name, value, low in (("f", 3.5, 0), ("negative", -0.5, -0.5)):
        image = Image.fromarray(np.full((6, 8), value, "float32"))
        root = write_classes({"a": 5, "b": 5}, tmp_path / name, lambda i, image=image: image, ".tif")
        with pytest.raises(ValueError, match=rf"\.tif has values from {low} to .*`scale`"):
            ImageFolder(root).load()
    assert ImageFolder(tmp_path / "f", scale=7).load()[0].max() == 0.5


def test_paths_are_expanded_and_relative_to_the_root(tmp_path, monkeypatch):
    write_classes({"pictures/a": 9, "pictures/b": 9}, tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("WHERE", str(tmp_path / "pictures"))
    for folder in ("~/pictures", "$WHERE", "pictures", tmp_path / "pictures"):
        source = from_settings({"folder": folder, "test": folder}, tmp_path)
        assert source.folder == source.test == tmp_path / "pictures"
    assert from_settings({"npz": "~/a.npz"}, "here").npz == tmp_path / "a.npz"


BAD_SETTINGS = [
    ("size", ["28x28", "28", 0, -1, 28.0, True, [28], [28, 0], [28, 28.5], [28, "28"], {}, b"28", np.nan]),
    ("channels", [0, 2, 4, "3", "grey", True, 1.0, [1]]),
    ("test", ["0.3", "20%", "1e-1", 0, 1, 1.5, -0.2, True, np.nan, [0.2], 20]),
    ("background", [-0.1, 1.1, 255, "white", True, None, [1, 1, 1], np.nan]),
    ("fit", ["Crop", "contain", None, True, 1, ["crop"]]),
    ("scale", [0, -1, np.inf, np.nan, "255", True, [255]]),
    ("known", [[], 1.5, True, [True], {"a": 1}, [[0]], [None]]),
    ("title", ["", "  ", 3, ["a"]]),
    ("folder", [None, 3, "", True, ["a"]]),
]


@bad_input.settings()
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD_SETTINGS for value in values])
def test_every_bad_argument_is_refused_by_its_name_and_value(key, value):
    with pytest.raises(ValueError, match=rf"^{key} is .*received .*{re.escape(repr(value))}"):
        from_settings({"folder": "x", key: value})


@bad_input.settings()
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": "x", "chanels": 3}, "unknown key 'chanels' of a data set; did you mean 'channels'"),
        ({"npz": "x", "size": 3}, "unknown key 'size' .*accepted beside npz: test, scale, known, title"),
        ({"npz": "x", "folder": "y"}, "expected `npz: path` or `folder: path`"),
        ({"npz": "x", 3: 3}, "unknown key 3"),
        ({"npz": "x", "test": "tests"}, "test is a share"),
        (None, "received None"),
        ("folder", "received 'folder'"),
    ],
)
def test_settings_of_other_forms_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        from_settings(settings)


@bad_input.names(5)
def test_known_classes_are_chosen_by_name_or_label(tmp_path):
    root = write_classes({"cat": 5, "dog": 5, "owl": 5, "7": 5}, tmp_path)  # 7 is label 0
    for known, labels in {
        ("owl", 1): (1, 3),
        ("7",): (0,),
        "0-2": (0, 1, 2),
        "cat": (1,),
        2: (2,),
        None: (0, 1),
    }.items():
        assert ImageFolder(root, known=list(known) if isinstance(known, tuple) else known).describe().known == labels
    for known in (["wolf"], [4], "0-4", [-1], "wolf"):
        with pytest.raises(ValueError, match=r"`known` has .*no class of the training images: 0 \(7\), 1 \(cat\)"):
            ImageFolder(root, known=known).describe()


def test_the_fingerprint_covers_what_decides_pixels_and_nothing_else(tmp_path):
    root = write_classes({"a": 6, "b": 6}, tmp_path)
    source = ImageFolder(root)
    changed = {"size": (3, 3), "channels": 3, "test": 0.5, "background": 0.0, "fit": "pad", "scale": 255}
    prints = {dataclasses.replace(source, **{key: value}).fingerprint() for key, value in changed.items()}
    assert len({source.fingerprint(), *prints}) == 1 + len(changed)
    (root / "a" / "notes.txt").write_text("no image")
    same = (source, dataclasses.replace(source, known=["a"]), dataclasses.replace(source, title="Letters"))
    assert len({each.fingerprint() for each in same}) == 1
    before = source.fingerprint()
    (root / "a" / "0.png").rename(root / "a" / "00.png")
    assert source.fingerprint() != before


def test_a_setting_of_keras_changes_no_axes(tmp_path):
    keras.config.set_image_data_format("channels_first")
    try:
        assert ImageFolder(write_classes({"a": 5, "b": 5}, tmp_path)).load()[0].shape == (8, 6, 8, 1)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_many_images_show_their_progress(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folders, "PROGRESS_FROM", 5)
    ImageFolder(write_classes({"a": 5, "b": 5}, tmp_path)).load()
    assert "10/10" in capsys.readouterr().err


@bad_input.files()
@pytest.mark.parametrize("names", [("day/cats", "day/dogs", "night"), ("images/cats",)])
def test_classes_that_hold_only_folders_are_said(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        for i in range(5):
            Image.new("L", (4, 4), 40 * i).save(tmp_path / name / f"{name[0]}{i}.png")
    with pytest.warns(UserWarning, match="images lie two or more folders deep in"):
        ImageFolder(tmp_path).load()


@bad_input.names()
def test_the_home_of_nobody_is_an_error_with_the_argument():
    with pytest.raises(ValueError, match="folder: '~nobody_here/a' names the home folder"):
        ImageFolder("~nobody_here/a")
