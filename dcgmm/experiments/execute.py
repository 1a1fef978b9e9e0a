"""Execute a notebook for one data set and scale, and keep a copy whose bytes depend on its results alone.

The pipeline runs this file by its path, from the project's folder:

    python -P dcgmm/experiments/execute.py 05-sampling --scale quick --dataset mnist

It is not run by `python -m`, because that would import TensorFlow, which only the notebook's own kernel needs.
"""

import argparse
import importlib.util
import json
import logging
import os
import sys
from pathlib import Path

# Another number of threads changes last bits; with one thread, the bytes do not depend on the machine's cores.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")
CODE = Path(__file__).resolve().parents[2]


def prepare_environment(project, results):
    """Set what the notebook's kernel is to find in its environment.

    - The code is that of this file's checkout, whatever checkout is installed.
    - Relative folders count from the project's folder, because the kernel works in notebooks/.

    Args:
        project: the project's folder, absolute.
        results: the folder of figures and tables: DCGMM_RESULTS where it is not set. None: the one of your own.

    Returns:
        The folder of the results, absolute.
    """
    os.environ |= ONE_THREAD
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    if "DVC_STAGE" in os.environ and os.environ.pop("DCGMM_RESULTS", None):
        print("DCGMM_RESULTS is not used: a stage of DVC writes to the project's folder results", file=sys.stderr)
    if results:
        os.environ.setdefault("DCGMM_RESULTS", str(results))
    for name in ("DCGMM_DATA", "DCGMM_RESULTS"):
        if os.environ.get(name):
            os.environ[name] = str(project / Path(os.environ[name]).expanduser())
    return Path(os.environ.get("DCGMM_RESULTS") or project / "results" / "own")


def execute(name, dataset, scale, parameters=None, own=False):
    """Run a notebook of notebooks/ by papermill, on one thread, into results/<scale>/notebooks or below DCGMM_RESULTS.

    The notebook's figures and tables go to the same folder, results/<scale> or below DCGMM_RESULTS.

    Args:
        name: the notebook's name, without .ipynb.
        dataset: the parameter `dataset`, which also ends the executed notebook's name.
        scale: the parameter `scale`, a block of params.yaml.
        parameters: the values of other parameters by name, a dict. Default None: none.
        own: whether the results are your own: they then go to results/own in place of results. Default False.

    Returns:
        The path of the executed notebook.
    """
    # nbformat's jsonschema would spend two seconds on a grammar of addresses; notebooks hold no addresses.
    sys.modules.setdefault("rfc3987_syntax", None)
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    project = Path.cwd()
    results = prepare_environment(project, None if own else project / "results")
    executed = results / scale / "notebooks" / f"{name}-{dataset}.ipynb"
    made = [executed.parent]
    if not own:  # DVC expects these, even of a notebook that has nothing to show for a data set of your own
        made += [results / scale / kind / f"{name}-{dataset}" for kind in ("figures", "tables")]
    try:
        for folder in made:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"results cannot be written to {executed.parent} ({error}): set DCGMM_RESULTS to a folder of your own")
    half = executed.with_name(f".{executed.name}")
    files = _files()
    try:
        with files.naming(executed):
            papermill.execute_notebook(
                Path("notebooks", f"{name}.ipynb"),
                str(half).replace("{", "{{").replace("}", "}}"),  # papermill would put parameters into braces
                parameters={**(parameters or {}), "dataset": dataset, "scale": scale},
                cwd="notebooks",
                kernel_name="python3",
                record_timing=False,
                coalesce_streams=True,
                # The kernel would warn that it is reached by this machine alone, by TCP.
                extra_arguments=["--log-level=ERROR"],
                # All is written by then, and TensorFlow takes seconds to end.
                shutdown_kernel="immediate",
            )
    except DeadKernelError:
        sys.exit(
            f"the kernel of {name} on {dataset} died, perhaps for lack of memory: run the same command again. What it "
            f"has executed is in {half}"
        )
    notebook = nbformat.read(half, as_version=4)
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec}
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"
        cell.metadata = {key: cell.metadata[key] for key in ("tags",) if cell.metadata.get(key)}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    files.write(executed, nbformat.writes(notebook) + "\n")
    half.unlink()
    return executed


def _files():
    """Return the module `dcgmm.files`, loaded by its path, because an import of `dcgmm` would load TensorFlow."""
    spec = importlib.util.spec_from_file_location("files", CODE / "dcgmm" / "files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed_parameters(text):
    """Return parameters that are given as a JSON object, a dict."""
    parameters = json.loads(text)
    # A name becomes code of the notebook; values become literals.
    if not isinstance(parameters, dict) or not all(map(str.isidentifier, parameters)):
        raise argparse.ArgumentTypeError(f'expected a JSON object such as {{"n_samples": 50}}, received {text!r}')
    return parameters


def part_of_paths(text):
    """Return a text that names files and folders, which must not lead out of their folder."""
    if text in ("", ".", "..") or set(text) & set("/\\\0"):
        raise argparse.ArgumentTypeError(f"expected a name without slashes, received {text!r}")
    return text


def arguments(words=None):
    """Return the arguments of `execute` from a command line, a dict.

    Args:
        words: the command line, a list of words. Default None: this process's.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="a file of notebooks/, without .ipynb")
    parser.add_argument("--notebook", help="the same, in the form that DVC gives it")
    parser.add_argument(
        "--dataset", required=True, type=part_of_paths, help="mnist, fashion_mnist or a data set of params.yaml"
    )
    parser.add_argument("--scale", default="quick", type=part_of_paths, help="a block of params.yaml: quick or paper")
    parser.add_argument("--parameters", type=parsed_parameters, help="others, as JSON: '{\"n_samples\": 50}'")
    parser.add_argument("--own", action="store_true", help="write to results/own in place of results")
    asked = vars(parser.parse_args(words))
    notebook = asked.pop("notebook")
    asked["name"] = asked["name"] or notebook
    known = sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))
    if asked["name"] not in known:
        parser.error(f"unknown notebook {asked['name']!r}; {Path.cwd() / 'notebooks'} has {', '.join(known) or 'none'}")
    return asked


if __name__ == "__main__":
    try:
        execute(**arguments())
    except KeyboardInterrupt:
        logging.disable()  # asyncio would also tell that the kernel was stopped
        print("\nstopped; the same command begins anew", file=sys.stderr)
        sys.exit(130)
