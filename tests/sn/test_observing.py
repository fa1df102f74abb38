"""What an SN's status says of nodes' machines, and what it has noted while it worked."""

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from support.closing import close
from support.local_sn import Member, fetch
from support.mining import Site, engine_of
from support.network import CONTRACT, session
from swarmlearning.identity.identity import Identity
from swarmlearning.node.clocks import clock_ms
from swarmlearning.sn import observing
from swarmlearning.sn.observing import Observer
from swarmlearning.views.vitals import Vitals

Identities = dict[str, Identity]


async def test_the_status_shows_what_a_node_says_of_its_machine_as_long_as_it_says_it(sl: Member) -> None:
    said = Vitals(disk_free=5 * 10**8, disk_total=10**11, clock_ms=-3, clock_error_ms=2, version="9.9")
    for vitals in (said, None):
        time_ms = await sl.client.announce("sl-1", 1, steps=0, moved=0, vitals=vitals)
        assert time_ms is not None
        assert abs(time_ms - clock_ms()) < 3_600_000
        status = await sl.client.status()
        [shown] = [node["vitals"] for node in status["nodes"] if node["uid"] == "sl-1"]
        assert shown == (asdict(vitals) if vitals else None)
        alerts = [each for each in status["alerts"] if each["nodes"] == ["sl-1"]]
        assert [(each["code"], each["severity"]) for each in alerts] == ([("disk", "critical")] if vitals else [])
        assert all(abs(each["since_ms"] - status["time_ms"]) < 3_600_000 for each in alerts)


@pytest.mark.parametrize("vitals", [7, {"disk_free": -1}, {"version": "x" * 10**5}, {"disk_free": 1, "later": [{}]}])
async def test_a_heartbeat_counts_whatever_its_vitals_are(sl: Member, identities: Identities, vitals: Any) -> None:
    body = {"incarnation": 1, "steps": 8, "moved": 0, "vitals": vitals}
    status, _, _ = await fetch(sl.client.address, identities["SL-1"], "/presence/sl-1", method="PUT", json=body)
    assert status == 204
    [shown] = [node for node in (await sl.client.status())["nodes"] if node["uid"] == "sl-1"]
    assert shown["progress"] == 8
    assert (shown["vitals"] or {}).get("disk_free") == (1 if "later" in str(vitals) else None)


async def test_an_alert_stands_since_it_was_first_true_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "LOOK_SECONDS", 0.01)
    site, looks, looked = Site(), list[int](), asyncio.Event()

    def fault() -> str:
        looks.append(clock_ms())
        if len(looks) > 2:
            looked.set()
        return "two chains"

    async with site.miner() as miner:
        observer = Observer(miner, engine_of(site), "sn-1", fault)
        working = asyncio.create_task(observer.run())
        await looked.wait()
        [alert] = [each for each in (await observer.status()).alerts if each.code == "sn-fault"]
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert alert.since_ms is not None
    assert looks[0] <= alert.since_ms <= looks[1]


async def test_an_sn_knows_after_its_start_how_long_rounds_have_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(observing, "BATCH", 3)
    site, looked = Site(), asyncio.Event()
    site.ledger.send("sl-0", session(min_peers=1))
    for seconds in (5, 20, 10):
        close(site.ledger, "sl-0", seconds=seconds)

    def fault() -> str:
        looked.set()
        return ""

    async with site.miner() as miner:
        observer = Observer(miner, engine_of(site), "sn-1", fault)
        working = asyncio.create_task(observer.run())
        await looked.wait()
        [training] = (await observer.status()).trainings
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert [round(taken, -3) for taken in training.taken_ms] == [20_000, 10_000]


async def test_the_status_has_what_members_do_and_how_long_rounds_take(sl: Member) -> None:
    await sl.send(session(min_peers=1), CONTRACT)
    [training] = (await sl.client.status())["trainings"]
    assert training["activities"] == {"sl-1": "training"}
    assert (training["taken_ms"], training["missed"]) == ([], {})
