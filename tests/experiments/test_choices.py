"""What notebooks ask about their data: MNIST's answers are the paper's, and other data gets answers that fit."""

import bad_input
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgmm import DCGMM, datasets
from dcgmm.architectures import ARCHITECTURES
from dcgmm.experiments import choices, config


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that declares images as the data set `own`, by the classes of its parts."""

    def declare(train, test, shape=(12, 16, 3)):
        parts = {}
        for part, labels in (("train", train), ("test", test)):
            labels = np.asarray(labels)
            parts[f"y_{part}"] = labels
            parts[f"x_{part}"] = np.broadcast_to(labels[:, None, None, None] / 100, (len(labels), *shape)).astype(
                "float32"
            )
        np.savez(tmp_path / "own.npz", **parts)
        monkeypatch.setitem(datasets.OWN, "own", datasets.NpzFile(tmp_path / "own.npz"))
        monkeypatch.setitem(datasets.TITLES, "own", "Own")
        return "own"

    config.declared_datasets()
    return declare


def test_the_classes_of_mnist_are_those_of_the_paper():
    found = choices.classes("mnist")
    assert (found.text, found.words(), found.words(found.unknown)) == ("0-4", "classes 0–4", "classes 5–9")
    assert choices.classes("fashion_mnist").words() == "classes 0–4"


@bad_input.choices(5)
def test_known_classes_are_a_parameter_and_the_others_are_unknown(own):
    name = own(train=[0, 1, 2, 3], test=[0, 1, 2, 3, 4])
    assert choices.classes(name).known == (0, 1, 2, 3)  # only test images have class 4
    found = choices.classes(name, "0,2-3")
    assert (found.known, found.unknown, found.text) == ((0, 2, 3), (1, 4), "0,2-3")
    assert choices.classes(name, 3).known == (3,)  # papermill reads `-p known 3` as a number
    assert choices.classes(name, "all").unknown == (4,)
    with pytest.raises(ValueError, match=r"known='3-4' names the classes 4, but the training images of 'own' have 0-3"):
        choices.classes(name, "3-4")
    for wrong in ("[0, 1]", [0, 1], True, 0.5):
        with pytest.raises(ValueError, match="classes are labels and ranges"):
            choices.classes(name, wrong)


def test_names_of_own_classes_are_in_the_words_but_not_endlessly():
    few = choices.Classes("own", (0, 1), (2,), ("cat", "dog", "eel"))
    assert few.words() == "classes 0–1 (cat, dog)" and few.words(few.unknown) == "class 2 (eel)"
    many = choices.Classes("own", tuple(range(30)), (), tuple(f"name {i}" for i in range(30)))
    assert many.words() == "classes 0–29 (name 0, name 1, name 2, name 3, name 4, name 5, …)"


@bad_input.choices(3)
def test_a_class_without_test_images_is_no_error_but_no_images_at_all_are(own):
    x, y = np.zeros((3, 2, 2, 1)), np.array([0, 0, 2])
    assert len(choices.select("own", x, y, (0, 1))[0]) == 2
    for labels, least, words in (((1,), 1, "classes 1"), ((), 1, "not trained on"), ((0,), 3, "at least 3")):
        with pytest.raises(choices.NotForThisData, match=words):
            choices.select("own", x, y, labels, least)


def test_first_images_of_sorted_data_are_of_all_classes_and_those_of_mnist_are_as_they_were(own):
    labels = np.repeat(range(4), 50)
    x, y, x_test, y_test = choices.load(own(train=labels, test=labels))
    assert set(y[:40]) == set(y_test[:40]) == {0, 1, 2, 3}
    np.testing.assert_allclose(x[:, 0, 0, 0], y / 100)
    np.testing.assert_allclose(x_test[:, 0, 0, 0], y_test / 100)
    ours, theirs = choices.load("mnist"), datasets.load_dataset("mnist")
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs))


def test_table_i_is_taken_as_asked_on_28x28_pixels(capsys):
    assert choices.instance("mnist", "2L-c") == choices.instance("mnist") == "2L-c"
    assert choices.instance("mnist", "2L-c C(10)", classify=True) == "2L-c C(10)"
    assert choices.instances("mnist") == {name: name for name in ARCHITECTURES}
    assert choices.claims_apply("mnist", choices.instances("mnist"), ARCHITECTURES)
    assert not choices.claims_apply("mnist", ["2L-c"], ARCHITECTURES)
    assert capsys.readouterr().out == ""


def test_images_of_another_size_get_instances_that_fit_and_a_sentence(own, capsys):
    name = own(train=[0, 1], test=[0, 1])
    taken = choices.instance(name, "2L-c", levels=2)
    assert DCGMM.from_spec(taken, (12, 16, 3)).gmm_layers[0].output_plane != (1, 1)
    several = choices.instances(name)
    assert taken in several.values()
    kinds = choices.kinds({text: DCGMM.from_spec(spec, (12, 16, 3)) for text, spec in several.items()})
    assert len(kinds["flat"]) == 1 and len(kinds["deep, convolutional"]) == 2
    assert choices.instance(name, "2L-c", classify=True).endswith(" C(2)")
    assert choices.instance(name, "F(12,16,1,1) G(9) C(5)", classify=True) == "F(12,16,1,1) G(9) C(2)"
    assert not choices.claims_apply(name)
    assert capsys.readouterr().out.count("<IPython.core.display.Markdown object>") == 4


def test_the_architectures_that_params_yaml_lists_are_taken(own, monkeypatch):
    name, flat, deep = own(train=[0, 1], test=[0, 1]), "F(12,16,1,1) G(9)", "F(4,4,4,4) G(4) F(3,4,1,1) G(4)"
    monkeypatch.setattr(choices, "own_architectures", lambda dataset: [flat, f"{flat} C(2)", deep])
    assert choices.instance(name) == choices.instance(name, "2L-c") == flat
    assert choices.instance(name, levels=2) == deep and choices.instance(name, classify=True) == f"{flat} C(2)"
    assert [*choices.instances(name).values()] == [flat, deep]
    assert choices.instance(name, "F(12,16,1,1) G(4)") == "F(12,16,1,1) G(4)"
    monkeypatch.setattr(choices, "own_architectures", lambda dataset: [flat])
    assert DCGMM.from_spec(choices.instance(name, levels=2), (12, 16, 3)).gmm_layers[1]


@bad_input.choices(12)
def test_an_instance_that_does_not_fit_is_named_with_those_that_do(own):
    name = own(train=[0, 1], test=[0, 1])
    with pytest.raises(choices.NotForThisData, match=r"'F\(20,20,1,1\) G\(4\)' does not fit the images of own.*12×16"):
        choices.instance(name, "F(20,20,1,1) G(4)")
    with pytest.raises(choices.NotForThisData, match="'2L-c' does not fit"):
        choices.instances(name, ["2L-c"])
    with pytest.raises(choices.NotForThisData, match="at least 2 GMM layers, and 'F.12,16,1,1. G.4.' has 1"):
        choices.instance(name, "F(12,16,1,1) G(4)", levels=2)
    with pytest.raises(choices.NotForThisData, match="without a classifier"):
        choices.instances(name, "F(12,16,1,1) G(4) C(2)")
    for wrong in (5, "", []):
        with pytest.raises(ValueError):
            choices.instance(name, wrong)
    for wrong in (5, "", [], [5], '["2L-c"]'):
        with pytest.raises(ValueError):
            choices.instances(name, wrong)


def test_a_claim_that_is_not_judged_is_quoted_with_the_reason(monkeypatch):
    said = []
    monkeypatch.setattr(choices, "display", lambda text: said.append(text.data))
    choices.not_judged("C5")
    choices.too_short("C5")
    assert all(choices.CLAIMS["C5"] in text and "C5 is not judged" in text for text in said)
    assert "Table I" in said[0] and "too short" in said[1]


def test_kinds_of_table_i_are_those_of_the_paper():
    assert choices.kinds({name: DCGMM.from_spec(name) for name in ARCHITECTURES}) == {
        "flat": ["1L"],
        "deep, not convolutional": ["2L-d", "3L-b"],
        "deep, convolutional": ["2L-a", "2L-b", "2L-c", "2L-e", "3L-a"],
    }


@bad_input.choices(3)
@pytest.mark.parametrize("text", ["[1, 2]", "1"])
def test_a_text_where_numbers_belong_is_refused_with_the_way_to_give_them(text):
    for check in (
        lambda: choices.check_lists(int, values_of_s=text),
        lambda: choices.check_counts(values_of_s=text),
        lambda: choices.check_numbers(values_of_s=text),
    ):
        with pytest.raises(ValueError, match=r"values_of_s must be .*received '\[?1.*a text; on papermill.*-y"):
            check()


@given(st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.lists(st.floats(), max_size=3)))
def test_what_is_no_list_of_whole_numbers_is_refused(value):
    with pytest.raises(ValueError, match="sizes must be a list of whole numbers"):
        choices.check_lists(int, sizes=value)
    if not isinstance(value, float) or not np.isfinite(value):
        with pytest.raises(ValueError, match="c must be a finite number"):
            choices.check_numbers(c=value)


@given(st.lists(st.integers(1, 50), min_size=1))
def test_lists_counts_and_numbers_that_are_right_are_accepted(values):
    choices.check_lists(int, least=1, values=values, same=tuple(values))
    choices.check_counts(**{f"n_{i}": value for i, value in enumerate(values)})
    choices.check_numbers(a=float(values[0]), b=-values[0])


@bad_input.choices(4)
def test_a_length_is_in_proportion_to_the_image_and_must_fit():
    assert [choices.pixels(n, (28, 28), patch=None) for n in (14, 10, 4)] == [14, 10, 4]
    assert choices.pixels(10, (28, 28), around=4, hole=20) == 20
    with pytest.raises(choices.NotForThisData, match="hole=21 with 4 pixels around it"):
        choices.pixels(10, (28, 28), around=4, hole=21)
    for wrong in (0, 2.5, "3"):
        with pytest.raises(ValueError, match="hole must be a whole number"):
            choices.pixels(10, (28, 28), hole=wrong)


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_hole_and_its_margin_fit_into_every_image(height, width):
    if min(height, width) > 2:
        margin = choices.pixels(4, (height, width), margin=None)
        assert 1 <= choices.pixels(10, (height, width), around=margin, hole=None) <= min(height, width) - 2 * margin


def test_what_a_notebook_needs_is_one_line_without_a_traceback():
    with pytest.raises(choices.NotForThisData) as stop:
        choices.need(False, "This notebook needs more.")
    assert stop.value._render_traceback_() == ["NotForThisData: This notebook needs more."]
    choices.need(True, "")
