"""Checks of the arguments of `compile`, `fit`, `evaluate` and `predict`, beside images and labels."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from dcgmm.arguments import integer, nearest, number, positive_integer, refusal, truth
from dcgmm.streams import Stream

LEARNING_RATE = 0.05
OF_FIT = (
    *("verbose", "initial_epoch", "steps_per_epoch", "validation_steps", "validation_batch_size", "validation_freq"),
    *("class_weight", "sample_weight", "shuffle", "validation_split"),
)
OF_EVALUATE = ("verbose", "steps", "callbacks", "return_dict", "sample_weight")
OF_PREDICT = ("verbose", "steps", "callbacks")
OF_COMPILE = ("run_eagerly", "auto_scale_loss", "loss", "loss_weights", "metrics", "weighted_metrics")


def known_names(method: str, given: Iterable[str], options: Iterable[str], own: Callable[..., Any]) -> None:
    """Refuse a keyword argument that a method does not have, and name the most similar one.

    Args:
        method: the method's name.
        given: the names of the keyword arguments beyond its own.
        options: the names that fit.
        own: the method itself, whose own arguments may have been meant, too.

    Raises:
        TypeError: if there is such an argument.

    Example:
        >>> known_names("predict", ["verbos"], OF_PREDICT, keras.Model.predict)
        Traceback (most recent call last):
        TypeError: predict has no argument 'verbos'; did you mean 'verbose'?
    """
    options = tuple(options)
    for name in given:
        if name not in options:
            raise TypeError(
                f"{method} has no argument {name!r}{nearest(name, {*options, *inspect.signature(own).parameters})}"
            )


def optimizer(given: Any, learning_rate: Any) -> keras.optimizers.Optimizer:
    """Return the optimizer of `compile`.

    Args:
        given: an optimizer, a name or a config of one, or None for plain SGD.
        learning_rate: the rate, or a schedule of it. None: 0.05 for the default SGD, and else the optimizer's own.

    Raises:
        ValueError: if there is no such optimizer, the rate is no positive number, or a rate is given beside an
            optimizer that has one.

    Example:
        >>> round(float(optimizer("adam", 0.5).learning_rate), 3)
        0.5
        >>> optimizer(keras.optimizers.Adam(), 0.5)
        Traceback (most recent call last):
        ValueError: learning_rate=0.5 would be ignored beside an optimizer with a rate of its own: give it to Adam
    """
    if learning_rate is not None and not _is_schedule(learning_rate):
        learning_rate = float(number("learning_rate", learning_rate, above=0))  # Keras takes no integer
    if given is None:
        return keras.optimizers.SGD(LEARNING_RATE if learning_rate is None else learning_rate)
    expected = "an optimizer, or the name of one such as 'sgd' or 'adam'"
    if isinstance(given, type):
        raise ValueError(
            f"optimizer must be {expected}, received the class {given.__name__}: call it, {given.__name__}()"
        )
    if not isinstance(given, str | Mapping | keras.optimizers.Optimizer):
        raise refusal("optimizer", expected, given)
    if isinstance(given, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "optimizer must be one without loss scaling, because a DCGMM works in float32, received a "
            "LossScaleOptimizer: give its inner optimizer"
        )
    if isinstance(given, keras.optimizers.Optimizer | Mapping):
        if learning_rate is not None:
            kind = type(given).__name__ if isinstance(given, keras.optimizers.Optimizer) else "its config"
            raise ValueError(
                f"learning_rate={learning_rate} would be ignored beside an optimizer with a rate of its own: give it "
                f"to {kind}"
            )
        return keras.optimizers.get(given)
    try:
        config = {} if learning_rate is None else {"learning_rate": learning_rate}
        return keras.optimizers.get({"class_name": given, "config": config})
    except (ValueError, TypeError):
        raise refusal("optimizer", expected, given) from None


def _is_schedule(rate):
    return isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) or (
        callable(rate) and not isinstance(rate, type)
    )


def check_compile(steps_per_execution: Any, jit_compile: Any, others: Mapping[str, Any], own: Any) -> None:
    """Refuse other arguments of `compile` that are of the wrong kind, or that a DCGMM has no use for.

    Raises:
        ValueError: if one does not fit.
        TypeError: if there is no such argument.

    Example:
        >>> check_compile(0, False, {}, keras.Model.compile)
        Traceback (most recent call last):
        ValueError: steps_per_execution must be a positive integer, received 0
    """
    known_names("compile", others, OF_COMPILE, own)
    its_own = ("loss", "loss_weights", "metrics", "weighted_metrics")
    if given := [name for name in its_own if others.get(name) is not None and others[name] != []]:
        raise ValueError(f"a DCGMM has its own loss and metrics, received {', '.join(given)}")
    if steps_per_execution is not None:
        positive_integer("steps_per_execution", steps_per_execution)
    if jit_compile != "auto":
        truth("jit_compile", jit_compile)
    for name in ("run_eagerly", "auto_scale_loss"):
        truth(name, others.get(name, False))


def check_fit(epochs: Any, count_weights: Any, others: Mapping[str, Any], own: Any) -> None:
    """Refuse arguments of `fit` that are of the wrong kind or out of their range, or that would be ignored.

    Raises:
        ValueError: if one does not fit.
        TypeError: if there is no such argument.

    Example:
        >>> check_fit(1.5, False, {}, keras.Model.fit)
        Traceback (most recent call last):
        ValueError: epochs must be a positive integer, received 1.5
    """
    known_names("fit", others, OF_FIT, own)
    positive_integer("epochs", epochs)
    truth("count_weights", count_weights)
    if others.get("validation_split") or others.get("shuffle") is not None:
        raise ValueError(
            "validation_split and shuffle are not supported: arrays are always shuffled, by seed and epoch; split "
            "them beforehand, or pass a tf.data.Dataset for an order of your own"
        )
    check_weights(others)
    first = integer("initial_epoch", others.get("initial_epoch", 0), at_least=0)
    if first >= epochs:
        raise ValueError(
            f"initial_epoch={first} leaves no epoch to train, since epochs={epochs} is the number of the last one"
        )
    for name in ("steps_per_epoch", "validation_steps", "validation_batch_size"):
        if others.get(name) is not None:
            positive_integer(name, others[name])
    frequency = others.get("validation_freq", 1)
    for epoch in frequency if isinstance(frequency, list) else [frequency]:
        positive_integer("validation_freq", epoch)
    check_verbose(others)


def check_weights(others: Mapping[str, Any]) -> None:
    """Refuse weights of images or classes.

    Raises:
        ValueError: if there are any.

    Example:
        >>> check_weights({"class_weight": {0: 2.0}})
        Traceback (most recent call last):
        ValueError: class_weight cannot be given: every image counts the same
    """
    if given := [name for name in ("class_weight", "sample_weight") if others.get(name) is not None]:
        raise ValueError(f"{' and '.join(given)} cannot be given: every image counts the same")


def check_verbose(others: Mapping[str, Any]) -> None:
    """Refuse a `verbose` that Keras does not know.

    Raises:
        ValueError: if it is another one than "auto", 0, 1 and 2.

    Example:
        >>> check_verbose({"verbose": 3})
        Traceback (most recent call last):
        ValueError: verbose must be "auto", 0, 1 or 2, received 3
    """
    verbose = others.get("verbose", "auto")
    if verbose != "auto" and not (isinstance(verbose, bool) or verbose in (0, 1, 2)):
        raise refusal("verbose", '"auto", 0, 1 or 2', verbose)


def callback_list(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return callbacks as a list: none, one of them, or several, also those within Keras' own CallbackList.

    Raises:
        ValueError: if there is something else among them.

    Example:
        >>> callback_list([keras.callbacks.History])
        Traceback (most recent call last):
        ValueError: callbacks must be Keras callbacks, received the class History: call it, History()
    """
    if callbacks is None:
        return []
    found: list[keras.callbacks.Callback] = []
    for callback in callbacks if isinstance(callbacks, list | tuple) else [callbacks]:
        if isinstance(callback, type):
            name = callback.__name__
            raise ValueError(f"callbacks must be Keras callbacks, received the class {name}: call it, {name}()")
        if not isinstance(callback, keras.callbacks.Callback):
            raise refusal("callbacks", "Keras callbacks", callback)
        found += callback.callbacks if isinstance(callback, keras.callbacks.CallbackList) else [callback]
    return found


def check_steps(stream: Stream, steps: Any, name: str, source: str = "x") -> int | None:
    """Return the number of batches to read, None for all.

    Args:
        stream: the stream of batches.
        steps: the number, or None.
        name: what the argument is called, for messages.
        source: how the stream's argument is called, for messages. Default "x".

    Raises:
        ValueError: if it is no positive integer or more than there are, or there is no number and no end, or no batch.

    Example:
        >>> import tensorflow as tf
        >>> check_steps(Stream(tf.data.Dataset.range(3).repeat()), None, "steps_per_epoch")
        Traceback (most recent call last):
        ValueError: x: the data set has no end, so give steps_per_epoch, the number of batches to read
    """
    if steps is not None:
        positive_integer(name, steps)
    there = stream.n_batches
    if there == 0:
        raise ValueError(f"{source}: expected batches of images, received an empty data set")
    if stream.endless and steps is None:
        raise ValueError(f"{source}: the data set has no end, so give {name}, the number of batches to read")
    if steps is not None and there is not None and steps > there:
        raise ValueError(f"{name}={steps} is more than the {there} batch(es) that {source} has")
    return steps
