"""What any certificate of a trusted authority, or none, can do to a real SN: the process goes on and stays small."""

import asyncio
import ssl
import uuid
from contextlib import suppress

from security.consortium import Consortium
from support.local_sn import fetch
from support.network import session
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Announce, Register
from swarmlearning.ledger.contracts.network import Certificate

from ledger.test_hostile import ODD, pem_of  # isort: skip


async def test_an_odd_certificate_in_a_transaction_ends_no_sn(consortium: Consortium) -> None:
    async with consortium.members("SL-1") as [honest], consortium.attacker(consortium.identities["SL-2"]) as attacker:
        for der in ODD.values():
            raw = attacker.write(Register("SL", "SL-2", pem_of(der), "0")).raw
            head, payload, signature = raw.split(".")
            for sent in (raw, f"{head}.{payload}.{'A' * len(signature)}"):
                status, _, _ = await fetch(
                    consortium.address, consortium.identities["SL-2"], "/transactions", method="POST", data=sent
                )
                assert status == 409
        await honest.send(Announce({}))
    assert consortium.sn.running


async def test_names_that_contain_the_uids_of_others_multiply_no_text(consortium: Consortium) -> None:
    identity, uids = consortium.identities["SL-1"], [str(uuid.uuid4()) for _ in range(4)]
    for position, uid in enumerate(uids):
        async with consortium.attacker(identity, uid=uid) as node:
            name = uids[(position + 1) % 4] * 4
            await node.send(Register("SL", name, to_pem(identity.certificate), "0"))
            await node.send(session(4), "defaultbb.cqdb.sml.hpe")
    before = consortium.megabytes
    status, _, text = await fetch(consortium.address, identity, "/status")
    assert status == 200
    assert all(uid in text for uid in uids), "the names are on the ledger"
    assert len(text) < 100_000
    assert consortium.megabytes - before < 50


async def test_pipelined_requests_cost_a_real_sn_no_memory(consortium: Consortium) -> None:
    identity = consortium.identities["SL-2"]
    host, _, port = consortium.address.partition(":")
    request = b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n"
    before = consortium.megabytes
    reader, writer = await asyncio.open_connection(host, int(port), ssl=client_context(identity))
    writer.write(request)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200"), "a single request is answered"
    with suppress(OSError, ssl.SSLError, TimeoutError):
        async with asyncio.timeout(20):
            for _ in range(400):
                writer.write(request * 1000)
                await writer.drain()
            while await reader.read(65536):
                pass
    writer.transport.abort()
    assert consortium.megabytes - before < 60
    async with consortium.members("SL-1"):
        pass


async def test_a_certificate_without_a_role_reads_nothing(consortium: Consortium) -> None:
    for path in ("/status", "/blocks/0", "/contracts/defaultbb.cqdb.sml.hpe", "/health"):
        status, _, _ = await fetch(consortium.address, consortium.identities["printer-7"], path)
        assert status == 403, path
        status, _, _ = await fetch(consortium.address, consortium.identities["SL-1"], path)
        assert status in (200, 404), path


HOSTILE = "SL-\x1b[2J\x1b[31m\u202e9"


async def test_a_subject_with_control_characters_reaches_no_terminal(consortium: Consortium) -> None:
    """Whatever commands an operator uses against a node that a hostile authority has named like this."""
    async with consortium.attacker(consortium.forged("ca-2", HOSTILE, file="SL-9")) as attacker:
        pem = to_pem(attacker.identity.certificate)
        await attacker.send(Register("SL", "evil", pem, "0"))
        stored = (await attacker.catch_up()).world.area("certificate/", Certificate)
        assert any("\x1b" in each.subject for each in stored), "the ledger has it as it is"
    for words in (("node", "list"), ("node", "revoke", "evil"), ("proposal", "list"), ("proposal", "show", "1")):
        shown = await asyncio.to_thread(consortium.operate, "OPERATOR-1", *words)
        assert shown.wait() == 0, shown.output
        assert all(line.isprintable() for line in shown.output.splitlines()), shown.output
    shown = await asyncio.to_thread(consortium.operate, "OPERATOR-2", "node", "revoke", "evil")
    assert "is revoked: evil" in shown.output
    assert all(line.isprintable() for line in shown.output.splitlines()), shown.output
    assert all(line.isprintable() for line in consortium.sn.output.splitlines())
