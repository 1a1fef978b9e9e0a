"""Model files that somebody has made to do harm: nothing runs, no other file is read, and the error says why."""

import ast
import io
import json
import os
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcgmm import DCGMM, loading
from dcgmm.loading import CONFIG, WEIGHTS, load

MU = "gmm_layers/gmm/vars/0"


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The members of an honest file."""
    path = tmp_path_factory.mktemp("honest") / "model.keras"
    model = DCGMM.from_spec("F(4,4,4,4) G(4)", (8, 8, 1))
    model.compile()
    model.save(path)
    return members_of(path)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with a module to import, a secret to read, and a place for what hostile code would leave."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", "utf-8")
    (tmp_path / "secret").write_bytes(np.arange(64, dtype="float32").tobytes())
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = np.arange(64, dtype="float32").reshape(4, 16)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def nothing_ran(place):
    """Return whether no code of a file has run, no module of it was imported, and nothing was written around it."""
    left = {path.name for path in place.iterdir()} | {path.name for path in (place / "work").iterdir()}
    return left <= {"evil.py", "secret", "secret.h5", "work", "hostile.keras"} and "evil" not in sys.modules


def write(members, path):
    """Write an archive; members is a dict, or a list of names with contents, or the archive's bytes."""
    if isinstance(members, bytes):
        path.write_bytes(members)
        return path
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return path


def part(module, name, registered=None, /, **config):
    return {"module": module, "class_name": name, "registered_name": registered, "config": config}


def code(place):
    """Return a lambda as Keras saves it, with code that leaves a file."""
    path = str(place / "ran")
    layer = keras.layers.Lambda(lambda x: (open(path, "w"), x)[1])
    function = layer.get_config()["function"]
    function["config"]["closure"] = [path]
    return function


def lambda_layer(place):
    return {"module": "keras.layers", "class_name": "Lambda", "registered_name": None, "config": {
        "name": "lambda", "trainable": True, "dtype": "float32", "function": code(place)}}  # fmt: skip


def chain_with_lambda(place):
    """Return a whole model of Keras with a lambda, which runs when the model is built."""
    shape = part("keras.layers", "InputLayer", batch_shape=[None, 3], dtype="float32", name="input")
    return part(
        "keras", "Sequential", name="chain", trainable=True, dtype="float32", layers=[shape, lambda_layer(place)]
    )


def config_with(change):
    def build(place, members):
        config = json.loads(members[CONFIG])
        return members | {CONFIG: json.dumps(change(config, place) or config).encode()}

    return build


def layer(make):
    """Return a file's builder that puts a layer below the honest ones."""
    return config_with(lambda config, place: config["config"]["layers"].insert(0, make(place)))


def compiled(make, key="loss"):
    return config_with(lambda config, place: config["compile_config"].update({key: make(place)}))


def weights_with(change):
    def build(place, members):
        content = io.BytesIO(members[WEIGHTS])
        with h5py.File(content, "r+") as file:
            change(file, place)
        return members | {WEIGHTS: content.getvalue()}

    return build


def replaced(name, make):
    def change(file, place):
        del file[name]
        make(file, place)

    return weights_with(change)


def virtual(file, place):
    layout = h5py.VirtualLayout((4, 16), "float32")
    layout[:] = h5py.VirtualSource(str(place / "secret.h5"), "secret", (4, 16))
    file.create_virtual_dataset(MU, layout)


def elsewhere(file, place):
    file.create_dataset(MU, (4, 16), "float32", external=[(str(place / "secret"), 0, 256)])


def link(target):
    def make(file, place):
        file[MU] = target(place)

    return make


def pickled(place, members):
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {place / 'ran'}",)

    content = io.BytesIO()
    np.savez(content, a=np.array([Runs()], object))
    return {CONFIG: members[CONFIG], "metadata.json": members["metadata.json"], "model.weights.npz": content.getvalue()}


def extra(name):
    return lambda place, members: members | {name.format(place=place): b"evil", "assets/a": b"x"}


def bomb(place, members):
    """Return an archive with a member that says to unpack to a GiB."""
    path = write({**members, "assets/bomb": bytes(loading.MIB)}, place / "work" / "hostile.keras")
    before, size, after = path.read_bytes().rpartition(struct.pack("<L", loading.MIB))
    return before + struct.pack("<L", 1024 * loading.MIB) + after


def command(place):
    return f"touch {place / 'ran'}"


# What a file does; how it is made; what our error says. Keras' own loader refuses all but those of KERAS_LOADS.
HOSTILE = {
    "a model of Keras with code": (config_with(lambda _, place: chain_with_lambda(place)), "it holds keras.Sequential"),
    "a layer with code": (layer(lambda_layer), r"names (keras\.layers\.Lambda|\.__lambda__)"),
    "a loss with code": (compiled(code), "names .__lambda__"),
    "an optimizer with code": (compiled(code, "optimizer"), "names .__lambda__"),
    "another class under our name": (
        config_with(lambda _, place: part("os", "system", "dcgmm>DCGMM", command=command(place))),
        "KeyError: 'layers'",
    ),
    "a process in place of the model": (
        config_with(lambda _, place: part("subprocess", "Popen", args=["touch", str(place / "ran")])),
        "it holds subprocess.Popen",
    ),
    "a module that ours imports": (
        config_with(lambda _, place: part("dcgmm.saving", "os", path=str(place))),
        "it holds dcgmm.saving.os",
    ),
    "a module to import": (config_with(lambda _, place: part("evil", "Model")), "it holds evil.Model"),
    "a layer's module to import": (layer(lambda place: part("evil", "Layer")), "names evil.Layer"),
    "a layer below Keras' own name": (layer(lambda place: part("keras.evil", "Layer")), "names keras.evil.Layer"),
    "a function of the system": (
        compiled(lambda place: {**part("os", "function", "system"), "config": "system"}),
        "names os.system",
    ),
    "a function that fetches": (
        compiled(lambda place: {**part("keras.utils", "function", "get_file"), "config": "get_file"}),
        "names keras.utils.get_file",
    ),
    "a saved TensorFlow program": (
        layer(lambda place: part("keras.layers", "TFSMLayer", filepath=str(place), name="t")),
        "names keras.layers.TFSMLayer",
    ),
    "a pickled PyTorch module": (
        layer(lambda place: part("keras.layers", "TorchModuleWrapper", module={"class_name": "__bytes__"}, name="t")),
        "names keras.layers.TorchModuleWrapper",
    ),
    "a file to read words from": (
        layer(lambda place: part("keras.layers", "StringLookup", vocabulary=str(place / "secret"), name="s")),
        "names keras.layers.StringLookup",
    ),
    "pickled weights": (pickled, "it has no model.weights.h5"),
    "a link to another HDF5 file": (
        replaced(MU, link(lambda place: h5py.ExternalLink(str(place / "secret.h5"), "secret"))),
        "refers to another place",
    ),
    "a group in another HDF5 file": (
        replaced("gmm_layers", lambda file, place: file.__setitem__("gmm_layers", h5py.ExternalLink("/dev/zero", "/"))),
        "gmm_layers refers to another place",
    ),
    "a soft link": (replaced(MU, link(lambda place: h5py.SoftLink("/" + MU[:-1] + "1"))), "refers to another place"),
    "values in another file": (replaced(MU, elsewhere), "has its values elsewhere"),
    "values put together from other files": (replaced(MU, virtual), "has its values elsewhere"),
    "weights larger than the file": (
        replaced(MU, lambda file, _: file.create_dataset(MU, (2**30,), "float32", chunks=(2**20,), compression=9)),
        r"arrays of 4\.1e\+03 MiB in",
    ),
    "a layer larger than its weights": (
        config_with(lambda config, _: config["config"]["layers"][1]["config"].update(n_components=4_000_000)),
        "G2 would have 64,000,000 weights, and model.weights.h5 has",
    ),
    "a window larger than its weights": (
        config_with(lambda config, _: config["config"].update(input_shape=[8, 8, 10_000_000])),
        "G2 would have 640,000,000 weights",
    ),
    "texts as weights": (
        replaced(MU, lambda file, _: file.create_dataset(MU, (4, 16), h5py.string_dtype())),
        "has its values elsewhere, expected numbers",
    ),
    "a member above the archive": (extra("../../escaped"), r"'\.\./\.\./escaped' has a path that leaves"),
    "a member above, inside": (extra("assets/../../escaped"), "has a path that leaves"),
    "a member with an absolute path": (extra("{place}/escaped"), "has a path that leaves"),
    "a member for Windows": (extra("..\\escaped"), "has a path that leaves"),
    "a member on a drive": (extra("C:escaped"), "has a path that leaves"),
    "two configurations": (
        lambda place, members: [*members.items(), (CONFIG, json.dumps(chain_with_lambda(place)))],
        "more than once",
    ),
    "a bomb": (bomb, r"would unpack from 0\.\d+ MiB to 1\.02e\+03 MiB"),
    "a configuration without end": (lambda _, members: members | {CONFIG: b"[" * 200_000}, "RecursionError"),
    "a large configuration": (lambda _, members: members | {CONFIG: bytes(17 * loading.MIB)}, "has 17 MiB, expected"),
    "a configuration that is none": (lambda _, members: members | {CONFIG: b"[]"}, "no configuration of a model"),
    "a configuration that is no JSON": (lambda _, members: members | {CONFIG: b"\xff"}, "is not loaded: "),
    "weights that are none": (lambda _, members: members | {WEIGHTS: b"no HDF5"}, "file signature not found"),
    "no weights": (lambda _, members: {CONFIG: members[CONFIG]}, "it has no model.weights.h5"),
}
# Keras skips unsafe members, and takes a name that it finds twice from the end.
KERAS_LOADS = {what for what in HOSTILE if what.startswith("a member ")}


def outcome(loader, path):
    with warnings.catch_warnings(action="ignore"):
        try:
            return loader(path)
        except Exception as error:
            return error


@pytest.mark.promise("bad input", "a model file that is made to run code, read other files or fill the memory")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_runs_nothing_and_is_refused_with_the_reason(what, place, members):
    build, message = HOSTILE[what]
    path = write(build(place, members), place / "work" / "hostile.keras")
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)
    assert nothing_ran(place)


@pytest.mark.promise("bad input", "the same, loaded by Keras")
@pytest.mark.parametrize("what", [what for what in HOSTILE if "larger than" not in what])
def test_keras_runs_nothing_of_a_hostile_file_either(what, place, members):
    build, _ = HOSTILE[what]
    path = write(build(place, members), place / "work" / "hostile.keras")
    assert isinstance(outcome(keras.models.load_model, path), DCGMM) == (what in KERAS_LOADS)
    assert nothing_ran(place)


@pytest.fixture
def unsafe():
    """A user has allowed unsafe loading, in this process."""
    keras.config.enable_unsafe_deserialization()
    yield
    keras.src.saving.serialization_lib.global_state.set_global_attribute("safe_mode_saving", None)


@pytest.mark.promise("bad input", "a model file with code, where the user has switched Keras' safe mode off")
def test_our_loader_is_safe_where_keras_is_told_not_to_be(unsafe, place, members):
    build, message = HOSTILE["a model of Keras with code"]
    path = write(build(place, members), place / "work" / "hostile.keras")
    with pytest.raises(ValueError, match=message):
        load(path)
    assert nothing_ran(place)
    outcome(lambda path: keras.models.load_model(path, safe_mode=True), path)
    assert not nothing_ran(place), "the code in the file works: Keras' argument safe_mode=True did not hold it back"


def test_weights_that_are_not_finite_are_named(tmp_path):
    model = DCGMM.from_spec("F(4,4,4,4) G(4)", (8, 8, 1))
    model.gmm_layers[0].mu.assign(np.full(model.gmm_layers[0].mu.shape, np.nan))
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=r"has weights that are not finite: .*mu"):
        load(tmp_path / "model.keras")


@pytest.mark.promise("bad input", "a path that is no model file")
@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", None, "folder"])
def test_what_is_no_model_file_is_named(content, tmp_path):
    path = tmp_path / "model.keras"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(FileNotFoundError if content in (None, "folder") else ValueError, match=str(path)):
        load(path)
    for wrong in (tmp_path / "model.h5", "hf://somebody/model", 3):
        with pytest.raises(ValueError, match="path must be a path that ends in .keras"):
            load(wrong)


def test_honest_models_load_with_their_weights_optimizer_and_own_layers(tmp_path):
    @keras.saving.register_keras_serializable("test_hostile_files")
    class Negative(keras.layers.Layer):
        def call(self, x):
            return -x

        down = call

        def compute_output_shape(self, shape):
            return shape

    layers = [Negative(), *DCGMM.from_spec("F(4,4,4,4) G(4) C(3)", (8, 8, 1)).stack]
    model = DCGMM([type(layer).from_config(layer.get_config()) for layer in layers], (8, 8, 1))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(keras.optimizers.SGD(schedule))
    x, y = np.random.default_rng(0).random((20, 8, 8, 1), "float32"), np.arange(20) % 3
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras")
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert isinstance(loaded.optimizer.get_config()["learning_rate"], dict)


@pytest.mark.slow
@pytest.mark.promise("bad input", "a model file with damaged bytes", 20)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_give_a_model_or_an_error_that_names_the_file(data, place, members):
    name = data.draw(st.sampled_from([CONFIG, WEIGHTS, "archive"]))
    path = write(members, place / "work" / "hostile.keras")
    content = bytearray(path.read_bytes() if name == "archive" else members[name])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    path.write_bytes(content) if name == "archive" else write(members | {name: content}, path)
    result = outcome(load, path)
    assert isinstance(result, DCGMM) or (isinstance(result, ValueError) and str(path) in str(result)), result
    assert nothing_ran(place)


PACKAGE = Path(loading.__file__).parent
READERS_THAT_RUN_CODE = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_of_the_package_reads_pickles_or_runs_text(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not READERS_THAT_RUN_CODE & names
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in (
                "eval",
                "exec",
                "compile",
                "__import__",
                "joblib.load",
                "os.system",
                "yaml.unsafe_load",
            )
            assert not called.endswith(".load_model") or path.stem == "loading"
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert given.get("shell") is None and given.get("allow_pickle") in (None, "False")
            if called == "yaml.load":
                assert "SafeLoader" in path.read_text("utf-8")
