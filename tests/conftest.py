"""What all tests share: where the data lies, and Hypothesis' profiles."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports torch: on a machine that other work shares its threads would wait for each other busily.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before anything imports Triton: without a GPU the kernels run under its interpreter.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")

DATA = Path(os.environ.get("GUARD_DATA") or Path(__file__).parents[2] / "shared" / "data")


class _Skip:
    """An importer that skips the test, or the file of tests, that wants what tools/pythons.py does without."""

    def find_spec(self, name: str, *_: object) -> None:
        if name in ("torch", "gguf"):  # of the extra `local`
            pytest.skip(f"it needs {name}", allow_module_level=True)


if os.environ.get("TESTS_WITHOUT") == "torch":
    sys.meta_path.insert(0, _Skip())

# No deadline: what a test measures in time it measures itself, on machines that other jobs share.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile(
    "thorough", deadline=None, print_blob=True, max_examples=5000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def no_module_outlives_its_folder() -> Iterator[None]:
    """Forget the modules that a test imported from a folder of its own: another's `app` is another module."""
    known = set(sys.modules)
    yield
    for name in sys.modules.keys() - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(tempfile.gettempdir()):
            del sys.modules[name]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of test data, read in place; a test that needs it cannot say anything without it."""
    if not DATA.is_dir():
        pytest.skip(f"the folder of test data is absent: {DATA} (set GUARD_DATA to where it is)")
    return DATA
