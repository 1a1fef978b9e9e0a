"""Arrays in `.npz` files: names, shapes, labels and ranges are looked at, never guessed without a word."""

import io
import warnings
import zipfile

import bad_input
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as st_arrays

from dcgmm import datasets
from dcgmm.datasets import npz
from dcgmm.datasets.custom import NpzFile

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 6, 8), dtype="uint8")
LABELS = np.arange(30) % 3


def saved(tmp_path, save=np.savez, **arrays):
    """Write a file with sound arrays, of which some are replaced, or left out if they are None."""
    sound = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:9], "y_test": LABELS[:9]}
    save(tmp_path / "a.npz", **{name: array for name, array in {**sound, **arrays}.items() if array is not None})
    return NpzFile(tmp_path / "a.npz")


def only(tmp_path, **arrays):
    return saved(tmp_path, **{**dict.fromkeys(["x_train", "y_train", "x_test", "y_test"]), **arrays})


def loaded(source):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arrays = source.load()
    return arrays, [str(warning.message) for warning in caught]


def test_the_names_of_medmnist_are_read(tmp_path):
    labels = LABELS[:, None].astype("uint8")
    parts = {f"{part}_images": IMAGES for part in ("train", "val", "test")}
    source = only(tmp_path, **parts, **{f"{part}_labels": labels for part in ("train", "val", "test")})
    (x, y, _, y_test), said = loaded(source)
    assert x.shape == (30, 6, 8, 1) and y.tolist() == y_test.tolist() == LABELS.tolist()
    assert len(said) == 1 and said[0].endswith("a.npz: left out: val_images, val_labels")


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X", "y")])
def test_a_pair_of_arrays_is_split_by_class(tmp_path, names):
    source = only(tmp_path, **dict(zip(names, (IMAGES, LABELS))))
    x, y, x_test, y_test = source.load()
    assert (len(x), len(x_test)) == (24, 6) and np.bincount(y_test).tolist() == [2, 2, 2]
    rows = {image.tobytes(): label for image, label in zip(IMAGES.astype("float32") / np.float32(255), LABELS)}
    assert [rows.pop(image.tobytes()) for image in (*x, *x_test)] == [*y, *y_test] and not rows
    half = NpzFile(source.npz, test=0.5)
    assert len(half.load()[2]) == 15 and half.fingerprint() != source.fingerprint()
    with pytest.raises(ValueError, match="has test images of its own, x_test; expected no `test`, received 0.5"):
        NpzFile(saved(tmp_path).npz, test=0.5).load()


@bad_input.arrays(2)
def test_unclear_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="x, y: it is not clear which to use"):
        saved(tmp_path, x=IMAGES, y=LABELS).load()
    with pytest.raises(
        ValueError, match="has no y_train; it has x_train, x_test, y_test. Accepted are x_train, y_train, "
    ):
        saved(tmp_path, y_train=None).load()


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (LABELS[:, None], LABELS),
        (LABELS.astype("uint64"), LABELS),
        (LABELS > 0, (LABELS > 0).astype(int)),
        (np.eye(3)[LABELS], LABELS),
        (np.eye(3, dtype=bool)[LABELS], LABELS),
    ],
)
def test_unambiguous_labels_are_accepted(tmp_path, labels, found):
    (_, y, _, _), said = loaded(saved(tmp_path, y_train=labels))
    assert y.tolist() == found.tolist() and y.dtype == np.int64 and not said


@bad_input.arrays()
@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (LABELS.astype(float), r"If they are classes, save y_train.astype\(int\)"),
        (LABELS - 1, ""),
        (LABELS.astype(str), r"np.unique\(labels, return_inverse=True\)"),
        (LABELS.astype(complex), ""),
        (np.ones((30, 3), int), "several classes at once"),
        (np.zeros((30, 3), int), "several classes at once"),
        (np.zeros((30, 1, 1), int), ""),
        (np.array(1), ""),
        (np.full(30, np.nan), ""),
        (np.zeros(30, "datetime64[s]"), ""),
    ],
)
def test_other_labels_are_refused(tmp_path, labels, hint):
    with pytest.raises(ValueError, match=rf"y_train must be integers \(N,\) from 0, is .* of shape .*{hint}"):
        saved(tmp_path, y_train=labels).load()


@bad_input.arrays(3)
def test_huge_labels_are_refused_and_gaps_are_said(tmp_path):
    for largest in (2**62, 10_000):
        with pytest.raises(
            ValueError, match=f"y_train has labels of up to {largest}; expected at most 9999.*np.unique"
        ):
            saved(tmp_path, y_train=np.r_[LABELS[1:], largest]).load()
    source = saved(tmp_path, y_train=LABELS * 400, y_test=np.r_[LABELS[1:9], 7])
    assert "only 6 of the labels from 0 to 800 occur" in loaded(source)[1][0]
    description = source.describe("mine")
    assert description.classes == (0, 400, 800) and description.known == (0, 400, 800)
    assert description.unknown == (1, 2, 7), "labels that do not occur are no classes"


@bad_input.arrays(3)
def test_class_names_are_read(tmp_path):
    source = saved(tmp_path, class_names=np.array(["cat", "dog", "owl", "wolf"]), y_test=np.full(9, 3))
    (_, _, _, _), said = loaded(source)
    description = source.describe("pets")
    assert description.class_names == ("cat", "dog", "owl", "wolf") and not said
    assert (description.known, description.unknown) == ((0, 1, 2), (3,))
    assert NpzFile(source.npz, known=["owl"]).describe().known == (2,)
    assert saved(tmp_path).describe("mine").class_names == ("0", "1", "2")
    assert saved(tmp_path, class_names=np.array([b"a", b"b", b"c"])).describe().class_names == ("a", "b", "c")
    for names in (np.array(["cat", "dog"]), np.arange(3), np.array([["a", "b", "c"]])):
        with pytest.raises(ValueError, match=r"class_names must be texts \(3,\)"):
            saved(tmp_path, class_names=names).describe()


def test_a_description_reads_no_images(tmp_path):
    for images, shape in ((IMAGES, (6, 8, 1)), (IMAGES[..., None], (6, 8, 1)), (np.zeros((30, 6, 8, 13)), (6, 8, 13))):
        assert saved(tmp_path, x_train=images, x_test=images[:9]).describe().image_shape == shape


@pytest.mark.parametrize(
    ("train", "test", "divisor", "word"),
    [
        (IMAGES, IMAGES, 255, None),
        (IMAGES > 9, IMAGES > 9, 1, None),
        (IMAGES / 255, (IMAGES / 255).astype("float16"), 1, None),
        (IMAGES // 128, IMAGES // 128, 1, r"x_train: 1, x_test: 1\): values are taken as they are, 0 and 1"),
        (IMAGES // 128, (IMAGES // 128).astype(float), 1, "taken as they are"),
        (IMAGES // 9, IMAGES, 255, r"far below 255 \(x_train: 28\)"),
        (IMAGES.astype(int), IMAGES.astype("uint16"), 255, "taken for 8 bits, so 255 becomes 1"),
        (16 * IMAGES.astype(int), 8 * IMAGES.astype(int), 4095, r"x_train: 4080, x_test: 2040\) are taken for 12 bits"),
        (257 * IMAGES.astype("uint16"), IMAGES.astype("uint16"), 65535, "x_train: 65535, x_test: 255"),
        (257 * IMAGES.astype("uint16"), 257 * IMAGES.astype(">u2"), 65535, None),
        (IMAGES / 65025, IMAGES / 65025, 1, "almost black, as if it was divided by 255 twice"),
    ],
)
def test_one_scale_holds_for_both_parts(tmp_path, train, test, divisor, word):
    (x, _, x_test, _), said = loaded(saved(tmp_path, x_train=train, x_test=test, y_test=LABELS))
    for found, given_ in ((x, train), (x_test, test)):
        np.testing.assert_array_equal(found[..., 0], given_.astype("float32") / np.float32(divisor))
    assert bool(said) == (word is not None)
    if word:
        with pytest.warns(UserWarning, match=word):
            NpzFile(tmp_path / "a.npz").load()


@bad_input.arrays()
@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            IMAGES,
            IMAGES / 255,
            "x_train has uint8 from 0 to 255 and x_test has float64 from 0.0 to 1.0: no single scale",
        ),
        (IMAGES, IMAGES > 9, "x_test has bool from 0 to 1: no single scale"),
        (IMAGES, 16 * IMAGES.astype("uint16"), "no single scale fits both"),
        (IMAGES.astype("float32"), IMAGES / 255, r"x_train has float32 from 0.0 to 255.0: .*set `scale: 255`"),
        (IMAGES / 127.5 - 1, IMAGES / 127.5 - 1, r"from -1.0 to 1.0: .*save \(x_train \+ 1\) / 2"),
        (IMAGES.astype(int) - 1, IMAGES, "x_train has int64 from -1 to 254"),
        (IMAGES.astype(int) * 1000, IMAGES, "whole numbers of at most 16 bits. For others, set `scale`"),
        (IMAGES / 255, np.where(IMAGES, 0.5, np.inf), "x_test has float64 from 0.5 to inf: .*infinite"),
        (np.full(IMAGES.shape, np.nan), IMAGES / 255, "x_train has float64 from nan to nan: no pixel was observed"),
        (IMAGES.astype(complex), IMAGES, "x_train must be numbers, is complex128"),
        (IMAGES.astype(str), IMAGES, "x_train must be numbers, is <U3"),
        (IMAGES.astype("datetime64[s]"), IMAGES, "x_train must be numbers, is datetime64"),
        (IMAGES.astype(object), IMAGES, "x_train holds Python objects, which are not read because pickles"),
        (IMAGES.reshape(30, -1), IMAGES, r"x_train must be images .*reshape\(-1, H, W\)"),
        (IMAGES[:0], IMAGES, r"x_train must be images .* is of shape \(0, 6, 8\)"),
        (IMAGES[:, :0], IMAGES, "x_train must be images"),
        (IMAGES[..., None, None], IMAGES, "x_train must be images"),
        (IMAGES[:, None], IMAGES, r"x_train of shape \(30, 1, 6, 8\) seems to have its channels first.*np.moveaxis"),
        (np.zeros((30, 3, 32, 32)), IMAGES, "channels first"),
        (np.zeros((30, 4, 20, 30)), IMAGES, "channels first"),
    ],
)
def test_ranges_and_shapes_that_are_not_clear_are_refused(tmp_path, train, test, message):
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        saved(tmp_path, x_train=train, x_test=test, y_test=LABELS).load()


def test_bands_are_accepted_and_axes_that_may_be_exchanged_get_a_word(tmp_path):
    doubtful = [(13, 64, 64), (5, 5, 100), (3, 32, 4), (1, 8, 2), (3, 4, 28)]
    for shape in [(16, 16, 13), (4, 4, 2), (1, 28, 1), *doubtful]:
        words = shape in doubtful
        x = np.full((30, *shape), 200, "uint8")
        (found, *_), said = loaded(saved(tmp_path, x_train=x, x_test=x[:9]))
        assert found.shape == (30, *shape) and len(said) == words


def test_missing_pixels_are_kept(tmp_path):
    x = np.where(IMAGES < 50, np.nan, IMAGES / 255)
    (found, *_), said = loaded(saved(tmp_path, x_train=x, x_test=x[:9]))
    np.testing.assert_array_equal(found[..., 0], x.astype("float32"))
    assert not said


@given(
    st_arrays(st.sampled_from(["u1", "<u2", ">u2", "<f4", ">f8", "?"]), st.tuples(*[st.integers(1, 9)] * 3)),
    st.booleans(),
    st.integers(1, 100),
)
def test_blocks_hold_the_array_whatever_its_order_and_type(array, fortran, block):
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.asfortranarray(array) if fortran else array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz, "BLOCK", block)
        archive = npz.Archive.__new__(npz.Archive)
        archive.path = stream
        np.testing.assert_array_equal(archive.read("a"), array)
        assert sum(len(rows) for _, rows in archive.blocks("a")) == len(array)


@bad_input.arrays()
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a Git LFS pointer .*git lfs pull"),
        (b"\x93NUMPY\x01\0", r"it is a single array \(.npy\)"),
        (b"a,b\n1,2\n", "it is text that begins with 'a,b"),
        (b"\x80\x04\x95", "it is a pickle"),
        (b"\x1f\x8b\x08\0", "it is a gzip archive"),
        (b"PK\x03\x04 and no end", "it is a zip archive that is damaged or was cut off"),
        (bytes(range(200, 250)), "it is of no kind that is known here"),
    ],
)
def test_files_of_other_kinds_are_named_with_what_they_seem_to_be(tmp_path, content, message):
    (tmp_path / "a.npz").write_bytes(content)
    for ask in (NpzFile.load, NpzFile.classes, NpzFile.describe):
        with pytest.raises(ValueError, match=rf"a\.npz is no .npz file, as np.savez writes it: {message}"):
            ask(NpzFile(tmp_path / "a.npz"))


@bad_input.arrays(4)
def test_archives_without_sound_arrays_are_named(tmp_path):
    path = saved(tmp_path).npz
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("x_train.npy").header_offset + 400
    content = bytearray(path.read_bytes())
    content[start] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: array x_train cannot be read, the file is damaged"):
        NpzFile(path).load()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.png", b"")
    with pytest.raises(ValueError, match=r"a\.npz is a zip archive without arrays: it holds photo.png"):
        NpzFile(path).load()
    with pytest.raises(ValueError, match=r"is a folder; expected an .npz file"):
        NpzFile(tmp_path).load()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone.npz"):
        NpzFile(tmp_path / "gone.npz").load()


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(datasets, "OWN", {})
    monkeypatch.setattr(datasets, "TITLES", dict(datasets.TITLES))


BROKEN = ["", " ", "my images", "a;b", "$(x)", "../x", "/x", "a/b", "a.b", ".a", "-a", "_a", "a\n", "Möbel", "a" * 61]


@bad_input.names()
@pytest.mark.parametrize("name", [*BROKEN, "nul", "COM1", 2024, None, b"a"])
def test_names_that_break_the_rule_are_refused(tmp_path, registry, name):
    with pytest.raises(ValueError, match="the name of a data set has 1 to 60 letters"):
        datasets.register(name, saved(tmp_path))
    assert not datasets.OWN


def test_names_within_the_rule_are_accepted(tmp_path, registry):
    for name in ("a", "7", "2024", "my_images-2", "A" * 60, "connect", "com10"):
        datasets.register(name, saved(tmp_path))
    for name in ("mnist", "MNIST", "Fashion_MNIST"):
        with pytest.raises(ValueError, match="is taken"):
            datasets.register(name, saved(tmp_path))


@bad_input.arguments()
@pytest.mark.parametrize("source", [None, "a.npz", {"npz": "a.npz"}, IMAGES, NpzFile])
def test_a_source_needs_its_methods(registry, source):
    with pytest.raises(ValueError, match="mine: expected a source with the methods load, classes, fingerprint"):
        datasets.register("mine", source)


@bad_input.names(16)
def test_unknown_names_say_what_to_do(tmp_path, registry):
    datasets.register("flowers", saved(tmp_path))
    for ask in (datasets.load_dataset, datasets.classes, datasets.describe, datasets.fingerprint):
        with pytest.raises(
            ValueError, match=r"unknown data set 'flower'; did you mean 'flowers'\?.*declared_datasets\(\)"
        ):
            ask("flower")
        for name in (None, ["mnist"], 3):
            with pytest.raises(ValueError, match="unknown data set"):
                ask(name)


def test_titles_are_those_of_the_source_and_other_sources_are_described_by_their_arrays(tmp_path, registry):
    class Source:
        def load(self):
            return IMAGES[..., None] / 255, LABELS * 2, IMAGES[..., None] / 255, LABELS + 4

        def classes(self):
            return [0, 2, 4]

        def fingerprint(self):
            return "0" * 64

    datasets.register("plain", Source())
    plain = datasets.describe("plain")
    assert plain.image_shape == (6, 8, 1) and plain.class_names == ("0", "", "2", "", "4", "5", "6")
    assert (plain.classes, plain.known, plain.unknown) == ((0, 2, 4), (0, 2, 4), (5, 6))
    datasets.register("mine", NpzFile(saved(tmp_path).npz, title="My stripes"))
    assert datasets.TITLES["mine"] == datasets.describe("mine").title == "My stripes"
    datasets.register("mine", saved(tmp_path))
    assert datasets.TITLES["mine"] == datasets.describe("mine").title == "mine"
