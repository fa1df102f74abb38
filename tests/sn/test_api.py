"""An SN's API as nodes use it: over real connections, with certificates on both sides."""

import asyncio
import json
import ssl
import time
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import aiohttp
import msgspec
import pytest

from support.certs import stranger
from support.local_sn import Member, fetch, member
from support.mining import Site, engine_of, full_disk
from support.network import CONTRACT, read, session
from swarmlearning import __version__
from swarmlearning.api import answers
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.ledger.block import MAX_BLOCK, seal
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.sn.api import blocks as blocks_api
from swarmlearning.sn.api.app import make_api
from swarmlearning.views.training import TrainingProgress

Identities = dict[str, Identity]


# --- transactions and blocks ----------------------------------------------------------------------------------------


async def test_a_transaction_is_answered_with_the_height_of_its_block(sl: Member) -> None:
    height = await sl.send(Announce({"fs": "127.0.0.1:1"}))
    chain = await sl.catch_up()
    assert chain.height == height
    node = network.node(chain.world, "sl-1")
    assert node is not None
    assert node.addresses == {"fs": "127.0.0.1:1"}


async def test_the_same_transaction_sent_again_has_the_same_answer(sl: Member) -> None:
    signed = (await sl.catch_up(), sl.write(Announce({})))[1]
    heights = await asyncio.gather(*(sl.client.submit(signed.raw) for _ in range(5)))
    assert len(set(heights)) == 1


async def test_a_refusal_has_a_code_a_text_and_the_height_at_which_it_was_decided(sl: Member) -> None:
    await sl.send(session(min_peers=3), CONTRACT)
    chain = await sl.catch_up()
    with pytest.raises(Refusal, match="minPeers is 3, this session has 2") as refusal:
        await sl.send(session(min_peers=2), CONTRACT)
    assert (refusal.value.code, refusal.value.height) == ("other-terms", chain.height)


@pytest.mark.parametrize("raw", ["", "nonsense", "ä.b.c", "a.b.c" * 1000])
async def test_a_body_that_is_no_transaction_is_refused_as_malformed(sl: Member, raw: str) -> None:
    with pytest.raises(Refusal, match="not a transaction") as refusal:
        await sl.client.submit(raw)
    assert refusal.value.code == "malformed"


async def test_a_stranger_s_transaction_over_a_member_s_connection_is_refused(
    sl: Member, tmp_path: Path, identities: Identities
) -> None:
    """A valid signature by a certificate of another CA with the same names."""
    other = stranger(tmp_path, "SL-1")
    before = await sl.catch_up()
    async with member(sl.client.address, identities["SL-1"], uid="sl-9", signs_as=other) as intruder:
        with pytest.raises(Refusal, match="CN=SL-1") as refusal:
            await intruder.register()
        assert refusal.value.code == "untrusted"
        with pytest.raises(Refusal) as refusal:
            await intruder.send(Announce({}))
        assert refusal.value.code == "unknown-certificate"
    assert await sl.catch_up() == before
    await sl.send(Announce({}))


async def test_blocks_are_streamed_from_any_height_and_go_on_live(sl: Member) -> None:
    chain = await sl.catch_up()
    async with aclosing(sl.client.blocks(chain.height)) as blocks:
        assert Chain().append(await sl.client.block(0)).chain.height == 0
        assert await anext(blocks) == await sl.client.block(chain.height)
        coming = asyncio.ensure_future(anext(blocks))
        height = await sl.send(Announce({"fs": "127.0.0.1:2"}))
        assert await coming == await sl.client.block(height)
    async with aclosing(sl.client.blocks(0)) as blocks:
        assert [await anext(blocks) for _ in range(height + 1)] == [
            await sl.client.block(at) for at in range(height + 1)
        ]


async def test_a_quiet_stream_is_kept_alive_by_comments(
    sn: dict[str, str], identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_api, "COMMENT_SECONDS", 0.02)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context(identities["SL-1"]))) as client,
        client.get(f"https://{sn['api']}/blocks?from=1000") as response,
    ):
        assert response.content_type == "text/event-stream"
        assert await response.content.readline() == b": still here\n"


async def test_a_block_beyond_the_head_is_not_found(sl: Member) -> None:
    head = (await sl.catch_up()).height
    for height in (head + 1, -1):
        with pytest.raises(Refusal, match=f"the chain ends at block {head}") as refusal:
            await sl.client.block(height)
        assert refusal.value.code == "no-block"


# --- heartbeats -----------------------------------------------------------------------------------------------------


async def test_only_a_node_s_own_certificate_renews_its_lease(sl: Member, identities: Identities) -> None:
    await sl.client.announce("sl-1", 1, steps=3, moved=5)
    async with SnClient(sl.client.address, client_context(identities["SL-2"])) as other:
        for uid in ("sl-1", "unknown"):
            with pytest.raises(Refusal, match=f"no node {uid} is registered with this certificate") as refusal:
                await other.announce(uid, 1, steps=0, moved=0)
            assert refusal.value.code == "unknown-node"


async def test_the_status_reports_how_far_a_node_s_training_is(sl: Member) -> None:
    for training in (TrainingProgress(2, 10, 61.5, None, 9.0), None):
        await sl.client.announce("sl-1", 1, steps=3, moved=5, training=training)
        [shown] = [node["training"] for node in (await sl.client.status())["nodes"] if node["uid"] == "sl-1"]
        assert shown == (asdict(training) if training else None)


async def test_the_status_names_an_sl_whose_heartbeats_carry_another_time(sl: Member) -> None:
    await sl.client.announce("sl-1", 1, 0, 0, None, 3_600_000)
    assert any("s ahead of the SNs'" in text for text in (await sl.client.status())["alarms"])


async def test_only_the_newest_start_of_a_node_renews_its_lease(sl: Member, identities: Identities) -> None:
    with pytest.raises(Refusal) as refusal:
        await sl.client.announce("sl-1", 2, steps=0, moved=0)
    assert refusal.value.code == "unknown-incarnation"
    async with member(sl.client.address, identities["SL-1"], incarnation=2) as again:
        await again.register()
        await again.client.announce("sl-1", 2, steps=0, moved=0)
    with pytest.raises(Refusal, match="runs as incarnation 2; incarnation 1 must stop") as refusal:
        await sl.client.announce("sl-1", 1, steps=0, moved=0)
    assert refusal.value.code == "old-incarnation"


PROGRESS = dict.fromkeys(("epochs", "total_epochs", "batches_per_second", "samples_per_second", "eta_seconds"), 1)
WRONG_PROGRESS: list[dict[str, Any]] = [{"epochs": 10**30}, {"total_epochs": -1}, {"eta_seconds": 1e305}]
"""It would stand in the status, where no client could read it."""


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"incarnation": 0, "steps": 0, "moved": 0},
        {"incarnation": "x"},
        {"incarnation": 1, "steps": 0, "moved": 0, "training": {}},
        {"incarnation": 1, "steps": 10**30, "moved": 0},
        {"incarnation": 1, "steps": 0, "moved": 2**53},
        *({"incarnation": 1, "steps": 0, "moved": 0, "training": PROGRESS | wrong} for wrong in WRONG_PROGRESS),
        [],
        "x",
    ],
)
async def test_a_malformed_heartbeat_is_refused(sl: Member, identities: Identities, body: Any) -> None:
    status, _, text = await fetch(sl.client.address, identities["SL-1"], "/presence/sl-1", method="PUT", json=body)
    assert status == 422
    assert json.loads(text).keys() == {"code", "detail", "height"}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            b'{"incarnation": NaN, "steps": 1e400, "moved": -Infinity}',
            "body.incarnation: Input should be a finite number",
        ),
        (b'{"incarnation": "\\ud800", "steps": 0, "moved": 0}', "body.incarnation: "),
        (b'{"incarnation": 1, "steps": ' + b"9" * 400 + b', "moved": "' + b"x" * 500_000 + b'"}', "body.moved: "),
        (b'[{"' + b"a" * 500_000 + b'": NaN}]', "body: Input should be a valid dictionary"),
    ],
    ids=["not-finite", "surrogate", "long", "long-key"],
)
async def test_a_malformed_heartbeat_is_refused_briefly_and_without_repeating_it(
    sl: Member, identities: Identities, body: bytes, fault: str
) -> None:
    status, _, text = await fetch(
        sl.client.address,
        identities["SL-1"],
        "/presence/sl-1",
        method="PUT",
        data=body,
        headers={"content-type": "application/json"},
    )
    assert (status, json.loads(text)["code"]) == (422, "malformed")
    assert fault in json.loads(text)["detail"]
    assert len(text) < 2000


# --- the state ------------------------------------------------------------------------------------------------------


async def test_the_status_shows_the_network_its_nodes_and_what_each_contract_waits_for(
    sl: Member, sn: dict[str, str]
) -> None:
    await sl.send(session(min_peers=2), CONTRACT)
    status = await sl.client.status()
    chain = await sl.catch_up()
    assert (status["network"], status["network_id"], status["sn"]) == ("test", sn["network"], sn["uid"])
    assert (status["height"], status["hash"], status["ordering"]) == (chain.height, chain.hash, "local")
    assert {node["name"]: (node["type"], node["alive"]) for node in status["nodes"]} == {
        "SN-1": ("SN", True),
        "sl-1": ("SL", True),
    }
    (training,) = status["trainings"]
    assert training["text"].startswith(
        "1 of 2 sessions of contract defaultbb.cqdb.sml.hpe are open; round 0 waits for "
    )
    assert (training["members"], training["min_peers"], training["over"]) == (["sl-1"], 2, False)


async def test_the_api_returns_the_whole_state_of_a_contract(sl: Member) -> None:
    await sl.send(session(min_peers=2), CONTRACT)
    status, kind, text = await fetch(sl.client.address, sl.identity, f"/contracts/{CONTRACT}")
    state = json.loads(text)
    assert (status, kind) == (200, "application/json")
    assert state["terms"] == {"merge_method": "mean", "min_peers": 2, "structure": "5" * 64}
    assert list(state["members"]) == ["sl-1"]
    status, _, text = await fetch(sl.client.address, sl.identity, "/contracts/unknown")
    assert json.loads(text)["text"] == "no session is open yet"


async def test_the_api_reports_its_health_and_that_it_is_up(sn: dict[str, str], identities: Identities) -> None:
    assert await fetch(sn["api"], identities["SL-1"], "/is_up") == (200, "text/plain", "OK")
    status, _, text = await fetch(sn["api"], identities["SL-1"], "/health")
    answer = json.loads(text)
    assert abs(answer.pop("time_ms") - time.time() * 1000) < 60_000
    assert (status, answer) == (200, {"ready": True, "height": 1})


async def test_an_sn_does_not_order_for_another_what_no_sn_has_sealed(
    sn: dict[str, str], identities: Identities
) -> None:
    async with SnClient(sn["api"], client_context(identities["SN-1"])) as client:
        status = await client.status()
        head = read(await client.block(status["height"])).header
        header = msgspec.structs.replace(head, height=status["height"] + 1, previous=status["hash"])
        forged = seal(header, [], identities["SL-1"].signer()).raw
        with pytest.raises(Refusal, match="is no block") as found:
            await client.append(status["height"], status["hash"], forged)
    assert found.value.code == "malformed"


# --- its description ------------------------------------------------------------------------------------------------

OPERATIONS = {
    ("post", "/transactions"): {"200": "Committed", "400": "Refused", "409": "Refused", "503": "Refused"},
    ("get", "/blocks"): {"410": "Refused", "503": "Refused", "422": "Refused"},
    ("get", "/blocks/{height}"): {"404": "Refused", "410": "Refused", "422": "Refused"},
    ("put", "/presence/{node}"): dict.fromkeys(("403", "409", "422"), "Refused"),
    ("post", "/log/{height}"): {"200": "Ordered"} | dict.fromkeys(("400", "403", "409", "422", "503"), "Refused"),
    ("get", "/cluster"): {},
    ("delete", "/cluster/{uid}"): {"403": "Refused", "422": "Refused", "503": "Refused"},
    ("get", "/blocks/{height}/state"): {"200": "BlockState", "404": "Refused", "422": "Refused"},
    ("get", "/blocks/{height}/attestation"): {"200": "Attestation", "404": "Refused", "422": "Refused"},
    ("get", "/blocks/{height}/stance"): {"200": "Stance", "404": "Refused", "422": "Refused"},
    ("post", "/v1/logs/{node}"): dict.fromkeys(("400", "403", "404", "409", "422", "503"), "Refused"),
    ("get", "/v1/logs/{node}"): {"403": "Refused", "422": "Refused"},
    ("put", "/v1/logs/{node}/{digest}"): dict.fromkeys(("400", "403", "404", "422"), "Refused"),
    ("get", "/status"): {"200": "Status"},
    ("get", "/contracts/{name}"): {"422": "Refused"},
    ("get", "/health"): {},
    ("get", "/is_up"): {},
}
"""The API on which other programs may rely: operations, and the models of their answers."""

FIELDS = {
    "Beat": {"incarnation", "steps", "moved", "training", "time_ms", "same_user", "vitals"},
    "TrainingProgress": {"epochs", "total_epochs", "batches_per_second", "samples_per_second", "eta_seconds"},
    "Committed": {"height"},
    "Stance": {"block", "objection"},
    "Attestation": {"jws"},
    "Refused": {"code", "detail", "height"},
    "Status": {"network", "network_id", "sn", "version", "height", "hash", "ordering"}
    | {"votes", "majority", "fault_tolerance", "bears", "alarms"}
    | {"sns", "nodes", "trainings", "recoveries", "expiries", "alerts", "time_ms"}
    | {"chain_bytes", "founded_ms"},
    "VoterStatus": {"uid", "name", "part", "founder", "witness", "height", "lag", "present"},
    "RecoveryStatus": {"height", "by", "lost"},
    "ExpiryStatus": {"of", "expires_ms", "organisation", "last"},
    "BlockState": {"height", "hash", "state_hash"},
    "ClusterMember": {"id", "name", "peer_url", "learner"},
    "Ordered": {"height", "hash"},
    "NodeStatus": {"uid", "type", "name", "incarnation", "alive", "left", "state"}
    | {"version", "addresses", "training", "progress", "same_user", "vitals", "expires_ms"},
    "TrainingStatus": {"name", "rounds", "over", "min_peers", "members", "leader", "waiting_for", "text", "waiting"}
    | {"activities", "taken_ms", "missed", "agreed"},
    "Vitals": {"disk_free", "disk_total", "memory_free", "memory_total"}
    | {"clock_ms", "clock_error_ms", "expires_ms", "version"},
    "AlertStatus": {"code", "severity", "subject", "text", "remedy", "nodes", "since_ms"},
}


@pytest.mark.parametrize("name", sorted(FIELDS.keys() & vars(answers).keys()))
def test_clients_read_every_field_of_an_answer(name: str) -> None:
    assert get_type_hints(getattr(answers, name)).keys() == FIELDS[name]


async def test_the_openapi_description_lists_exactly_the_operations_and_answers(
    sn: dict[str, str], identities: Identities
) -> None:
    _, kind, text = await fetch(sn["api"], identities["SL-1"], "/openapi.json")
    description = json.loads(text)
    assert kind == "application/json"
    assert description["info"]["version"] == __version__
    operations = {
        (method, path): {
            status: reference.rpartition("/")[2]
            for status, response in operation["responses"].items()
            if (reference := response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref"))
        }
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }
    assert operations == OPERATIONS
    models = description["components"]["schemas"]
    assert {name: set(models[name]["properties"]) for name in FIELDS} == FIELDS


async def test_the_api_serves_a_page_for_its_openapi_description(sn: dict[str, str], identities: Identities) -> None:
    status, kind, text = await fetch(sn["api"], identities["SL-1"], "/docs")
    assert (status, kind) == (200, "text/html")
    assert "/openapi.json" in text


# --- limits and failures --------------------------------------------------------------------------------------------


async def test_a_body_beyond_the_size_of_a_block_is_refused(sl: Member) -> None:
    with pytest.raises(Refusal, match=f"larger than the {MAX_BLOCK} bytes") as refusal:
        await sl.client.submit("x" * (MAX_BLOCK + 1))
    assert refusal.value.code == "http-413"
    await sl.send(Announce({}))


async def test_connections_beyond_the_limit_are_refused_and_open_streams_go_on(identities: Identities) -> None:
    site = Site()
    async with site.miner() as miner:
        limits = Limits(connections_per_peer=2)
        app = make_api(miner, engine_of(site), "sn-1", str)
        server = Server(app, server_context(identities["SN-1"]), "127.0.0.1", 0, limits)
        await server.start()
        address, tls = f"127.0.0.1:{server.port}", client_context(identities["SL-1"])
        async with SnClient(address, tls) as client, SnClient(address, client_context(identities["SL-2"])) as other:
            async with aclosing(client.blocks(0)) as one, aclosing(client.blocks(0)) as two:
                await anext(one)
                await anext(two)
                with pytest.raises(Unavailable, match="more than 2 connections with one certificate"):
                    await client.status()
                await other.status()
                assert await anext(one) == await anext(two)
            await client.status()
        await server.stop()


async def test_an_sn_whose_disk_is_full_answers_503_and_then_recovers(identities: Identities) -> None:
    site = Site()
    async with site.miner() as miner:
        app = make_api(miner, engine_of(site), "sn-1", str)
        server = Server(app, server_context(identities["SN-1"]), "127.0.0.1", 0)
        await server.start()
        raw = site.announcement().raw
        site.log.script = [full_disk]
        address = f"127.0.0.1:{server.port}"
        status, _, text = await fetch(address, identities["SL-1"], "/transactions", method="POST", data=raw)
        assert status == 503
        assert json.loads(text) == {"code": "unavailable", "detail": "the disk is full", "height": miner.chain.height}
        async with SnClient(address, client_context(identities["SL-1"])) as client:
            assert await client.submit(raw) == miner.chain.height
        await server.stop()


async def test_a_request_without_a_certificate_gets_no_answer(sn: dict[str, str]) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.get(f"https://{sn['api']}/is_up")
