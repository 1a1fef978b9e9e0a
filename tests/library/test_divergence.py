"""A training that diverges stops, says where, and leaves weights that scored well."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from dcgmm import DCGMM
from dcgmm.divergence import TrainingDiverged

SPEC = "F(4,4,2,2) G(4) F(3,3,1,1) G(9)"
WITH_CLASSIFIER = f"{SPEC} C(3)"
fault = pytest.mark.promise("fault", "a training diverges")


def images(n=100):
    return np.random.default_rng(0).random((n, 8, 8, 1), dtype="float32")


def labels(n=100):
    return np.arange(n) % 3


def a_model(learning_rate=0.05, optimizer="sgd", spec=SPEC, **arguments):
    model = DCGMM.from_spec(spec, input_shape=(8, 8, 1), centroid_phase=0, **arguments)
    model.compile(optimizer, learning_rate=learning_rate, steps_per_execution=5)
    return model


def stream(x):
    return tf.data.Dataset.from_tensor_slices(x).batch(20)


def state(model):
    return [variable.numpy() for variable in [*model.weights, *model.optimizer.variables]]


def assert_equal_states(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@fault
@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1000.0), ("sgd", 1e6), ("sgd", 1e30), ("adam", 1000.0)])
def test_a_rate_that_is_far_too_large_stops_in_the_first_steps(optimizer, rate, as_stream):
    model = a_model(rate, optimizer)
    before = [layer.means for layer in model.gmm_layers]
    words = rf"in epoch 1, at step 2 .*GMM layer [01] .* smaller .* than {re.escape(f'{rate:g}')};"
    with pytest.raises(TrainingDiverged, match=words):
        model.fit(stream(images()) if as_stream else images(), epochs=3, batch_size=20, verbose=0)
    assert_equal_states([layer.means for layer in model.gmm_layers], before)
    assert all(np.isfinite(values).all() for values in state(model))


@fault
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_weights_are_those_of_a_training_that_stopped_before(optimizer):
    rising = keras.optimizers.schedules.PiecewiseConstantDecay([30], [0.01, 1e5])
    diverged, stopped = a_model(rising, optimizer), a_model(rising, optimizer)
    with pytest.raises(TrainingDiverged, match=r"in epoch 7, at step 3\d .*after 25 steps"):
        diverged.fit(images(), epochs=20, batch_size=20, verbose=0)
    stopped.fit(images(), epochs=5, batch_size=20, verbose=0)
    moments = [variable for layer in stopped.moments for variable in layer.weights]
    for variable in moments:  # only a training that ends gathers them
        variable.assign(tf.zeros(variable.shape))
    assert_equal_states(state(diverged), state(stopped))
    diverged.compile(learning_rate=0.01)
    diverged.fit(images(), epochs=1, batch_size=20, verbose=0)


@fault
def test_what_the_last_step_has_done_is_seen():
    with pytest.raises(TrainingDiverged, match=r"in epoch 1, at step 1 .*after 0 steps"):
        a_model(1e6).fit(images(20), epochs=1, batch_size=20, verbose=0)


@fault
def test_batches_by_hand_are_watched():
    model = a_model(1e6)
    before = state(model)[:3]
    model.train_on_batch(images(20))
    with pytest.raises(TrainingDiverged, match=r"diverged at step 2: .*after 0 steps"):
        model.train_on_batch(images(20))
    assert_equal_states(state(model)[:3], before)
    model.compile()
    model.train_on_batch(images(20))


class Spoil(keras.callbacks.Callback):
    """Sets a variable to NaN when an epoch begins."""

    def __init__(self, variable, epoch):
        super().__init__()
        self.variable, self.epoch = variable, epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.variable.assign(tf.fill(self.variable.shape, np.nan))


@fault
@pytest.mark.parametrize(
    ("part", "words"), [(0, "GMM layer 0"), (1, "GMM layer 1"), (2, "the classifier's cross-entropy")]
)
def test_the_message_names_the_part_the_epoch_and_the_step(part, words):
    model = a_model(spec=WITH_CLASSIFIER)
    variable = [*(layer.mu for layer in model.gmm_layers), model.classifier.weights[0]][part]
    with pytest.raises(TrainingDiverged, match=rf"in epoch 3, at step 11 of this training: .*{words}"):
        model.fit(images(), labels(), epochs=4, batch_size=20, verbose=0, callbacks=[Spoil(variable, 2)])
    assert all(np.isfinite(values).all() for values in state(model))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*pixel")
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("as_stream", [False, True])
def test_images_of_any_magnitude_are_no_divergence(scale, as_stream):
    x = scale * (images() - 0.5)
    x[0, 0, 0] = np.nan
    a_model().fit(stream(x) if as_stream else x, epochs=6, batch_size=20, verbose=0)


@pytest.mark.slow
def test_components_that_start_far_away_are_no_divergence():
    a_model(gmm={"centroid_range": 1000.0}).fit(images(), epochs=2, batch_size=20, verbose=0)
