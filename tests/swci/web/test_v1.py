"""`/v1`: what the ledger shows as JSON, and acts on it."""

from typing import Any

import pytest

from support.carried import CarryingSn
from support.operations import RUNNER
from support.webmode import WebMode
from swarmlearning.ledger.bodies import SetPolicy
from swarmlearning.ledger.contracts import network
from swarmlearning.node.sealing import Piece, Wanted

TASK = """Name: mine
TaskType: PULL_IMAGE
Author: somebody
Prereq: ROOTTASK
Outcome: image
Body:
  RepoName: python
  Tag: "3.11"
  OrgAndReg: library
"""


async def get(web: WebMode, path: str, status: int = 200) -> Any:
    found, answer = await web.ask("GET", f"/v1{path}")
    assert found == status, answer
    return answer


async def post(web: WebMode, path: str, body: Any = None, status: int = 200, method: str = "POST") -> Any:
    found, answer = await web.ask(method, f"/v1{path}", **({"json": body} if body is not None else {}))
    assert found == status, answer
    return answer


async def test_nodes(web: WebMode) -> None:
    page = await get(web, "/nodes?offset=1&limit=2")
    assert (len(page["items"]), page["total"]) == (2, 7)
    first = page["items"][0]
    assert await get(web, f"/nodes/{first['uid']}") == first
    assert (await get(web, "/nodes/nobody", 404))["detail"] == "there is no node 'nobody'"


async def test_contracts_are_created_with_all_terms(web: WebMode) -> None:
    terms = {"members": ["org-1"], "min_peers": 2, "weights": "equal", "merge_method": "mean"}
    assert (await post(web, "/contracts", {"name": "mine", "terms": terms}))["state"] == "done"
    found = await get(web, "/contracts/mine")
    assert {name: found["info"][name] for name in terms} == terms
    assert found["status"]["state"] == "UNINITIALIZED"
    assert "mine" in (await get(web, "/contracts"))["items"]
    assert await get(web, "/contracts/mine/performance") == {"items": [], "total": 0}
    assert (await post(web, "/contracts/mine/reset"))["state"] == "done"
    await get(web, "/contracts/other", 404)
    await post(web, "/contracts/other/reset", status=404)


@pytest.mark.parametrize("terms", [{"min_peers": -1}, {"weights": "mine"}, {"members": ["NOBODY !"]}, {"members": 7}])
async def test_terms_that_cannot_be_are_refused(web: WebMode, terms: dict[str, Any]) -> None:
    status, answer = await web.ask("POST", "/v1/contracts", json={"name": "mine", "terms": terms})
    assert status in (409, 422)
    assert answer["detail"]


async def test_tasks(web: WebMode) -> None:
    made = await post(web, "/tasks", {"definition": TASK, "finalize": False})
    assert (made["name"], made["state"], made["lines"][1]) == ("mine", "draft", "RepoName: python")
    listed = await get(web, "/tasks")
    assert [each["name"] for each in listed["items"]] == ["ROOTTASK", "build", "mine", "run"]
    assert "lines" not in listed["items"][0]
    assert (await post(web, "/tasks/mine/finalize"))["detail"] == "task mine is final, and can be assigned"
    assert (await get(web, "/tasks/mine"))["state"] == "final"
    await post(web, "/tasks/mine", status=409, method="DELETE")
    await get(web, "/tasks/other", 404)
    assert "definition:1:1" in (await post(web, "/tasks", {"definition": "Name"}, 422))["detail"]


async def test_a_taskrunner_from_assignment_to_reset(web: WebMode) -> None:
    assert (await post(web, "/taskrunners", {"name": "second"}))["state"] == "done"
    assert "already" in (await post(web, "/taskrunners", {"name": "second"}, 409))["detail"]
    assert (await get(web, "/taskrunners"))["total"] == 2
    path = f"/taskrunners/{RUNNER}"
    await post(web, f"{path}/assign", {"task": "run", "peers": 3})
    for uid in ("swop-1", "swop-2"):
        web.operations.carry_out(uid)
    found = await get(web, path)
    assert (found["status"]["state"], found["status"]["completed"]) == ("COMPLETE", 3)
    peers = await get(web, f"{path}/peers?limit=1")
    assert (peers["items"][0]["state"], peers["total"]) == ("complete", 3)
    assert (await post(web, f"{path}/reset"))["state"] == "done"
    await post(web, f"{path}/assign", {"task": "build", "target": "swop-2"})
    await post(web, f"{path}/abort")
    await post(web, f"{path}/reset")
    await post(web, f"{path}/assign", {"task": "build", "peers": "all"})
    assert "carries out the task" in (await post(web, f"{path}/assign", {"task": "run", "peers": 1}, 409))["detail"]
    await post(web, f"{path}/assign", {"task": "run", "peers": 0}, 422)
    await get(web, "/taskrunners/other", 404)


def answering(web: WebMode, uid: str, *pieces: Piece) -> CarryingSn:
    """The SN of the network, to which this node is connected and says so."""
    sn = CarryingSn(web.operations.ledger, *pieces, signed_by=uid, asker="op-1")
    web.session.operator.clients = [sn]
    return sn


async def test_the_log_of_a_node_is_read_excerpt_by_excerpt(web: WebMode) -> None:
    sn = answering(web, "swop-1", Piece(b"one\ntw", "7:6", more=True), Piece(b"o\x1b[2J\n", "7:12", lost=True))
    first = await get(web, "/nodes/swop-1/log?lines=2")
    assert first == {"text": "one\ntw", "cursor": "7:6~", "more": True, "lost": False}
    second = await get(web, f"/nodes/swop-1/log?cursor={first['cursor']}&wait=true")
    assert second == {"text": "o\\x1b[2J\n", "cursor": "7:12~", "more": False, "lost": True}
    assert sn.asked == [Wanted(lines=2), Wanted(cursor="7:6", wait=True)]
    await get(web, "/nodes/nobody/log", 404)
    for wrong in ("lines=100001", "lines=-1", "since_ms=9007199254740992", "cursor=7", "cursor=7:6~zz", "wait=x"):
        await get(web, f"/nodes/swop-1/log?{wrong}", 422)


async def test_the_log_of_a_peer_and_of_its_pairs(web: WebMode) -> None:
    runner = f"/taskrunners/{RUNNER}"
    await post(web, f"{runner}/assign", {"task": "run", "peers": 3})
    web.operations.carry_out("swop-1", "enrolled", "running")
    sn = answering(web, "swop-1", Piece(b"one\n", "7:4"))
    for peer in ("0", "swop-1"):
        assert (await get(web, f"{runner}/peers/{peer}/log?since_ms=9"))["text"] == "one\n"
        assert sn.asked[-1] == Wanted(since_ms=9)
    await get(web, f"{runner}/peers/0/log?part=ML&pair=5")
    assert sn.asked[-1] == Wanted("ML", RUNNER, 5)
    assert "by its number" in (await get(web, f"{runner}/peers/0/log?part=SL", 409))["detail"]
    await get(web, f"{runner}/peers/0/log?part=all", 422)
    assert "peers, and 7 is none" in (await get(web, f"{runner}/peers/7/log", 404))["detail"]
    await get(web, f"{runner}/peers/nobody/log", 404)
    await get(web, "/taskrunners/other/peers/0/log", 404)


async def test_what_a_site_withholds_and_a_node_that_is_not_there_are_told_apart(web: WebMode) -> None:
    answering(web, "swop-3", Piece(refused="its site, of organisation org-2, does not share its own log with org-1"))
    assert "of organisation org-2, does not share" in (await get(web, "/nodes/swop-3/log", 409))["detail"]
    answering(web, "swop-2", Piece(b"forged"))
    assert "is not by the node" in (await get(web, "/nodes/swop-3/log", 503))["detail"]


async def test_an_act_that_others_have_to_sign_is_proposed(web: WebMode) -> None:
    web.operations.send("op-2", SetPolicy("create-contract", "all"), network.CONTRACT)
    (open_one,) = (await get(web, "/proposals"))["items"]
    assert (open_one["state"], open_one["missing"]) == ("open", ["org-1"])
    number = open_one["number"]
    assert await get(web, f"/proposals/{number}") == open_one
    await post(web, f"/proposals/{number}/sign")
    assert (await get(web, f"/proposals/{number}"))["state"] == "done"
    answer = await post(web, "/contracts", {"name": "mine"})
    assert (answer["state"], answer["proposal"]["missing"]) == ("proposed", ["org-2"])
    await post(web, f"/proposals/{answer['proposal']['number']}/reject")
    await get(web, "/proposals/99", 404)


async def test_other_contexts_can_be_named(web: WebMode) -> None:
    assert (await get(web, "/tasks?context=c"))["total"] == 3
    assert "there is no context d; there is c" in (await get(web, "/tasks?context=d", 409))["detail"]


async def test_it_is_described(web: WebMode) -> None:
    status, answer = await web.ask("GET", "/openapi.json")
    assert status == 200
    assert answer["paths"]["/v1/tasks"]["get"]["responses"].keys() >= {"200", "400", "403", "404", "409", "422", "503"}
