"""Small bundles: what an installation does with a real one, in a second.

The `swarm` command in them is this tree's for all but nodes that are to be stand-ins, so nothing has to be downloaded.
"""

import hashlib
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Final, Literal

Program = Literal["real", "stand-in", "broken"]

_PROGRAM: Final = """
import json, os, signal, sys

def main():
    words = sys.argv[1:]
    if words == ["--version"]:
        print("swarm {version}")
        return
    if "{program}" == "broken" and words[0] in ("sn", "sl", "swop"):
        print("swarm {version}: this version does not start", file=sys.stderr)
        sys.exit(1)
    if "{program}" == "stand-in" and words[0] in ("sn", "sl", "swop"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print("{version} as", *words, flush=True)
        fd = int(words[words.index("--ready-fd") + 1])
        os.write(fd, json.dumps({{"version": "{version}", "pid": str(os.getpid())}}).encode() + b"\\n")
        os.close(fd)
        signal.sigwait([signal.SIGTERM])
        print("stopped", flush=True)
        return
    os.execv({python!r}, [{python!r}, "-P", "-m", "swarmlearning.cli.main", *words])
"""


def make_bundle(folder: Path, version: str, pip: Path, program: Program = "stand-in") -> Path:
    """A bundle of this version for the Python that runs the tests, with this wheel of pip; returns its folder."""
    python = "{}.{}".format(*sys.version_info)
    code = _PROGRAM.format(version=version, program=program, python=sys.executable)
    _wheel(folder / "wheels", "swarmlearning", version, {"standin_swarm.py": code}, {"swarm": "standin_swarm:main"})
    _wheel(folder / "wheels", "swarmlearning_client", version, {"standin_client.py": ""}, {})
    _write(folder / "wheelhouse" / pip.name, pip.read_bytes())
    _write(folder / "wheelhouse" / "PYTHONS", f"{python} x86_64\n{python} aarch64\n".encode())
    _write(folder / "requirements.txt", b"# nothing\n")
    _write(folder / "scripts" / "bin" / "run-sn", b"#!/bin/sh\n")
    _write(folder / "bin" / "etcd", b"#!/bin/sh\necho etcd\n")
    (folder / "bin" / "etcd").chmod(0o755)
    _write(folder / "docs" / "install.md", b"for people\n")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files)
    _write(folder / "SHA256SUMS", sums.encode())
    return folder


def standin_swarm(prefix: Path, version: str = "0.1.0", program: Program = "stand-in") -> None:
    """Makes the folder look as an installation leaves it, with this program as its `swarm`."""
    whole = prefix / "versions" / version
    code = _PROGRAM.format(version=version, program=program, python=sys.executable)
    _write(whole / "bin" / "swarm", f"#!{sys.executable} -I\n{code}\nmain()\n".encode())
    (whole / "bin" / "swarm").chmod(0o755)
    _write(whole / "complete", b"")
    _write(prefix / "swarm-ui.json", b"{}")
    (prefix / "current").unlink(missing_ok=True)
    (prefix / "current").symlink_to(f"versions/{version}")


def pip_wheel(folder: Path) -> Path:
    """The pip of this environment as a wheel."""
    found = distribution("pip")
    path = folder / f"pip-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each in found.files or ():
            if each.suffix != ".pyc" and ".." not in each.parts:
                archive.write(str(each.locate()), str(each))
    return path


def _wheel(folder: Path, name: str, version: str, modules: dict[str, str], scripts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    entries = "".join(f"{script} = {place}\n" for script, place in scripts.items())
    files = {
        **modules,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{entries}",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
