"""`swarm run` with real nodes and real scripts: how it ends, and that nothing of it stays behind."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import psutil
import pytest

from support import original_client
from support.processes import COMMAND, nodes_interpreter
from support.swarm import ML, Gate

WaitUntilGone = Callable[[Iterable[int]], None]

SECONDS = 100.0
NOTHING: Mapping[str, str] = MappingProxyType({})
SITES = ["site-1", "site-2", "site-3"]


class Launch(Protocol):
    """Starts `swarm run -n 3 … -- SCRIPT`; output comes through a pipe."""

    def __call__(
        self, *script: str | Path, options: Iterable[str | Path] = (), environment: Mapping[str, str] = NOTHING
    ) -> "subprocess.Popen[str]": ...


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Nodes are forked from a process that has imported them: it costs a fifth of the time of starting each."""
    with launching(tmp_path, nodes_interpreter(tmp_path)) as start:
        yield start


@pytest.fixture
def launch_programs(tmp_path: Path) -> Iterator[Launch]:
    """All processes are programs of their own, as for users."""
    with launching(tmp_path, sys.executable) as start:
        yield start


@contextmanager
def launching(directory: Path, python: str) -> Iterator[Launch]:
    started: list[subprocess.Popen[str]] = []

    def start(
        *script: str | Path, options: Iterable[str | Path] = (), environment: Mapping[str, str] = NOTHING
    ) -> "subprocess.Popen[str]":
        own: list[str | Path] = ["--runs-dir", directory / "runs", "--no-live"]
        started.append(
            subprocess.Popen(
                [python, *COMMAND[1:], "run", "-n", "3", *own, *options, "--", *script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, **environment},
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()  # the guard ends the rest
        process.communicate()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path / "gate")
    yield made
    made.close()


def processes_of(directory: Path, launcher: "subprocess.Popen[str]") -> dict[int, str]:
    """PID and command line of the nodes and scripts of the runs in this directory; of the stand-ins of forked nodes."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(directory) in line and process.pid != launcher.pid:
            found[process.pid] = line
    return found


def read_until(launcher: "subprocess.Popen[str]", text: str) -> None:
    assert launcher.stdout is not None
    seen = []
    for line in launcher.stdout:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} was not printed:\n{''.join(seen)}")


def held(gate: Gate) -> list[str | Path]:
    """A script that takes part in one round and then waits."""
    return [sys.executable, ML, "--rounds", "2", "--hold-at", "1", "--gate", gate.path]


def test_scripts_with_the_original_s_client_train_in_a_run_with_a_bridge_each(launch: Launch, tmp_path: Path) -> None:
    for name in ("trained_weights.pkl", "merged_weights.pkl"):
        (tmp_path / name).touch()  # the client looks for them, and leaves them alone: its weights are in messages
    script = (str(original_client.__file__), "--in-message", "--min-peers", "3", "--folder", tmp_path)
    launcher = launch(sys.executable, *script, options=["--bridge"])
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output
    assert "complete: 3/3 rounds with 3/3; ledger verified" in output


def test_a_run_that_ends_well_leaves_its_report_models_and_logs(launch_programs: Launch, tmp_path: Path) -> None:
    launcher = launch_programs(sys.executable, ML, "--rounds", "3", options=["--report", tmp_path / "report.json"])
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output
    assert "complete: 4/4 rounds with 3/3; ledger verified" in output
    folder = tmp_path / "runs" / "latest"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == json.loads((folder / "report.json").read_text())
    assert [site["name"] for site in report["sites"]] == SITES
    assert [each["number"] for each in report["rounds"]] == [0, 1, 2, 3]
    assert all(each["contributors"] == SITES and each["leader"] in SITES for each in report["rounds"])
    assert report["digests"] == dict.fromkeys(SITES, report["model"])
    assert report["ledger_verified"] is True
    assert {path.stem for path in (folder / "logs").iterdir()} == {
        "SN-1",
        "SL-1",
        "SL-2",
        "SL-3",
        *SITES,
        "launcher",
    }
    assert (folder / "logs" / "launcher.log").read_text() == ""
    models = {(folder / "logs" / f"{site}.log").read_text().splitlines()[-1] for site in SITES}
    assert len(models) == 1
    assert models.pop().startswith("DIGEST ")
    assert processes_of(tmp_path, launcher) == {}


def test_values_travel_as_a_run_lays_down(launch: Launch) -> None:
    launcher = launch(
        sys.executable, ML, "--rounds", "2", "--size", "512", options=["--transfer", "int4", "--transfer-back", "int8"]
    )
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output
    assert "complete: 3/3 rounds with 3/3; ledger verified" in output
    assert "values travel as int4, back as int8" in output


def test_a_transfer_for_another_contract_than_that_of_the_scripts_makes_the_run_fail(launch: Launch) -> None:
    launcher = launch(sys.executable, ML, "--rounds", "1", options=["--transfer", "int4", "--contract", "study"])
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert (
        "by contract study, but the scripts train by defaultbb.cqdb.sml.hpe; state their trainingContract"
        in " ".join(output.split())
    )


def test_a_script_finds_its_number_and_the_number_of_sites_in_its_environment(launch: Launch, tmp_path: Path) -> None:
    names = ["SWARM_INDEX", "SWARM_COUNT", "SWARM_SITE", "SWARM_RUN_DIR", "MIN_PEERS", "NODE_ID"]
    names += ["OMP_NUM_THREADS", "SCRATCH_DIR"]
    script = f"echo {' '.join(f'{name}=${name}' for name in names)}; test -S $SWARM_CHANNEL"
    launcher = launch("sh", "-c", script)
    output, _ = launcher.communicate(timeout=SECONDS)
    assert "none has taken part" in output  # so all have ended with 0
    folder = (tmp_path / "runs" / "latest").resolve()
    for index, site in enumerate(SITES):
        shown = dict(word.split("=") for word in (folder / "logs" / f"{site}.log").read_text().split())
        assert shown == {
            "SWARM_INDEX": str(index),
            "SWARM_COUNT": "3",
            "SWARM_SITE": site,
            "SWARM_RUN_DIR": str(folder),
            "MIN_PEERS": "3",
            "NODE_ID": site,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "SCRATCH_DIR": os.environ.get("SCRATCH_DIR") or str(folder / "sites" / site),
        }


def test_a_script_that_raises_makes_the_run_fail(launch: Launch, tmp_path: Path) -> None:
    fails_at_site_2 = f'[ $SWARM_INDEX = 1 ] && more="--fail-at 1"; exec {sys.executable} {ML} --rounds 3 $more'
    launcher = launch("sh", "-c", fails_at_site_2)
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert "swarm run: site-2 ended with exit code 1. The end of" in output
    assert "ValueError: the data of this site is broken" in output
    assert "Traceback" not in output.partition("swarm run:")[0]
    assert processes_of(tmp_path, launcher) == {}
    report = json.loads((tmp_path / "runs" / "latest" / "report.json").read_text())
    assert report["failures"] == {"site-2": "ended with exit code 1"}


def test_the_healthy_sites_go_on_to_the_end_without_a_crashed_one_where_min_peers_allows(
    launch: Launch, tmp_path: Path
) -> None:
    crashes_at_site_2 = f'[ $SWARM_INDEX = 1 ] && more="--fail-at 1"; exec {sys.executable} {ML} --rounds 3 $more'
    launcher = launch("sh", "-c", f"{crashes_at_site_2} --min-peers 2")
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert "swarm run: site-2 ended with exit code 1. The end of" in output
    report = json.loads((tmp_path / "runs" / "latest" / "report.json").read_text())
    assert report["over"] is True
    assert report["failures"] == {"site-2": "ended with exit code 1"}
    assert report["digests"] == dict.fromkeys(SITES, report["model"])  # its SL takes over each model
    assert "site-2 ended with exit code 1" in report["status"]
    last = (tmp_path / "runs" / "latest" / "logs" / "site-3.log").read_text().splitlines()[-1]
    assert last.startswith("DIGEST ")


def test_the_healthy_sites_go_on_to_the_end_without_a_killed_sl_where_min_peers_allows(
    launch: Launch, tmp_path: Path, gate: Gate
) -> None:
    holds_at_site_2 = f'[ $SWARM_INDEX = 1 ] && more="--hold-at 1 --gate {gate.path}"'
    launcher = launch("sh", "-c", f"{holds_at_site_2}; exec {sys.executable} {ML} --rounds 3 --min-peers 2 $more")
    read_until(launcher, "round 0 is merged")
    (pid,) = [pid for pid, line in processes_of(tmp_path, launcher).items() if "sl-2-cert.pem" in line]
    os.kill(pid, signal.SIGKILL)
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert "swarm run: SL-2 was ended by signal 9 (SIGKILL)" in output
    report = json.loads((tmp_path / "runs" / "latest" / "report.json").read_text())
    assert report["over"] is True
    assert report["failures"] == {"site-2": "lost its SL, which was ended by signal 9 (SIGKILL)"}


def test_a_run_succeeds_when_a_script_interrupts_its_session_and_trains_to_the_end_in_a_new_one(
    launch: Launch, gate: Gate
) -> None:
    again = f'[ $SWARM_INDEX = 1 ] && more="--interrupt-at 2 --hold-at 2 --gate {gate.path}"'
    launcher = launch("sh", "-c", f"{again}; exec {sys.executable} {ML} --rounds 4 $more")
    read_until(launcher, "waiting for site-2 (without its script since")
    gate.let()
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output
    assert "ledger verified" in output


def test_a_new_session_right_after_an_interrupted_one_is_served(launch: Launch) -> None:
    at_once = f'[ $SWARM_INDEX = 1 ] && more="--interrupt-at 1"; exec {sys.executable} {ML} --rounds 2 $more'
    launcher = launch("sh", "-c", at_once)
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output


def test_more_min_peers_than_sites_end_the_run_at_once_with_the_numbers(launch: Launch, tmp_path: Path) -> None:
    launcher = launch(sys.executable, ML, "--min-peers", "5")
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert "swarm run: minPeers is 5, but there are only 3 sites: training can never begin" in output
    assert "-n 5" in output
    assert processes_of(tmp_path, launcher) == {}


def test_without_a_terminal_a_run_names_the_sites_for_whom_a_round_waits(launch: Launch, gate: Gate) -> None:
    holds_at_site_2 = f'[ $SWARM_INDEX = 1 ] && more="--hold-at 1 --gate {gate.path}"'
    launcher = launch("sh", "-c", f"{holds_at_site_2}; exec {sys.executable} {ML} --rounds 3 $more")
    read_until(launcher, "2 models in, minPeers 3; waiting for site-2")
    gate.let()
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output


def test_scripts_run_with_the_python_beside_swarm_where_no_environment_is_active(
    launch_programs: Launch, tmp_path: Path
) -> None:
    nothing = tmp_path / "empty"
    nothing.mkdir()
    bare = {"PATH": f"{nothing}:/usr/bin:/bin"}
    launcher = launch_programs("python", ML, "--rounds", "2", environment=bare)
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output


def test_a_run_ends_well_on_a_terminal_that_lacks_characters(launch_programs: Launch) -> None:
    launcher = launch_programs(sys.executable, ML, environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output
    assert "# led and contributed" in output
    assert "\\u" not in output


def test_a_run_ends_well_in_a_folder_whose_name_is_not_utf_8(launch_programs: Launch, tmp_path: Path) -> None:
    runs = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    launcher = launch_programs(sys.executable, ML, options=["--runs-dir", runs])
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output
    assert "caf\\udce9" in output


def test_only_its_owner_may_read_a_run_folder(launch: Launch, tmp_path: Path) -> None:
    launcher = launch(sys.executable, ML, "--rounds", "1")
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 0, output
    folder = (tmp_path / "runs" / "latest").resolve()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    models = list(folder.glob("sites/*/models/*.safetensors"))
    assert models
    assert {stat.S_IMODE(path.stat().st_mode) for path in models} == {0o600}


def test_a_script_that_leaves_its_session_open_makes_the_run_fail(launch: Launch) -> None:
    """It ends with status 0, and the others would wait for it without end."""
    leaves_at_site_2 = f'[ $SWARM_INDEX = 1 ] && more="--leave-at 1"; exec {sys.executable} {ML} --rounds 3 $more'
    launcher = launch("sh", "-c", leaves_at_site_2)
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert "swarm run: site-2 ended without on_train_end(), which every script has to call" in output
    assert "site-2 ended without on_train_end()" in output


def test_a_script_that_opens_no_session_makes_the_run_fail(launch: Launch) -> None:
    launcher = launch("true")
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert "none has taken part in the swarm: make a SwarmCallback in the script" in output


def test_a_program_that_does_not_exist_starts_nothing(launch: Launch, tmp_path: Path) -> None:
    launcher = launch("no-such-program")
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert "swarm run: there is no program 'no-such-program'" in output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("node", ["SN-1", "SL-2"])
def test_a_node_that_dies_makes_the_run_fail(launch: Launch, tmp_path: Path, gate: Gate, node: str) -> None:
    launcher = launch(*held(gate))
    read_until(launcher, "round 0 is merged")
    (pid,) = [pid for pid, line in processes_of(tmp_path, launcher).items() if f"{node.lower()}-cert.pem" in line]
    os.kill(pid, signal.SIGKILL)
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 1
    assert f"swarm run: {node} was ended by signal 9 (SIGKILL). The end of" in output
    assert processes_of(tmp_path, launcher) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_all_its_processes(
    launch_programs: Launch, tmp_path: Path, gate: Gate, number: signal.Signals
) -> None:
    launcher = launch_programs(*held(gate))
    read_until(launcher, "round 0 is merged")
    assert len(processes_of(tmp_path, launcher)) == 7
    launcher.send_signal(number)
    output, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 128 + number
    assert "Traceback" not in output
    assert f"run folder {(tmp_path / 'runs' / 'latest').resolve()}" in output
    report = json.loads((tmp_path / "runs" / "latest" / "report.json").read_text())
    assert report["over"] is False
    assert [each["number"] for each in report["rounds"]] == [0]
    assert processes_of(tmp_path, launcher) == {}


def test_the_death_of_the_launcher_leaves_no_process_behind(
    launch_programs: Launch, tmp_path: Path, gate: Gate, wait_until_gone: WaitUntilGone
) -> None:
    launcher = launch_programs(*held(gate))
    read_until(launcher, "round 0 is merged")
    left = processes_of(tmp_path, launcher)
    assert len(left) == 7
    launcher.kill()
    wait_until_gone(left)
