"""Two wheels of one source tree: that of the training scripts is enough for a script, with the NumPy it has.

They are installed as docs/install.md says.
"""

import ast
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import swarmlearning
from support.swarm import Swarm
from support.tools import needs

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "swarmlearning"
CLIENT = {"channel", "client", "tensors", "swci", "__init__.py", "choices.py", "outer.py", "pauses.py", "py.typed"}
"""Of `swci/` the Python client of the web mode."""
PLATFORMS = {"hf_transformers.py", "lightning.py", "pyt.py", "sklearn.py", "tf.py"}

SCRIPT = """
import hashlib, importlib.util, sys
import numpy as np
from swarmlearning import Swarm
assert np.__version__.startswith("1.26."), np.__version__
assert importlib.util.find_spec("swarmlearning.ledger") is None
dtypes = ("f8", "f4", "f2", "i8", "u1", "?", "c8")
parameters = {dtype: np.full((3, 5), int(sys.argv[1])).astype(dtype) for dtype in dtypes} | {"number": 1.5}
def loss(parameters):
    return float(np.abs(parameters["f8"]).mean())
with Swarm(parameters, sync_frequency=2, min_peers=2, total_epochs=1, evaluate=loss) as swarm:
    for _ in range(6):
        swarm.step({name: value + value for name, value in swarm.parameters.items()}, samples=4)
    swarm.end_epoch()
merged = swarm.parameters
print("DIGEST", hashlib.sha256(b"".join(np.asarray(merged[name]).tobytes() for name in sorted(merged))).hexdigest())
"""


def run(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: str | Path) -> str:
    return run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name of distribution."""
    folder = tmp_path_factory.mktemp("dist")
    pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT / "packaging" / "client", ROOT)
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


def environment(folder: Path) -> Path:
    """The Python of a new environment, for which the pip of this one installs."""
    venv.create(folder)
    return folder / "bin" / "python"


def files(wheel: Path) -> set[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return {name.removeprefix("swarmlearning/") for name in names if name.startswith("swarmlearning/")}


def test_the_version_is_the_same_everywhere() -> None:
    projects = [tomllib.loads((ROOT / place / "pyproject.toml").read_text()) for place in (".", "packaging/client")]
    assert {project["project"]["version"] for project in projects} == {swarmlearning.__version__}
    assert f"swarmlearning-client=={swarmlearning.__version__}" in projects[0]["project"]["dependencies"]
    command = Path(sys.executable).with_name("swarm")
    assert run(command, "--version") == f"swarm {swarmlearning.__version__}\n"


@needs("numpy-1.26")  # where it can be fetched, what wheels are built with can be, too
def test_every_file_is_in_exactly_one_wheel_and_those_for_scripts_in_the_client_s(wheels: dict[str, Path]) -> None:
    nodes, scripts = files(wheels["swarmlearning"]), files(wheels["swarmlearning_client"])
    sources = (path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert nodes | scripts == {str(path.relative_to(SOURCE)) for path in sources}
    assert nodes & scripts == set()
    assert {name.split("/")[0] for name in scripts} == CLIENT | PLATFORMS
    for name in scripts:
        for module in imports(SOURCE / name):
            place = module.replace(".", "/").removeprefix("swarmlearning").lstrip("/")
            assert {f"{place}.py", f"{place}/__init__.py".lstrip("/")} & scripts, f"{name} imports {module}"


def imports(path: Path) -> set[str]:
    """Our modules that a file imports, wherever it does."""
    if path.suffix != ".py":
        return set()
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {node.module for node in found if node.module and node.module.split(".")[0] == "swarmlearning"}


@needs("numpy-1.26")
def test_scripts_that_have_the_client_s_wheel_alone_train_with_numpy_1_26(
    wheels: dict[str, Path], swarm: Swarm, tmp_path: Path
) -> None:
    python = environment(tmp_path / "environment")
    pip("--python", python, "install", "--no-compile", "numpy==1.26.*", wheels["swarmlearning_client"])
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    swarm.start_sn()
    sls = [swarm.start_sl(index) for index in (1, 2)]
    scripts = [
        # -I: nothing of the environment that the tests run in
        swarm.processes.start(
            f"ML-{index}", python, "-I", script, str(index), environment={"SWARM_CHANNEL": sl.ready["channel"]}
        )
        for index, sl in enumerate(sls, start=1)
    ]
    for process in (*scripts, *sls):
        assert process.wait() == 0, process.output
    digests = [line for each in scripts for line in each.output.splitlines() if line.startswith("DIGEST")]
    assert len(digests) == 2
    assert len(set(digests)) == 1


@needs("numpy-1.26")
def test_both_wheels_share_one_environment(wheels: dict[str, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "environment")
    pip("--python", python, "install", "--no-compile", "--no-deps", *wheels.values())
    run(python, "-I", "-c", "import swarmlearning.client, swarmlearning.ledger, swarmlearning.sl")
    pip("--python", python, "uninstall", "--yes", "swarmlearning")
    run(python, "-I", "-c", "import swarmlearning.client")  # the scripts' is still whole
