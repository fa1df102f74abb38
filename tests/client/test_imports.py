"""The client is a guest in the user's process: it brings no server and no event loop with it."""

import subprocess
import sys
from pathlib import Path

import pytest

import swarmlearning

HEAVY = ("asyncio", "aiohttp", "fastapi", "uvicorn", "cryptography", "pydantic", "blake3", "ssl", "torch")
OURS = ("sn", "sl", "api", "cli", "ledger", "rounds", "merge", "identity", "ordering")


def imported_by(statement: str) -> set[str]:
    """The modules in a fresh interpreter after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    return set(run.stdout.split())


def test_the_client_without_a_framework_imports_nothing_heavy() -> None:
    modules = imported_by("import swarmlearning.client.base")
    assert "swarmlearning.client.session" in modules
    assert not modules & {*HEAVY, *(f"swarmlearning.{room}" for room in OURS)}


def test_the_pytorch_callback_imports_no_server_code() -> None:
    modules = imported_by("from swarmlearning.pyt import SwarmCallback, SwarmError")
    servers = {"aiohttp", "fastapi", "uvicorn", "cryptography", "torchmetrics"}
    assert not modules & {*servers, *(f"swarmlearning.{room}" for room in OURS)}


def test_the_callback_for_scikit_learn_imports_no_other_framework() -> None:
    modules = imported_by("from swarmlearning.sklearn import SwarmCallback, SwarmError")
    assert not modules & {"torch", "keras", "tensorflow", "transformers", *(f"swarmlearning.{room}" for room in OURS)}


def test_the_package_itself_and_plain_functions_import_nothing_heavy() -> None:
    assert not imported_by("import swarmlearning") & {"numpy", "swarmlearning.client"}
    modules = imported_by("from swarmlearning import Swarm, SwarmError")
    assert not modules & {*HEAVY, *(f"swarmlearning.{room}" for room in OURS)}


@pytest.mark.parametrize("version", ["2.15.0", "2.3.1", "unknown"])
def test_an_older_keras_is_refused_with_a_hint_at_the_bridge(tmp_path: Path, version: str) -> None:
    (tmp_path / "keras.py").write_text(f"__version__ = {version!r}\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import swarmlearning.tf"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: this environment has Keras {version}. Keras 3 is needed here ")
    assert "For Keras 2 use the bridge: `swarm sl --bridge`" in last


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'swarmlearning' has no attribute 'Swam'"):
        swarmlearning.Swam  # noqa: B018
