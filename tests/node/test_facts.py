"""What a node says of itself: enough for a diagnosis, no secret, and never more than an answer carries."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from swarmlearning.node.facts import Reporter, cleaned, environment_facts, fitting, measured_by
from swarmlearning.node.sealing import MAX_PIECE

CANARY = "Canary-77ab-facts"


async def test_a_report_says_what_a_node_is_and_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    monkeypatch.setenv("SL_DB_PASSWORD", f"{CANARY}-2")
    monkeypatch.setenv("SWARM_LOG_FORMAT", f"json of {CANARY}")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}@proxy:1")
    monkeypatch.setattr(sys, "argv", ["swarm", "sl", "--", "env", f"DB_SECRET={CANARY}-3", "train.py", "--lr", "0.1"])
    (tmp_path / "crashes").mkdir()
    (tmp_path / "crashes" / "20261129-200000-1-1.txt").write_text("the newest crash\n")
    (tmp_path / "node.log").write_text("x")

    async def waits() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(waits(), name="a-task-that-waits")
    await asyncio.sleep(0)

    async def metrics() -> bytes:
        return b"swarm_round 12"

    with measured_by(tmp_path, metrics):
        data = await Reporter("SL", "site-1", "0a1b", tmp_path).report()
    task.cancel()
    found = json.loads(data)
    assert CANARY not in data.decode()
    assert found["node"] == {"kind": "SL", "name": "site-1", "uid": "0a1b"}
    assert found["versions"]["Python"] == sys.version.split()[0]
    assert found["system"]["kernel"]
    assert found["environment"]["SL_DB_PASSWORD"] == "[removed]"
    assert found["environment"]["HTTPS_PROXY"] == "http://user:[removed]@proxy:1"
    assert "HF_TOKEN" not in found["environment"]
    assert json.loads(found["process"]["command"])[-2:] == ["--lr", "0.1"]
    assert found["metrics"] == "swarm_round 12"
    assert "metrics" not in json.loads(await Reporter("SL", "site-1", "0a1b", tmp_path).report())
    assert found["crash"] == "the newest crash\n"
    assert {"node.log", "crashes"} <= {each["name"] for each in found["data"]["files"]}
    assert "no node runs" in found["health"]
    assert "task a-task-that-waits" in found["stacks"]
    assert "thread MainThread" in found["stacks"]


def test_stacks_are_cut_to_what_an_answer_carries() -> None:
    for text in ("x" * 10 * MAX_PIECE, "\u20ac" * MAX_PIECE, '"' * MAX_PIECE):
        found = fitting({"node": {"name": "x"}}, text)
        assert len(found) <= MAX_PIECE
        assert len(json.loads(found)["stacks"]) > MAX_PIECE // 10
    long = {"node": "x", "metrics": "m" * MAX_PIECE, "crash": "c"}
    assert json.loads(fitting(long, "stacks")) == {"node": "x", "crash": "c", "stacks": "stacks"}
    assert json.loads(fitting({"node": "x", "other": "y" * MAX_PIECE}, "stacks")) == {"node": "x", "cut": True}


def test_data_is_cleaned_at_any_depth() -> None:
    known = frozenset({CANARY})
    data = {"a": [{"api_key": "k", "b": f"x {CANARY}"}], "token": None, "secret": ["s"], "n": 1, CANARY: True}
    assert cleaned(data, known) == {
        "a": [{"api_key": "[removed]", "b": "x [removed]"}],
        "token": None,
        "secret": ["s"],
        "n": 1,
        "[removed]": True,
    }


def test_only_variables_of_swarms_networks_and_devices_are_told() -> None:
    given = {"SWARM_X": "1", "no_proxy": "2", "AWS_REGION": "3", "PATIENTS": "4", "CUDA_VISIBLE_DEVICES": "0"}
    assert environment_facts(given) == {"CUDA_VISIBLE_DEVICES": "0", "SWARM_X": "1", "no_proxy": "2"}
