import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from dcgmm import DCGMM, Sharpening, parallel


@given(length=st.integers(1, 12), n=st.integers(1, 5))
def test_parts_of_a_batch_are_the_batch_and_none_is_empty(length, n):
    batch = tf.range(length)[:, None] * 10
    parts, sizes = parallel.cut(batch, n)
    assert len(parts) == len(sizes) == n
    assert all(len(part) >= max(1, size) for part, size in zip(parts, sizes, strict=True))
    np.testing.assert_array_equal(parallel.join(parts, sizes), batch)
    np.testing.assert_array_equal(parallel.side_by_side(lambda part: [part + 1], batch, n)[0], batch + 1)
    own = [tf.cast(part[:size], tf.float32) for part, size in zip(parts, sizes, strict=True)]
    means = [tf.reduce_mean(part) if len(part) else tf.constant(1e9) for part in own]
    assert float(parallel.mean(means, sizes)) == pytest.approx(float(np.mean(batch)), rel=1e-5)


# The first model computes its overlapping filter by a convolution; the second has no overlapping filter.
@pytest.mark.slow
@pytest.mark.parametrize("spec", ["F(8,8,2,2) G(9) P(2,2) F(5,5,1,1) G(9)", "F(7,7,7,7) G(25) F(4,4,1,1) G(36) C(3)"])
@pytest.mark.parametrize("n", [2, 3])
def test_a_model_that_works_in_parts_gives_what_it_gives_in_one(spec, n, images, monkeypatch):
    # The last batch has one image, fewer than there are parts.
    images, labels = images[:33], np.arange(33) % 3 if "C" in spec else None

    def results(n):
        monkeypatch.setattr(parallel, "n_parts", lambda: n)
        model = DCGMM.from_spec(spec, annealing={"rate": 0.2})
        assert model.n_parts == n
        model.compile()
        history = model.fit(images, labels, epochs=3, batch_size=8, verbose=0).history
        measured = model.evaluate(images, labels, batch_size=8, verbose=0)
        outputs = model.predict(images, batch_size=8, verbose=0)
        samples = model.sample(5, top_s=1, sharpening=Sharpening(5), seed=0)
        likelihoods = model.log_likelihoods(images[:5])
        responsibilities = model.responsibilities(images[:1])
        return [*history.values(), measured, outputs, samples, *likelihoods, responsibilities, *model.get_weights()]

    for whole, parts in zip(results(1), results(n), strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("", "1 3 True"),
        ("tf.config.threading.set_intra_op_parallelism_threads(2)", "2 1 False"),
        ("import os; os.environ['TF_NUM_INTRAOP_THREADS'] = '2'", "0 1 False"),
        ("tf.ones(1)", "0 1 False"),
    ],
)
def test_threads_are_as_the_user_or_a_running_tensorflow_has_them(first, expected):
    program = f"""
import tensorflow as tf
tf.config.threading.set_inter_op_parallelism_threads(3)
{first}
from dcgmm import parallel, use_cores
in_parts = use_cores()
print(tf.config.threading.get_intra_op_parallelism_threads(), parallel.n_parts(), in_parts)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == expected.split()
