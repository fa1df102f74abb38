"""`make ui-demo`, as in README: a swarm trains and its UI is open, by a password that was never used before."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from showcase.people import idle
from support.processes import nodes_interpreter
from support.ui import Person
from swarmlearning.cli.nodecommands import environment

ROOT = Path(__file__).parents[2]
SECONDS = 150.0
FORKING = """
import runpy, sys
sys.executable = sys.argv.pop(1)
runpy.run_module("showcase", run_name="__main__", alter_sys=True)
"""
"""As `python -m showcase`, with another Python for the nodes that it starts."""


def heard(demo: "subprocess.Popen[str]", until: str) -> str:
    """What it prints, up to a line with these words."""
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if until in line:
            return said
    raise AssertionError(f"it has ended: {said}")


def of(folder: Path) -> list[str]:
    """The processes that name this folder."""
    commands = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    return [command for command in commands if str(folder) in command]


def test_hospitals_train_in_the_background_until_somebody_ends_them(tmp_path: Path) -> None:
    options = [*("--port", "0", "--pace", "0.05", "--no-browser"), "--runs-dir", str(tmp_path)]
    command = [sys.executable, "-c", FORKING, nodes_interpreter(tmp_path), *options]
    variables = environment(os.environ) | {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT / 'tools'}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables, cwd=ROOT) as demo:
        try:
            said = heard(demo, "run thorax-findings/1 trains")
            address, user, password = re.findall(r"(?m)^(?:SLM-UI|user|password) +(\S+)$", said)
            with Person(base_url=address, timeout=150) as person:
                person.log_in(user, password)
                found = person.until(  # a run begins with the first of its sites
                    "/experiments.json", lambda it: any(len(each["organisations"]) == 3 for each in it["runs"])
                )
                [run] = found["runs"]
                assert (run["tags"], run["requested_by"]) == (["baseline", "pilot"], user)
                [project] = person.data("/projects.json")["projects"]
                assert project["files"] > 6
                now = person.until(
                    "/training/thorax-findings.json", lambda it: bool(it["run"]) and it["run"]["rounds"] >= 3
                )
                assert not idle(person.data("/projects/taskrunners.json"))
                assert all(site["metric"] is not None for site in now["sites"])
            demo.send_signal(signal.SIGINT)
            assert "nothing runs any more" in heard(demo, "ended")
            assert demo.wait(SECONDS) == 0
        finally:
            demo.kill()
    assert of(tmp_path) == []
    assert password.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
