"""The tokens of a node: taken at its start, renewed, kept through outages, given back at its end."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.licensedesk import opened
from support.ports import fixed_port
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.license.features import Feature
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.node import license as module
from swarmlearning.node.license import Licensed, NoLicenseError, licensed

UID, OTHER = "6c2a51a6-6d0e-4a6c-9a5b-000000000001", "6c2a51a6-6d0e-4a6c-9a5b-000000000002"


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return make_workspace(tmp_path_factory.mktemp("cert"), ["SN-1", "SL-1", "LICENSE-1"])


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.0)
    monkeypatch.setattr(module, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.0)


class Lines(logging.Handler):
    """The lines of a log, each of which can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(f"{record.levelname} {record.getMessage()}")
        self._more.set()

    async def wait_for(self, text: str) -> None:
        async with asyncio.timeout(60):
            while not any(text in line for line in self.seen):
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("swarm.mlApp")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


def at(*ports: int) -> LicenseServers:
    return LicenseServers(tuple(f"127.0.0.1:{port}" for port in ports))


async def test_without_a_server_nothing_is_needed(identities: Mapping[str, Identity], lines: Lines) -> None:
    async with licensed("SL", NO_SERVERS, client_context(identities["SL-1"]), UID) as held:
        await held.require(Feature.TASKRUNNERS)
    assert lines.seen == ["INFO The built-in community license is used (no license server named)"]


async def test_a_token_is_taken_at_the_start_and_given_back_at_the_end(
    tmp_path: Path, identities: Mapping[str, Identity], lines: Lines
) -> None:
    async with opened(tmp_path, identities, {Feature.SL: 1}) as desk:
        async with licensed("SL", at(desk.server.port), client_context(identities["SL-1"]), UID):
            assert desk.office.lent(Feature.SL) == 1
            with pytest.raises(ExceptionGroup) as refused:
                async with licensed("SL", at(desk.server.port), client_context(identities["SL-1"]), OTHER):
                    raise AssertionError("it runs without a token")
        assert desk.office.lent(Feature.SL) == 0
    text = str(refused.value.exceptions[0])
    assert text.startswith(
        "acquireLicense: 304: The request for tokens with capacity 1 is not available to issue for feature : "
        "1100000378:1\nThe license server says: 1 of 1 tokens are in use"
    )
    begin = [
        "INFO Creating Autopass License Provider",
        "INFO Creating license server",
        "INFO Setting license servers",
        "INFO Acquiring floating license 1100000378:1",
    ]
    assert lines.seen[:8] == begin * 2
    assert lines.seen[8].startswith("ERROR Exiting SL. Reason: acquireLicense: 304: ")
    assert lines.seen[9:] == ["WARNING Releasing license"]


async def test_a_start_without_a_server_ends_with_the_documented_error(identities: Mapping[str, Identity]) -> None:
    first, second = fixed_port(), fixed_port()
    with pytest.raises(ExceptionGroup) as refused:
        async with licensed("SL", at(first, second), client_context(identities["SL-1"]), UID):
            raise AssertionError("it runs without a token")
    [error] = refused.value.exceptions
    assert isinstance(error, NoLicenseError)
    assert str(error).splitlines() == [
        "Error code : 6002",
        "Error message : Unable to connect to server. Server might be wrongly configured or down.",
        f"Custom message : Error in communicating With Server https://127.0.0.1:{first}: Connection refused",
        f"Custom message : Error in communicating With Server https://127.0.0.1:{second}: Connection refused",
    ]


async def test_a_node_at_work_goes_on_without_its_server_and_renews_when_it_is_back(
    tmp_path: Path, identities: Mapping[str, Identity], lines: Lines
) -> None:
    port = fixed_port()
    async with opened(tmp_path, identities, {Feature.SL: 1}, port=port, lease_seconds=0.2):
        node = licensed("SL", at(port), client_context(identities["SL-1"]), UID)
        await node.__aenter__()
    await lines.wait_for("Floating license 1100000378:1 is not renewed; this node goes on. Error code : 6002")
    await lines.wait_for("MLListener: 1100000378:1 LicenseExpired; this node goes on, and its next start needs a token")
    async with opened(tmp_path, identities, {Feature.SL: 1}, port=port, lease_seconds=60) as desk:
        await lines.wait_for("Floating license 1100000378:1 is renewed again")
        assert desk.office.lent(Feature.SL) == 1
        await node.__aexit__(None, None, None)
        assert desk.office.lent(Feature.SL) == 0
    assert sum("is not renewed" in line for line in lines.seen) == 1, "an outage is told once"
    assert sum("LicenseExpired" in line for line in lines.seen) == 1


async def test_a_node_at_work_goes_on_when_its_license_has_ended(
    tmp_path: Path, identities: Mapping[str, Identity], lines: Lines
) -> None:
    async with (
        opened(tmp_path, identities, {Feature.SL: 1}, lease_seconds=0.2) as desk,
        licensed("SL", at(desk.server.port), client_context(identities["SL-1"]), UID),
    ):
        desk.lend({Feature.SL: 1}, desk.now)
        await lines.wait_for("not renewed; this node goes on. acquireLicense: 304: The request for tokens")
        await lines.wait_for("license 00000000 has expired")


async def test_a_further_feature_is_taken_once_and_a_refusal_is_told_to_all_who_wait(
    tmp_path: Path, identities: Mapping[str, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFUSED_SECONDS", 60.0)
    features = {Feature.SN: 1, Feature.TRAINING_CONTRACTS: 1}
    async with (
        opened(tmp_path, identities, features) as desk,
        licensed("SN", at(desk.server.port), client_context(identities["SN-1"]), UID) as held,
    ):
        await asyncio.gather(*(held.require(Feature.TRAINING_CONTRACTS) for _ in range(3)))
        assert desk.office.lent(Feature.TRAINING_CONTRACTS) == 1
        refused = await asyncio.gather(*(held.require(Feature.TASKRUNNERS) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in refused] == [NoLicenseError] * 3
        desk.lend({Feature.TASKRUNNERS: 1})
        with pytest.raises(NoLicenseError, match="1100000396:1\nThe license server says: no license of this server"):
            await held.require(Feature.TASKRUNNERS)


async def test_the_next_contract_needs_a_token_again_once_that_of_the_first_has_ended(
    tmp_path: Path, identities: Mapping[str, Identity]
) -> None:
    async with (
        opened(tmp_path, identities, dict.fromkeys(Feature, 1), lease_seconds=0.2) as desk,
        licensed("SN", at(desk.server.port), client_context(identities["SN-1"]), UID) as held,
    ):
        await held.require(Feature.TRAINING_CONTRACTS)
        desk.lend({Feature.SN: 1})
        with pytest.raises(NoLicenseError, match="1100000394:1"):
            await _until_it_raises(held)
        desk.lend(dict.fromkeys(Feature, 1))
        await held.require(Feature.TRAINING_CONTRACTS)


async def _until_it_raises(held: Licensed) -> None:
    async with asyncio.timeout(60):
        while True:
            await held.require(Feature.TRAINING_CONTRACTS)
            await asyncio.sleep(0.01)
