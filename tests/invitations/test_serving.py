"""The port for newcomers with whatever its description allows: no 5xx, and no answer that is not documented."""

import asyncio
import dataclasses
from typing import Any

import pytest
import schemathesis
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance
from starlette.types import Message, Receive, Scope, Send

from support.governed import send, three
from support.network import Ledger
from swarmlearning.identity.onetime import public_half
from swarmlearning.invitations.serving import HOLDER, Desk, Guard, Kind, described
from swarmlearning.ledger.bodies import Invite
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection

KEY = bytes(range(32))
PUBLIC = public_half(KEY)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


def desk_of(ledger: Ledger) -> Desk:
    async def submit(body: Kind) -> int:
        raise Rejection(Code.BAD_SIGNATURE, "the request is not signed with the key of the invitation")

    async def reached(height: int) -> None:
        await asyncio.Event().wait()

    return Desk(lambda: ledger.chain, lambda: 0, submit, reached, tuple, lambda: "10.0.0.1:30304")


def invited() -> Desk:
    ledger = three()
    send(ledger, "op-2", Invite(PUBLIC, "org-2", ledger.chain.time_ms + 3_600_000, "SL", "SL-new"))
    return desk_of(ledger)


async def block() -> bytes:
    return b"{}"


def test_every_answer_to_a_holder_is_documented() -> None:
    inner = described(invited(), block)

    async def as_holder(scope: Scope, receive: Receive, send: Send) -> None:
        await inner({**scope, HOLDER: PUBLIC}, receive, send)

    schema: Any = schemathesis.openapi.from_dict(inner.openapi())
    schema.app = as_holder
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {(each.method, each.path) for each in operations} == {
        ("get", "/join"),
        ("post", "/join"),
        ("get", "/join/block"),
    }
    for operation in operations:

        @settings(max_examples=5, derandomize=True, database=None, phases=[Phase.generate], deadline=None)
        @given(case=operation.as_strategy())
        def answer(case: Any) -> None:
            if "wait" in (case.query or {}):
                case.query["wait"] = 0  # nothing changes here
            case.call_and_validate(checks=CHECKS)

        answer()


DESK = invited()


@settings(max_examples=100, derandomize=True, database=None, deadline=None)
@given(
    st.lists(st.binary(max_size=300) | st.just(b"Invitation " + PUBLIC.encode() + b" " + b"0" * 128), max_size=2),
    st.sampled_from(["GET", "POST", "PUT", "TRACE"]),
    st.text(max_size=20),
)
def test_nobody_without_the_key_gets_past_the_guard(headers: list[bytes], method: str, path: str) -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("a stranger was let in")

    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    async def unread() -> Message:
        raise AssertionError("a stranger's body was read")

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(b"authorization", each) for each in headers],
        "client": ("10.0.0.1", 1),
    }
    asyncio.run(Guard(never, DESK)(scope, unread, keep))
    assert [each.get("status") for each in sent] == [401, None]


def test_a_desk_without_that_invitation_refuses() -> None:
    with pytest.raises(Rejection, match="there is no invitation with this key"):
        DESK.standing("0" * 64)
    assert DESK.standing(PUBLIC).state == "open"


def test_an_invitation_has_lapsed_by_the_clock_of_the_sn_even_where_no_block_comes() -> None:
    ended = DESK.chain().time_ms + 2 * 3_600_000
    assert dataclasses.replace(DESK, now_ms=lambda: ended).standing(PUBLIC).state == "lapsed"
