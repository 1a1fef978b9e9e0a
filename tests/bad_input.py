"""Marks tests that give wrong input and see it refused, or warned of; conftest.py counts the marks.

`@bad_input.images(5)` marks a test, or each of its parametrised cases, that gives five wrong inputs.
"""

from functools import partial

import pytest


def _of(what, count=1):
    return pytest.mark.promise("bad input", what, count)


images = partial(_of, "images of a wrong shape, type or range")
streams = partial(_of, "batches of images that do not fit, or streams that are empty or endless")
labels = partial(_of, "labels that do not fit")
arguments = partial(_of, "arguments of a wrong type or outside their range")
layers = partial(_of, "layers and specifications that do not fit")
names = partial(_of, "names and paths that break the rule or are unknown")
files = partial(_of, "files and folders of images that cannot be used")
arrays = partial(_of, "files of arrays that cannot be used")
settings = partial(_of, "settings in params.yaml and dvc.yaml")
choices = partial(_of, "choices for a notebook that it or its data do not have")
