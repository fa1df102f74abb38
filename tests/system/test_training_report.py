"""`swarm report` on a real network: any node's certificate reads and verifies how a training went."""

import json
import os
import subprocess
from pathlib import Path

from support.processes import COMMAND
from support.swarm import Swarm, assert_complete, identity_options


def test_a_training_of_a_real_network_is_reported_over_the_network_and_from_the_sn_s_disk(
    swarm: Swarm, tmp_path: Path
) -> None:
    swarm.processes.variables["SL_KEEP_BEST"] = "true"
    swarm.start_sn()
    assert_complete(swarm.start_sites("--rounds", "2"))
    words = [f"--sn-api-port={swarm.port}", "--sn-ip=127.0.0.1", f"--csv={tmp_path / 'curves.csv'}", "--json"]
    words += [f"--{name}={value}" for name, value in identity_options(swarm.identities["SL-1"]).items()]
    home = {**os.environ, "HOME": str(tmp_path / "home")}
    first, shown = (
        subprocess.run([*COMMAND, "report", *words], capture_output=True, text=True, timeout=150, env=home)
        for _ in range(2)
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == first.stdout, "the second goes on from what the first has verified"
    found = json.loads(shown.stdout)
    assert (found["problem"], found["over"], [each["number"] for each in found["rounds"]]) == ("", True, [0, 1, 2])
    assert set(found["holds"].values()) == {found["model"]}
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 1 + 3 * 3
    best = found["best"]
    assert (best["round"], best["sites"]) == (0, 3), best
    for data_dir in (swarm.directory / f"sl-{index}" for index in (1, 2, 3)):
        (record,) = (data_dir / "results").glob("*-best.json")
        assert json.loads(record.read_text())["mean"] == best
        assert record.with_suffix(".safetensors").is_file()
        assert next((data_dir / "tensorboard").rglob("events.out.tfevents.*")).stat().st_size > 100
    disk = [*COMMAND, "report", f"--data-dir={swarm.directory / 'sn'}", "--json"]
    assert json.loads(subprocess.run(disk, capture_output=True, text=True, timeout=150).stdout) == found
