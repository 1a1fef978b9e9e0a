"""Data sets of your own, by name: images in folders, and arrays in `.npz` files.

Their arrays are held in memory. To train on images that do not fit into memory, use a `tf.data.Dataset`:

    images = keras.utils.image_dataset_from_directory(folder, color_mode="grayscale", image_size=(28, 28))
    model.fit(images.map(lambda x, y: x / 255))
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dcgmm.datasets import checks
from dcgmm.datasets.arrays import NpzFile
from dcgmm.datasets.folders import ImageFolder


def from_settings(settings: Mapping[str, Any], root: str | os.PathLike = ".") -> NpzFile | ImageFolder:
    """Return an `NpzFile` or an `ImageFolder` from a dict of its arguments.

    Args:
        settings: the arguments by name. `~` and environment variables in paths are replaced.
        root: the folder that the paths are relative to. Default: the current folder.

    Raises:
        ValueError: if there is no `npz` and no `folder`, or an argument is unknown or outside its range.

    Example:
        >>> from_settings({"npz": "mine.npz"}, root="data").npz.as_posix()
        'data/mine.npz'
        >>> from_settings({"folder": "flowers", "size": 28}).size
        (28, 28)
        >>> from_settings({"folder": "flowers", "chanels": 3})
        Traceback (most recent call last):
        ValueError: unknown key 'chanels' of a data set; did you mean 'channels'? ...
    """
    kinds = {"npz": NpzFile, "folder": ImageFolder}
    chosen = [key for key in kinds if isinstance(settings, Mapping) and key in settings]
    if len(chosen) != 1:
        raise ValueError(f"expected `npz: path` or `folder: path`, received {settings!r}")
    kind = kinds[chosen[0]]
    accepted = [field.name for field in fields(kind)]
    for key in settings:
        if key not in accepted:
            near = get_close_matches(str(key), accepted, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise ValueError(
                f"unknown key {key!r} of a data set{hint} accepted beside {chosen[0]}: {', '.join(accepted[1:])}"
            )
    arguments = dict(settings)
    arguments[chosen[0]] = Path(root, checks.expanded(chosen[0], settings[chosen[0]]))
    if "test" in settings and kind is ImageFolder and isinstance(test := checks.test_part(settings["test"]), Path):
        arguments["test"] = Path(root, test)
    return kind(**arguments)
