import os
import shutil

import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in dcgmm/__init__.py, which some tests import after TensorFlow

# Few and repeatable examples by default, many in the long tests.
settings.register_profile("short", max_examples=20, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=500, deadline=None)
settings.load_profile("long" if os.environ.get("DCGMM_LONG") else "short")

# In CI, tests may be skipped only for these reasons.
ACCEPTED_SKIPS = () if shutil.which("chromedriver") else ("no Chromium with chromedriver",)


def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter:
        reasons = {report.longrepr[2] for report in reporter.stats.get("skipped", [])}
        unexpected = {reason for reason in reasons if not any(accepted in reason for accepted in ACCEPTED_SKIPS)}
        if unexpected:
            reporter.write_line(f"skips that no list in tests/conftest.py accepts: {sorted(unexpected)}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def images():
    import numpy as np

    return np.random.default_rng(0).random((40, 28, 28, 1), dtype="float32")
