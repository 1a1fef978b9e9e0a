"""The self-checks of exercise 6. Each says what is wrong, or that the task is right."""

from functools import cache

import numpy as np
from words import in_words

from dcgmm import ARCHITECTURES, DCGMM, load_dataset, outliers
from dcgmm.datasets import select_classes, thinned

BUDGET = 221_061
EPOCHS = 6
SETTINGS = {"seed": 0, "annealing": {"rate": 0.2, "decay": 0.8}}


@in_words
def count(parameters):
    """Check task 1 by instances whose mixtures are counted here."""
    instances = {
        "F(28,28,1,1) G(25)": [(25, 784)],
        "2L-c": [(25, 64), (36, 3025)],
        "F(3,3,1,1) G(9) P(2,2) F(13,13,1,1) G(16)": [(9, 9), (16, 1521)],
    }
    for spec, mixtures in instances.items():
        expected, found = sum(k * (2 * d + 1) for k, d in mixtures), parameters(spec)
        assert found is not None, "parameters returns nothing: does it end with `return`?"
        assert found != DCGMM.from_spec(spec).count_params(), (
            f"{found:,} for {spec} has also the state of the annealing and the statistics of Eq. 6. Count the layers."
        )
        assert found != sum(k * d for k, d in mixtures), f"{found:,} for {spec} are the centroids alone."
        assert found == expected, f"{spec} has {expected:,} parameters, and you return {found:,}."
    print("Task 1 is right.")


@in_words
def game(split, x, y):
    """Check task 2: which digits are in which part, and that no image is in two."""
    parts = split(x, y)
    assert parts is not None and len(parts) == 3, "split must return three arrays: for training, known, outliers."
    digit_of = {image.tobytes(): int(digit) for image, digit in zip(x, y, strict=True)}
    names = "images for training", "known images for judging", "outliers for judging"
    for name, part, digits in zip(names, parts, ({0, 1, 2}, {0, 1, 2}, {3, 4}), strict=True):
        assert part.ndim == 4, f"The {name} have shape {part.shape}. Return images, not labels or indices."
        found = {digit_of.get(image.tobytes(), -1) for image in part}
        assert -1 not in found, f"Some {name} are not among the images that split was given."
        assert found == digits, f"The {name} are the digits {sorted(found)}, expected {sorted(digits)}."
    in_training = {image.tobytes() for image in parts[0]}
    twice = sum(image.tobytes() in in_training for image in parts[1])
    assert not twice, (
        f"{twice} of the known images for judging are also for training. A model knows them, so they score too high."
    )
    assert len(parts[0]) >= 1500, f"Only {len(parts[0])} images for training: with so few, the game differs too much."
    assert min(len(parts[1]), len(parts[2])) >= 500, "Take at least 500 known images and 500 outliers for judging."
    print(f"Task 2 is right: {len(parts[0])} images for training, {len(parts[1])} and {len(parts[2])} for judging.")


@in_words
def designs(candidates, design):
    """Check task 3: three different specifications within the rules, and the design among them."""
    plain = {_plain(spec) for spec in candidates}
    assert len(plain) >= 3, f"You have {len(plain)} different specifications. Try at least three."
    for spec in candidates:
        _check_rules(spec)
    assert design in candidates, "design must be one of your candidates."
    print(f"Task 3 is right: {design} has {_n_parameters(design):,} of {BUDGET:,} parameters.")


@in_words
def beats(design, model, by):
    """Check task 4: the model keeps the rules, and its AUC is above that of 2L-c by a margin."""
    _check_rules(design)
    assert isinstance(model, DCGMM), "model is no DCGMM: use train(design, x_train)."
    n = sum(layer.count_params() for layer in model.stack)
    assert n <= BUDGET, f"The model has {n:,} parameters, but the budget is {BUDGET:,}."
    own = DCGMM.from_spec(design)
    assert [layer.description for layer in model.stack] == [layer.description for layer in own.stack], (
        "The model is not the instance that design describes: use train(design, x_train)."
    )
    images, known, other = _images()
    learned, steps = int(model.moments[-1].count.numpy()), int(model.annealings[0].steps.numpy())
    assert learned, "The model is not trained yet: use train(design, x_train)."
    assert learned == len(images), f"The model has learned {learned:,} images, but the rule is {len(images):,}."
    assert steps == EPOCHS * len(images) // 100, (
        f"The model has learned {steps} mini-batches, but the rule is {EPOCHS} epochs of {len(images) // 100}."
    )
    mean, of_rules = float(model.moments[-1].mean.numpy().mean()), float(model.score_samples(images).mean())
    assert np.isclose(mean, of_rules, rtol=1e-4, atol=1e-2), (
        "The model's statistics of its training images are not those of x_train. It has learned other images. Unknown "
        "digits, 5 to 9, must not be among them."
    )
    again = _trained(_plain(design))
    ours, theirs = (each.score_samples(images[:500]) for each in (again, model))
    # Rounding differs between runs, so the two trainings may drift apart a little. Another training set moves them far.
    assert np.corrcoef(ours, theirs)[0, 1] > 0.98 and abs(np.mean(ours - theirs)) < 0.1 * np.std(ours), (
        "Trained again by the rules, your design becomes another model. Was yours trained on other images (unknown "
        "digits?), with another seed, or with other settings than those of `train`?"
    )
    found, to_beat = _auc(_plain(design)), _auc(_plain("2L-c"))
    words = f"AUC {found:.3f}, 2L-c by the same rules {to_beat:.3f}, difference {found - to_beat:+.3f}"
    assert found > to_beat + by, f"{words}. This check wants more than {by:+.2f}."
    print(f"{words}: this is more than {by:+.2f}.")


def _check_rules(spec):
    n = _n_parameters(spec)
    assert n <= BUDGET, (
        f"{spec} has {n:,} parameters, but the budget is {BUDGET:,}. The top layer has most of them: fewer components, "
        "or fewer positions or channels below it, help."
    )
    table = {_plain(text): name for name, text in ARCHITECTURES.items()}
    assert _plain(spec) not in table, f"{spec} is {table[_plain(spec)]} of Table I. Design one of your own."


def _plain(spec):
    """Return a specification in one form, whatever spaces and names it has."""
    return " ".join(_text(layer) for layer in _stack(spec))


def _text(layer):
    if layer.letter == "G":
        return f"G({layer.n_components}{'' if layer.shared else ',unshared'})"
    return f"{layer.letter}({','.join(map(str, (*layer.size, *layer.strides)))})"


@cache
def _stack(spec):
    return DCGMM.from_spec(spec).stack


def _n_parameters(spec):
    return sum(layer.count_params() for layer in _stack(spec))


@cache
def _images():
    """Return the training images, and known and unknown test images."""
    x_train, y_train, x_test, y_test = load_dataset("mnist")
    train, _ = thinned(*select_classes(x_train, y_train, range(5)), 5000)
    return train, *(thinned(*select_classes(x_test, y_test, digits), 3000)[0] for digits in (range(5), range(5, 10)))


@cache
def _trained(spec):
    """Return an instance that is trained here, by the rules."""
    model = DCGMM.from_spec(spec, **SETTINGS)
    model.compile()
    model.fit(_images()[0], epochs=EPOCHS, verbose=0)
    return model


@cache
def _auc(spec):
    """Return the AUC of an instance on test images of known and unknown digits."""
    return outliers.auc(*(_trained(spec).standardised_scores(images) for images in _images()[1:]))
