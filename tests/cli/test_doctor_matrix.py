"""From who reaches whom follows where the fault is."""

import pytest

from swarmlearning.doctor.findings import Report
from swarmlearning.doctor.matrix import HERE, Known, diagnose
from swarmlearning.doctor.wording import MEANINGS, here
from swarmlearning.node.outcomes import CODES, Code, Outcome

SITES = ("a", "b", "c")
NODES = {
    "sn": Known("SN", "SN-1", {"api": "10.0.0.1:30304"}, alive=True),
    **{uid: Known("SL", f"site-{uid}", {"fs": f"10.0.1.{n}:30305"}, alive=True) for n, uid in enumerate(SITES)},
}
FAST = 50e6


def rows(*faults: tuple[str, str, Code], rates: dict[tuple[str, str], float] | None = None) -> dict[str, list[Outcome]]:
    """All reach all, but for these (who, whom, what comes of it)."""
    codes = {(who, uid): code for who, uid, code in faults}
    found: dict[str, list[Outcome]] = {}
    for who in (HERE, *NODES):
        for uid, known in NODES.items():
            if uid != who:
                code = codes.get((who, uid), "ok")
                rate = (rates or {}).get((who, uid), FAST) if code == "ok" else None
                service = "api" if known.type == "SN" else "fs"
                found.setdefault(who, []).append(Outcome(uid, service, code, 1.0, rate))
    return found


def found(*faults: tuple[str, str, Code], **more: dict[tuple[str, str], float]) -> list[tuple[str, str]]:
    return [(each.code, each.subject) for each in diagnose(rows(*faults, **more), NODES).ordered]


def everybody(uid: str, code: Code) -> list[tuple[str, str, Code]]:
    return [(who, uid, code) for who in (HERE, *NODES) if who != uid]


def test_nothing_is_found_where_all_reach_all() -> None:
    report = diagnose(rows(), NODES)
    assert report.wrong == []
    assert "15 of 15 ways" in "".join(report.fine) or "ways from 5 places are open" in "".join(report.fine)


def test_an_operator_and_an_sn_need_not_reach_the_sites() -> None:
    assert found(*[(who, uid, "silent") for who in (HERE, "sn") for uid in SITES]) == []


@pytest.mark.parametrize("code", ["silent", "refused", "no-route"])
def test_a_site_that_no_other_site_reaches_has_no_way_in(code: Code) -> None:
    assert found(*everybody("a", code)) == [("no-way-in", "SL site-a")]


def test_a_way_that_is_closed_in_one_direction_is_told_from_one_that_is_closed_in_both() -> None:
    assert found(("a", "b", "silent")) == [("one-way", "the way from SL site-a to SL site-b")]
    assert [code for code, _ in found(("a", "b", "silent"), ("b", "a", "silent"))] == ["link", "link"]


def test_a_site_that_reaches_nobody_is_at_fault_itself() -> None:
    assert found(*[("a", uid, "silent") for uid in ("sn", "b", "c")]) == [("link", "SL site-a")]
    assert found(*[("a", uid, "proxy") for uid in ("sn", "b", "c")]) == [("proxy", "SL site-a")]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("stalled", "stalled"),
        ("another", "another"),
        ("unknown-host", "unknown-host"),
        ("large-lost", "large-lost"),
        ("expired", "expired"),
        ("forbidden", "unreachable-address"),
        ("no-tls", "no-service"),
    ],
)
def test_what_is_wrong_with_one_node_is_said_of_it(code: Code, told: str) -> None:
    assert found(*everybody("b", code)) == [(told, "SL site-b")]


def test_a_process_that_does_not_answer_is_at_fault_whoever_finds_it() -> None:
    assert found((HERE, "b", "stalled"), ("sn", "b", "stalled"), ("a", "b", "stalled"), ("c", "b", "stalled"))


def test_of_a_node_that_is_gone_nobody_expects_an_answer() -> None:
    nodes = {**NODES, "c": NODES["c"]._replace(alive=False)}
    assert diagnose(rows(*everybody("c", "refused")), nodes).wrong == []


def test_an_sn_whose_port_for_other_sns_alone_is_closed_is_at_work_although_its_lease_has_ended() -> None:
    nodes = {
        uid: Known("SN", uid, {"api": f"10.0.0.{n}:1", "p2p": f"10.0.0.{n}:2"}, alive=uid != "sn-3")
        for n, uid in enumerate(("sn-1", "sn-2", "sn-3"))
    }
    found = {
        who: [
            Outcome(uid, service, "silent" if (uid, service) == ("sn-3", "p2p") else "ok")
            for uid in nodes
            for service in ("api", "p2p")
            if uid != who
        ]
        for who in ("sn-1", "sn-2")
    }
    [only] = diagnose(found, nodes).wrong
    assert (only.code, only.subject) == ("no-way-in", "sn-3")
    assert "port for other SNs" in only.text


def test_a_link_is_slow_or_a_site_sends_slowly_or_gets_slowly() -> None:
    slow = 0.1e6
    assert found(rates={("a", "b"): slow}) == [("slow-link", "the link from SL site-b to SL site-a")]
    sends = {(who, "b"): slow for who in (HERE, *NODES) if who != "b"}
    assert found(rates=sends) == [("slow-link", "SL site-b")]
    gets = {("a", uid): slow for uid in SITES}
    assert found(rates=gets) == [("slow-link", "SL site-a")]
    operators = {(HERE, uid): slow for uid in SITES}
    assert found(rates=operators) == []


def test_a_site_that_sends_slowly_is_not_blamed_for_hanging_when_several_ask_it_at_once() -> None:
    fast, slow = Outcome("c", "fs", "ok", 1.0, 80e6), Outcome("b", "fs", "ok", 1.0, 0.1e6)
    hanging = Outcome("b", "fs", "stalled", 1.0)
    report = diagnose({HERE: [slow, fast], "a": [hanging]}, NODES)
    assert [(each.code, each.subject) for each in report.wrong] == [("slow-link", "SL site-b")]
    report = diagnose({HERE: [fast], "a": [hanging]}, NODES)
    assert [each.code for each in report.wrong] == ["stalled"]


def test_a_speed_reads_as_it_does_in_an_explanation() -> None:
    outcomes = [Outcome("b", "fs", "ok", 1.0, 0.12e6), Outcome("c", "fs", "ok", 1.0, 80e6)]
    report = diagnose({"a": outcomes}, NODES)
    assert report.wrong[0].text == "carries 120 kB/s: 100 MB take 14 minutes"
    assert report.fine[0].endswith("SL site-b sends to SL site-a the slowest, 120 kB/s")
    [fast] = diagnose({"a": outcomes[1:]}, NODES).fine
    assert fast.endswith("the slowest, 50 MB/s or more")


def test_every_code_has_its_meaning_for_people() -> None:
    assert set(MEANINGS) == CODES - {"ok", "untried"}
    for code in MEANINGS:
        report = Report()
        report.find(*here(code, "10.0.0.1:30304", None))
        assert "{" not in report.wrong[0].text + report.wrong[0].remedy
        assert report.ordered
