"""The API of a license server over real mutual TLS, and its client: who gets what, and what nobody can make them do."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from starlette.types import Receive, Scope, Send

from support.agent import TrustDomain
from support.certs import make_workspace, stranger
from support.licensedesk import opened
from support.serving import request, serving
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.license import leases
from swarmlearning.license import serving as api
from swarmlearning.license.client import LicenseClient, NoAnswerError, NoTokenError
from swarmlearning.license.features import Feature
from swarmlearning.license.following import Following
from swarmlearning.rates import Rate

A, B = str(uuid4()), str(uuid4())
Identities = Mapping[str, Identity]


async def test_tokens_are_lent_up_to_the_capacity_renewed_and_given_back(
    tmp_path: Path, identities: Identities
) -> None:
    async with opened(tmp_path, identities, {Feature.SL: 1}) as desk, desk.client() as first, desk.client() as second:
        assert await first.acquire(Feature.SL, A) == 60
        assert await first.acquire(Feature.SL, A) == 60, "the answer may have been lost"
        with pytest.raises(NoTokenError, match="1 of 1 tokens are in use"):
            await second.acquire(Feature.SL, B)
        await second.release(Feature.SL, B)
        await first.release(Feature.SL, A)
        assert await second.acquire(Feature.SL, B) == 60
        desk.now += 60_000
        assert await first.acquire(Feature.SL, A) == 60, "the lease of the second has ended"


async def test_a_token_is_its_holders_even_where_another_node_names_its_uid(
    tmp_path: Path, identities: Identities
) -> None:
    async with opened(tmp_path, identities, {Feature.SL: 1}) as desk, desk.client() as one, desk.client("SL-2") as two:
        await one.acquire(Feature.SL, A)
        await two.release(Feature.SL, A)
        with pytest.raises(NoTokenError):
            await two.acquire(Feature.SL, A)


async def test_a_token_stays_its_holder_s_when_the_root_of_its_trust_domain_changes(tmp_path: Path) -> None:
    domain = TrustDomain("org1.example")
    before = domain.issue("sl")
    domain.prepare_root()
    given = {
        "LICENSE-1": domain.identity(domain.issue("license")),
        "before": domain.identity(before),
        "after": domain.identity(domain.issue("sl")),
    }
    async with opened(tmp_path, given, {Feature.SL: 1}) as desk:
        async with desk.client("before") as client:
            await client.acquire(Feature.SL, A)
        async with desk.client("after") as client:
            assert await client.acquire(Feature.SL, A) == 60
            with pytest.raises(NoTokenError, match="1 of 1 tokens are in use"):
                await client.acquire(Feature.SL, B)


def test_an_authority_is_that_of_a_trust_domain_only_for_its_own_ids() -> None:
    domain, other = TrustDomain("org1.example"), TrustDomain("org2.example")
    own, root = domain.issue("sl").certificate, thumbprint(domain.roots[0].certificate)
    bundles = domain.identity(domain.issue("license"), other).bundles
    assert api.authority_in(bundles, root, own) == "spiffe://org1.example"
    foreign = thumbprint(other.roots[0].certificate)
    assert api.authority_in(bundles, foreign, own) == foreign  # whoever has that root, it is not of this domain
    assert api.authority_in((), root, own) == root


async def test_a_license_that_expires_or_is_revoked_lends_no_more(tmp_path: Path, identities: Identities) -> None:
    async with opened(tmp_path, identities, {Feature.SL: 1}) as desk, desk.client() as client:
        desk.lend({Feature.SL: 1}, desk.now + 5000)
        assert await client.acquire(Feature.SL, A) == 5
        desk.now += 5000
        with pytest.raises(NoTokenError, match="license 00000000 has expired at 1970-01-01 00:16 UTC"):
            await client.acquire(Feature.SL, A)
        desk.lend({Feature.SL: 1}, desk.now + 5000, "0" * 32)
        with pytest.raises(NoTokenError, match="license 00000000 is revoked"):
            await client.acquire(Feature.SL, A)


@pytest.mark.parametrize(
    ("name", "feature", "fault"),
    [
        ("SL-1", Feature.SN, "a certificate for the role SL takes no 1100000380:1"),
        ("SWOP-1", Feature.TRAINING_CONTRACTS, "the role SWOP takes no 1100000394:1"),
        ("OBSERVER-1", Feature.SWCI, "the role OBSERVER takes no 1100000388:1"),
        ("LICENSE-1", Feature.SL, "names no role"),
    ],
)
async def test_a_certificate_takes_tokens_of_its_role_only(
    tmp_path: Path, identities: Identities, name: str, feature: Feature, fault: str
) -> None:
    everything = dict.fromkeys(Feature, 5)
    async with opened(tmp_path, identities, everything) as desk, desk.client(name) as client:
        with pytest.raises(NoAnswerError, match=fault) as raised:
            await client.acquire(feature, A)
        assert raised.value.final


async def test_strangers_and_odd_requests_are_answered_with_a_refusal(tmp_path: Path, identities: Identities) -> None:
    async with opened(tmp_path, identities, {Feature.SL: 1}) as desk:
        known = identities["SL-1"]
        odd = {
            ("PUT", "/v1/leases/1100000378/not-a-uid"): 403,
            ("PUT", f"/v1/leases/1/{A}"): 403,
            ("GET", f"/v1/leases/1100000378/{A}"): 405,
            ("GET", "/v1/nothing"): 404,
            ("GET", "/v1/changes?start=&after=0"): 403,
        }
        for (method, path), status in odd.items():
            answer = await request(desk.server, known, path, method=method)
            assert answer[0] == status, path
            assert set(json.loads(answer[2])) == {"code", "detail"}
        outsider = stranger(tmp_path, "SL-9")
        with suppress(OSError):  # whichever side notices first
            await request(desk.server, outsider, f"/v1/leases/1100000378/{A}", method="PUT")
            raise AssertionError("a stranger was answered")
        assert desk.office.lent(Feature.SL) == 0


async def test_the_leases_are_shown_to_servers_of_the_same_authority_only(
    tmp_path: Path, identities: Identities
) -> None:
    foreign = make_workspace(tmp_path / "foreign", ["LICENSE-9"], ca_name="CA-9")["LICENSE-9"]
    both = {**identities, "foreign": foreign}
    async with opened(tmp_path, both, {Feature.SL: 1}) as desk:
        async with desk.client() as node, desk.client("LICENSE-2") as other:
            await node.acquire(Feature.SL, A)
            found = await other.changes("", 0)
            assert [lease.uid for lease in found.leases] == [A]
            with pytest.raises(NoAnswerError, match="is not for a license server"):
                await node.changes("", 0)
        with pytest.raises(NoAnswerError):
            async with desk.client("foreign") as rival:
                await rival.changes("", 0)


async def test_one_authority_s_requests_are_bounded(
    tmp_path: Path, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "REQUESTS", Rate(4, 3600, 3600))
    async with opened(tmp_path, identities, {Feature.SL: 1}) as desk, desk.client() as client:
        for _ in range(5):
            await client.acquire(Feature.SL, A)
        with pytest.raises(NoAnswerError, match="send too many requests"):
            await client.acquire(Feature.SL, A)
        assert desk.office.lent(Feature.SL) == 1


async def test_a_full_table_refuses_newcomers_and_renews(
    tmp_path: Path, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "MOST_OF_ONE_AUTHORITY", 1)
    async with opened(tmp_path, identities, {Feature.SL: 5}) as desk, desk.client() as client:
        await client.acquire(Feature.SL, A)
        with pytest.raises(NoAnswerError, match="which is the most"):
            await client.acquire(Feature.SL, B)
        assert await client.acquire(Feature.SL, A) == 60


# --- two servers ----------------------------------------------------------------------------------------------------


async def test_a_secondary_stands_by_takes_over_with_all_leases_and_gives_back(
    tmp_path: Path, identities: Identities
) -> None:
    lent = {Feature.SL: 1}
    async with (
        opened(tmp_path / "1", identities, lent) as primary,
        opened(tmp_path / "2", identities, lent, standby=True) as secondary,
        primary.client() as at_first,
        secondary.client() as at_second,
        primary.client("LICENSE-2") as link,
    ):
        following = Following(secondary.office, link)
        work = asyncio.create_task(following.run())
        before = await secondary.office.changes("", 0, 0)
        await at_first.acquire(Feature.SL, A)
        assert (await secondary.office.changes(before.start, before.number, 60)).leases, (
            "what the primary lends is seen at once"
        )
        with pytest.raises(NoAnswerError, match="this is the secondary"):
            await at_second.acquire(Feature.SL, A)
        await primary.server.stop(0)
        secondary.elapsed += 5.1
        with pytest.raises(NoTokenError, match="1 of 1 tokens are in use"):
            await at_second.acquire(Feature.SL, B)
        assert await at_second.acquire(Feature.SL, A) == 60
        await at_second.release(Feature.SL, A)
        assert await at_second.acquire(Feature.SL, B) == 60

        async with secondary.client("LICENSE-2") as back:
            await Following(primary.office, back).catch_up()
        assert not secondary.office.on_duty, "it has heard the primary"
        assert primary.office.lent(Feature.SL) == 1
        assert [lease.uid for lease in primary.office.leases() if not lease.released] == [B]
        work.cancel()


async def test_a_server_that_was_away_lends_nothing_that_was_lent_when_it_fell_silent(
    tmp_path: Path, identities: Identities
) -> None:
    async with opened(tmp_path, identities, {Feature.SL: 1}) as desk, desk.client() as client:
        await client.acquire(Feature.SL, A)
    async with opened(tmp_path, identities, {Feature.SL: 1}) as desk, desk.client() as client:
        desk.now += 3_600_000
        with pytest.raises(NoTokenError):
            await client.acquire(Feature.SL, B)
        desk.now += 60_000
        assert await client.acquire(Feature.SL, B) == 60


# --- what a server can do to a node ---------------------------------------------------------------------------------


def answering(status: int, body: bytes, *, endless: bool = False) -> object:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": endless})
        while endless:
            await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": body, "more_body": True})

    return app


HOSTILE = {
    "endless": (answering(200, b" " * 4096, endless=True), "more than the 65536 bytes"),
    "drips": (answering(200, b"", endless=True), "no answer in time"),
    "no JSON": (answering(200, b"<html>"), "not that of a license server"),
    "nested": (answering(200, b"[" * 60_000), "not that of a license server"),
    "for ever": (answering(200, b'{"seconds":1e99}'), "not that of a license server"),
    "no time": (answering(200, b'{"seconds":0}'), "not that of a license server"),
    "steers the terminal": (
        answering(409, b'{"code":"x","detail":"a\\u001b[2Jb\\nFORGED"}'),
        r"a\\x1b\[2Jb\\nFORGED \(x\)",
    ),
    "redirects": (answering(302, b"{}"), "not that of a license server"),
}


@pytest.mark.parametrize(("app", "fault"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_license_server_costs_a_node_bounded_memory_and_time(
    identities: Identities, app: object, fault: str
) -> None:
    async with serving(app, identities["LICENSE-1"]) as server:  # type: ignore[arg-type]
        tls = client_context(identities["SL-1"])
        seconds = 0.5 if fault == "no answer in time" else 60.0  # only this one is to run out of time
        async with LicenseClient(f"127.0.0.1:{server.port}", tls, seconds) as client:
            with pytest.raises(NoAnswerError, match=fault):
                await client.acquire(Feature.SL, A)


async def test_no_node_poses_as_a_license_server(identities: Identities) -> None:
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])

    async with serving(app, identities["SL-2"]) as server:
        tls = client_context(identities["SL-1"])
        async with LicenseClient(f"127.0.0.1:{server.port}", tls) as client:
            with pytest.raises(NoAnswerError, match="is not for a license server") as raised:
                await client.acquire(Feature.SL, A)
    assert raised.value.final
    assert asked == [], "it has received no request"
