"""A file is complete or as it was, whatever the disk does, and a damaged one is named instead of used."""

import errno
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dcgmm import DCGMM, files, load_pretrained, saving

RNG = np.random.default_rng(0)


def small_model():
    return DCGMM.from_spec("F(8,8,2,2) G(25)", (28, 28, 1))


def save_model(path):
    small_model().save(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        pytest.param(
            "m.keras", save_model, marks=pytest.mark.promise("fault", "the disk is full while a model is saved")
        ),
        pytest.param(
            "m.weights.h5",
            lambda path: small_model().save_weights(path),
            marks=pytest.mark.promise("fault", "the disk is full while a model's weights are saved"),
        ),
        ("a.txt", lambda path: files.write(path, RNG.bytes(10**5))),
        ("a.zip", lambda path: files.write_archive(path, {"x": RNG.bytes(10**5)})),
    ],
)
def test_a_full_disk_is_named_and_leaves_what_was_there(name, write, full_disk):
    path = full_disk / name
    path.write_bytes(b"before")
    with pytest.raises(OSError, match=rf"nothing was changed: make room, or choose another folder: '{path}'") as raised:
        write(path)
    assert raised.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert {file.name: file.read_bytes() for file in full_disk.iterdir()} == {name: b"before"}


@pytest.mark.promise("fault", "the folder is read-only where a model is saved")
def test_a_read_only_folder_is_named(tmp_path, make_read_only):
    folder = tmp_path / "sealed"
    folder.mkdir()
    files.write(folder / "m.keras", b"before")
    make_read_only(folder)
    with pytest.raises(OSError, match=f"{folder}.*m.keras"):
        save_model(folder / "m.keras")
    assert [file.read_bytes() for file in folder.iterdir()] == [b"before"]


def test_errors_that_are_not_of_the_disk_keep_their_words():
    with pytest.raises(FileNotFoundError, match="^no such data$"), files.naming("a.txt"):
        raise FileNotFoundError("no such data")


CONTENT = {"record.json": b'{"seed": 1}', "weights": RNG.bytes(300) + bytes(300)}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    files.write_archive(path, CONTENT)
    assert files.damage(path) is None
    return path.read_bytes()


def unpacked(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("bits", [64, 255])
def test_a_changed_byte_is_found_wherever_it_changes_the_content(bits, archive, tmp_path):
    path = tmp_path / "changed.zip"
    for place in range(len(archive)):
        path.write_bytes(archive[:place] + bytes([archive[place] ^ bits]) + archive[place + 1 :])
        assert files.damage(path) or unpacked(path) == CONTENT, place


def test_a_cut_archive_is_found(archive, tmp_path):
    path = tmp_path / "cut.zip"
    for length in range(len(archive)):
        path.write_bytes(archive[:length])
        assert files.damage(path), length


def flip_a_byte_of_the_weights(path):
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("model.weights.h5")
    content = bytearray(path.read_bytes())
    content[member.header_offset + member.compress_size // 2] ^= 1
    path.write_bytes(content)


def lose_a_number(path):
    model = saving.load_intact(path, "")
    weights = model.gmm_layers[0].get_weights()
    weights[0].flat[0] = np.nan
    model.gmm_layers[0].set_weights(weights)
    model.save(path)


def put_a_folder_there(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "is cut": lambda path: os.truncate(path, 1000),
    "is empty": lambda path: os.truncate(path, 0),
    "has a changed byte": flip_a_byte_of_the_weights,
    "has weights that are not finite": lose_a_number,
    "is a folder": put_a_folder_there,
}


@pytest.mark.parametrize(
    "damage",
    [pytest.param(damage, id=how, marks=pytest.mark.promise("fault", f"a committed model {how}"))
     for how, damage in DAMAGES.items()],
)  # fmt: skip
def test_a_damaged_committed_model_is_named_with_the_way_to_restore_it(damage, tmp_path, monkeypatch):
    path = Path("mnist", "all", "2L-c.keras")
    folder = tmp_path / "results" / "paper" / "models"
    (folder / path).parent.mkdir(parents=True)
    shutil.copy(saving.FOLDER / path, folder / path)
    monkeypatch.setattr(saving, "FOLDER", folder)
    load_pretrained("2L-c", "mnist")
    damage(folder / path)
    expected = f"{folder / path} is damaged.*git -C {tmp_path} checkout -- results/paper/models/{path}"
    with pytest.raises(ValueError, match=re.compile(expected)):
        load_pretrained("2L-c", "mnist")
