"""The self-checks of exercise 3. Each says what is wrong, or that the task is right."""

from itertools import product

import numpy as np
from words import in_words

from dcgmm import DCGMM, GMM, Folding

SPEC = "F(8,8,2,2) G(25) F(11,11,1,1) G(36)"


@in_words
def number_of_positions(positions):
    """Check task 1 on all small windows, against the positions that fit when they are laid out one by one."""
    for n, size, stride in product(range(1, 13), range(1, 14), range(1, 5)):
        starts = [start for start in range(0, n, stride) if start + size <= n]
        case = f"a window of {size} pixels in steps of {stride} on {n} pixels"
        fits = bool(starts) and starts[-1] + size == n
        try:
            found = positions(n, size, stride)
        except ValueError:
            assert not fits, f"You refuse {case}, but it has {len(starts)} positions and ends at the border."
            continue
        assert found is not None, "positions returns nothing: does it end with `return`?"
        assert starts or fits, f"You return {found} for {case}: raise a ValueError, because the window is too large."
        assert fits, (
            f"You return {found} for {case}: raise a ValueError, because the last window does not end at the border."
        )
        if found == len(starts):
            continue
        assert found != len(starts) - 1, f"You return {found} for {case}, one too few: the first position counts, too."
        assert found != n / stride, f"You return {found} for {case}: a window needs `size` pixels, not `stride`."
        raise AssertionError(f"You return {found} for {case}, but it has {len(starts)}: it starts at {starts}.")
    assert isinstance(positions(28, 8, 2), int), "Return an integer: divide by // and not by /."
    print("Task 1 is right, for all windows on up to 12 pixels.")


@in_words
def parameters_of_a_mixture(parameters):
    """Check task 2 against the library's count of layers that it builds."""
    for k, d in ((25, 64), (36, 3025), (4, 10), (1, 1)):
        gmm = GMM(k)
        gmm.build((None, 1, 1, d))
        expected, found = gmm.count_params(), parameters(k, d)
        assert found is not None, "parameters returns nothing: does it end with `return`?"
        mistakes = {
            "The weights are missing, one for each component.": 2 * k * d,
            "The precisions are missing: they have as many numbers as the centroids.": k * d + k,
            "Only the centroids are counted.": k * d,
            "This counts full covariance matrices of D × D numbers. Diagonal ones have D numbers.": k * (d + d * d + 1),
            "This counts one weight for all, but each component has its own.": 2 * k * d + 1,
            "This leaves out the last weight, which follows from the others. The library stores all K.": expected - 1,
        }
        if found == expected:
            continue
        for words, wrong in mistakes.items():
            assert found != wrong, f"For K = {k}, D = {d} you return {found:,}. {words}"
        raise AssertionError(f"For K = {k}, D = {d} you return {found:,}, but the library counts {expected:,}.")
    print("Task 2 is right: the library counts the same.")


@in_words
def shapes_and_counts(shapes, counts):
    """Check task 3 against a model that the library builds."""
    layers = DCGMM.from_spec(SPEC).stack
    shape = (None, 28, 28, 1)
    for layer in layers:
        shape = layer.compute_output_shape(shape)
        found = tuple(shapes[layer.name])
        channels = "a window's pixels" if layer.letter == "F" else "one for each component"
        assert len(found) == 3, f"{layer.name}: give (height, width, channels), not {found}."
        assert found[:2] == shape[1:3], f"{layer.name} has {found[0]}×{found[1]} positions in your table. Use task 1."
        assert not (layer.name == "F3" and found[2] == 121), (
            "F3: each of the 121 positions in the window has 25 channels, and all of them become channels of F3."
        )
        assert found[2] == shape[3], f"{layer.name} has {found[2]} channels in your table. Its channels: {channels}."
    for layer in layers:
        found, expected = counts[layer.name], layer.count_params()
        assert not (layer.letter == "F" and found), f"{layer.name} only moves numbers. It has no parameters."
        assert found != 121 * expected or not expected, (
            f"{layer.name} is counted once for each of its 121 positions. All positions share one mixture."
        )
        assert found == expected, (
            f"{layer.name} has {found:,} parameters in your table. Use task 2 with D = the channels of its input."
        )
    print(f"Task 3 is right: {sum(counts.values()):,} parameters, of which {counts['G4'] / 221_061:.0%} are in G4.")


@in_words
def built(model):
    """Check task 4: the model is 2L-c, down to the start of its centroids."""
    assert isinstance(model, DCGMM), "model is no DCGMM: put the list of layers into DCGMM(...)."
    expected = DCGMM.from_spec(SPEC)
    found, letters = [layer.letter for layer in model.stack], "".join(layer.letter for layer in expected.stack)
    assert "".join(found) == letters, f"The chain has the layers {' '.join(found)}, expected {' '.join(letters)}."
    for layer, right in zip(model.stack, expected.stack, strict=True):
        assert layer.description == right.description, (
            f"{layer.name} is {layer.description}, but 2L-c has {right.description}."
        )
    total = sum(layer.count_params() for layer in model.stack)
    assert total == 221_061, f"The model has {total:,} parameters, but 2L-c has 221,061."
    images = np.random.default_rng(0).random((2, 28, 28, 1), dtype="float32")
    assert np.allclose(model.responsibilities(images), expected.responsibilities(images), atol=1e-5), (
        "The layers are right, but the centroids start from another seed: use seed=0."
    )
    print("Task 4 is right: this is 2L-c, with 221,061 parameters.")


@in_words
def way_down(fold_down, patches):
    """Check task 5: the coverage, the image that gives these patches, and patches that disagree."""
    answer = fold_down(patches)
    assert isinstance(answer, tuple) and len(answer) == 2, "fold_down must return two arrays: coverage and image."
    coverage, image = (np.asarray(part) for part in answer)
    folding = Folding(8, strides=2)
    folding.build((None, 28, 28, 1))
    expected = folding.coverage.reshape(28, 28)
    assert coverage.shape == (28, 28), f"The coverage has shape {coverage.shape}, expected (28, 28)."
    assert coverage.sum() == 121 * 64, (
        f"Your coverage sums to {coverage.sum():,}, but 121 windows have 121·64 = 7,744 entries. Does each window "
        "cover 8×8 pixels, and does it move by 2 pixels?"
    )
    assert np.array_equal(coverage, expected), (
        f"The coverage is wrong: in the middle you have {coverage[14, 14]}, expected {expected[14, 14]}; in the corner "
        f"{coverage[0, 0]}, expected {expected[0, 0]}."
    )
    original = folding.down(patches[None]).numpy()[0, :, :, 0]
    assert image.shape == (28, 28), f"The image has shape {image.shape}, expected (28, 28)."
    assert not np.allclose(image, original * expected, atol=1e-5) or np.allclose(original, 0), (
        "Each pixel is the sum of the entries that cover it: divide by the coverage."
    )
    assert not np.allclose(image, original.T, atol=1e-5), "The image is transposed: rows come first, then columns."
    assert np.allclose(image, original, atol=1e-5), (
        "The patches of an image do not give this image again. Is entry (y, x) of a window number 8·y + x?"
    )
    noise = np.random.default_rng(0).random((11, 11, 64), dtype="float32")
    assert np.allclose(fold_down(noise)[1], folding.down(noise[None]).numpy()[0, :, :, 0], atol=1e-5), (
        "Patches that agree are right, but patches that disagree are not averaged: is the last one kept?"
    )
    print(f"Task 5 is right. A pixel in the middle is covered by {coverage[14, 14]} windows, a corner by one.")


@in_words
def unshared(own_g2, own_total, factor):
    """Check task 6 against the library's count of an instance without sharing."""
    layers = [Folding(8, strides=2), GMM(25, shared=False), Folding(11), GMM(36)]
    stack = DCGMM(layers, input_shape=(28, 28, 1)).stack
    g2, total = stack[1].count_params(), sum(layer.count_params() for layer in stack)
    assert own_g2 != 3225, "own_g2 is the number of the shared mixture. How many positions has G2?"
    assert own_g2 != 64 * 3225, "G2 has one mixture for each of its positions, not for each pixel of a window."
    assert own_g2 == g2, f"own_g2 is {own_g2:,}, but the library counts {g2:,}: one mixture for each position."
    assert own_total != own_g2, "The whole instance has the parameters of G4, too."
    assert own_total == total, f"own_total is {own_total:,}, but the library counts {total:,}. G4 does not change."
    assert factor == g2 / 3225, f"The factor for G2 is the number of its positions, not {factor}."
    print(f"Task 6 is right: without sharing, the instance has {total / 221_061:.1f} times as many parameters.")
