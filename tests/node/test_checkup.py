"""What a node answers operators who ask how it is, and what keeps it from being a scanner."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from support.certs import make_workspace
from support.network import Ledger
from support.organisations import three_organisations
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.contracts import network
from swarmlearning.node import checkup
from swarmlearning.node.checkup import MOST_ADDRESSES, PER_MINUTE, Checkup, Site, read_answer, targets_of
from swarmlearning.node.outcomes import Outcome
from swarmlearning.node.probing import Target

HOST = "198.51.100.7"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return make_workspace(tmp_path / "cert", ["SL-2"])["SL-2"]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """All that was tried, instead of trying it."""
    found: list[Target] = []

    def probe(target: Target, context: object, refuse: object) -> Outcome:
        found.append(target)
        return Outcome(target.uid, target.service, "ok", 1.0, 1e6)

    monkeypatch.setattr(checkup, "probe", probe)
    return found


@pytest.fixture
def ledger() -> Ledger:
    made = three_organisations()
    for number in (1, 2, 3):
        made.send(f"sl-{number}", Announce({"fs": f"{HOST}:{number}"}), network.CONTRACT)
    return made


def node(ledger: Ledger, identity: Identity, now: Callable[[], float], site: Callable[[], Site] = Site) -> Checkup:
    return Checkup("sl-2", client_context(identity), lambda: ledger.chain, [HOST], site, now)


async def test_all_announced_services_are_tried_but_its_own_and_those_for_sns_alone(
    ledger: Ledger, identity: Identity, tried: list[Target]
) -> None:
    answer = read_answer(await node(ledger, identity, Clock()).answer(whole=False))
    assert answer is not None
    assert answer.site is None
    assert {(each.uid, each.service) for each in answer.outcomes} == {("sl-1", "fs"), ("sl-3", "fs")}
    assert {(each.host, each.port) for each in tried} == {(HOST, 1), (HOST, 3)}
    ledger.send("sn-1", Announce({"api": f"{HOST}:4", "p2p": f"{HOST}:5", "relay": f"{HOST}:6"}), network.CONTRACT)
    for sn, services in ((False, {"api", "relay"}), (True, {"api", "relay", "p2p"})):
        targets = targets_of(ledger.chain, lambda: ledger.chain, "sl-2", sn=sn)
        assert {each.service for each in targets if each.uid == "sn-1"} == services


async def test_who_may_read_the_logs_learns_how_the_site_is(
    ledger: Ledger, identity: Identity, tried: list[Target]
) -> None:
    asked = node(ledger, identity, Clock(), lambda: Site(script="stopped"))
    for whole in (False, True):
        answer = read_answer(await asked.answer(whole=whole))
        assert answer is not None
        assert (answer.site is not None) == whole


async def test_others_are_tried_a_few_times_a_minute_whoever_asks(
    ledger: Ledger, identity: Identity, tried: list[Target]
) -> None:
    clock = Clock()
    asked = node(ledger, identity, clock)
    for _ in range(100):
        await asked.answer(whole=False)
    assert len(tried) == 2, "what was found just now answers others, too"
    for _ in range(100):
        clock.now += 5.0 / 9
        await asked.answer(whole=False)
    assert len(tried) <= 2 * PER_MINUTE
    clock.now += 61
    await asked.answer(whole=False)
    assert len(tried) > 2 * PER_MINUTE - 2


async def test_another_organisation_has_only_so_many_addresses_tried_in_an_hour(
    ledger: Ledger, identity: Identity, tried: list[Target]
) -> None:
    clock = Clock()
    asked = node(ledger, identity, clock)
    for port in range(1000, 1000 + MOST_ADDRESSES + 20):
        ledger.send("sl-3", Announce({"fs": f"{HOST}:{port}"}), network.CONTRACT)
        clock.now += 15
        answer = read_answer(await asked.answer(whole=False))
    assert len({each.port for each in tried if each.uid == "sl-3"}) == MOST_ADDRESSES
    assert answer is not None
    assert [each.code for each in answer.outcomes if each.uid == "sl-3"] == ["untried"]
    assert [each.code for each in answer.outcomes if each.uid == "sl-1"] == ["ok"]
    clock.now += 3601
    await asked.answer(whole=False)
    assert tried[-1].port == port or tried[-2].port == port


def test_an_answer_of_another_organisation_is_bounded_and_taken_for_none_where_it_is_not() -> None:
    good = {"version": "1", "time_ms": 1, "outcomes": [{"uid": "a", "service": "fs", "code": "ok"}]}
    assert read_answer(msgspec.json.encode(good)) is not None
    bad: list[object] = [
        {**good, "outcomes": [{"uid": "a", "service": "fs", "code": "220 mail.example ESMTP"}]},
        {**good, "outcomes": [{"uid": "a", "service": "fs", "code": "ok", "rate": -1.0}]},
        {**good, "outcomes": good["outcomes"] * 1000},  # type: ignore[operator]
        {**good, "version": "x" * 65},
        {**good, "site": {"contract": "x" * 501}},
        [],
        {},
    ]
    for each in bad:
        assert read_answer(msgspec.json.encode(each)) is None
    assert read_answer(b"\xff") is None
