"""Execute a notebook for one data set and scale, and keep a copy whose bytes depend on its results alone.

The pipeline runs this file by its path, from the project's folder:

    python -P dcgmm/experiments/execute.py 05-sampling --scale quick --dataset mnist

It is not run by `python -m`, because that would import TensorFlow, which only the notebook's own kernel needs.
"""

import argparse
import os
import sys
from pathlib import Path

# Another number of threads changes last bits; with one thread, the bytes do not depend on the machine's cores.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")


def execute(name, dataset, scale):
    """Run a notebook of notebooks/ by papermill, on one thread, into results/<scale>/notebooks or below DCGMM_RESULTS.

    The notebook's figures and tables go to the same folder, results/<scale> or below DCGMM_RESULTS.

    Args:
        name: the notebook's name, without .ipynb.
        dataset: the parameter `dataset`, which also ends the executed notebook's name.
        scale: the parameter `scale`, a block of params.yaml.
    """
    # nbformat's jsonschema would spend two seconds on a grammar of addresses; notebooks hold no addresses.
    sys.modules.setdefault("rfc3987_syntax", None)
    import nbformat
    import papermill

    os.environ |= ONE_THREAD
    results = Path(os.environ.setdefault("DCGMM_RESULTS", str(Path("results").absolute())))
    executed = results / scale / "notebooks" / f"{name}-{dataset}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    half = executed.with_name(f".{executed.name}")
    papermill.execute_notebook(
        Path("notebooks", f"{name}.ipynb"),
        half,
        parameters={"dataset": dataset, "scale": scale},
        cwd="notebooks",
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        # All is written by then, and TensorFlow takes seconds to end.
        shutdown_kernel="immediate",
    )
    notebook = nbformat.read(half, as_version=4)
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec}
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"
        cell.metadata = {key: cell.metadata[key] for key in ("tags",) if cell.metadata.get(key)}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, half)
    os.replace(half, executed)  # not by `dcgmm.files`, because its import would load TensorFlow


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a file of notebooks/, without .ipynb")
    parser.add_argument("--dataset", required=True, help="mnist, fashion_mnist or a data set of params.yaml")
    parser.add_argument("--scale", default="quick", help="a block of params.yaml: quick or paper")
    execute(**vars(parser.parse_args()))
