"""An identity from a SPIFFE agent, through a real Workload API: what is taken over, and what is refused."""

import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from support.agent import Agents, TrustDomain
from support.canaries import forms_of_key, leaks
from support.certs import make_workspace
from support.heard import Heard, hearing
from support.watching import watching
from swarmlearning.identity.identity import Bundle, IdentityError
from swarmlearning.identity.spiffe import SpiffeSource, fetch, socket_path
from swarmlearning.identity.tls import NodeTls

SECONDS = 60.0  # only ends a test that would hang


@pytest.fixture
def agents() -> Iterator[Agents]:
    found = Agents()
    yield found
    found.close()


@pytest.fixture
def heard() -> Iterator[Heard]:
    with hearing("swarm.identity") as found:
        yield found


@asynccontextmanager
async def watched(socket: Path) -> AsyncIterator[SpiffeSource]:
    """A source that follows its agent."""
    async with watching(SpiffeSource(socket), SECONDS) as source:
        yield source


def test_an_agent_gives_a_node_its_certificate_and_the_roots_of_the_domains_it_is_federated_with(
    agents: Agents,
) -> None:
    own, other = TrustDomain("org1.example"), TrustDomain("org2.example")
    agent = agents.start(own, "host-1/sl", federated=[other])
    identity = fetch(agent.socket)
    assert (identity.subject, identity.role) == ("spiffe://org1.example/host-1/sl", "SL")
    assert identity.bundles == (
        Bundle("org1.example", (own.roots[0].certificate,)),
        Bundle("org2.example", (other.roots[0].certificate,)),
    )
    assert set(identity.anchors) == {own.roots[0].certificate, other.roots[0].certificate}
    NodeTls(identity)


def test_of_several_certificates_that_with_a_role_is_used(agents: Agents) -> None:
    agent = agents.start(TrustDomain("org1.example"), "billing", "swop", "sl")
    assert fetch(agent.socket).subject == "spiffe://org1.example/swop"


def test_of_several_certificates_with_a_role_that_for_the_node_s_own_role_is_used(agents: Agents) -> None:
    agent = agents.start(TrustDomain("org1.example"), "billing", "host-1/swop", "host-1/sn")
    assert fetch(agent.socket, role="SN").subject == "spiffe://org1.example/host-1/sn"
    assert fetch(agent.socket, role="SL").subject == "spiffe://org1.example/host-1/swop", "it is refused with its role"


async def test_a_certificate_that_the_agent_pushes_and_a_new_root_are_taken_over(agents: Agents) -> None:
    domain = TrustDomain("org1.example")
    agent = agents.start(domain, "sn")
    async with watched(agent.socket) as source:
        first = source.current
        agent.renew()
        second = await source.changed(first)
        assert second.certificate == agent.issued[0].certificate
        domain.prepare_root()
        agent.renew()
        third = await source.changed(second)
        assert len(third.anchors) == 2
        domain.drop_root()
        agent.push()
        assert (await source.changed(third)).anchors == (domain.roots[0].certificate,)


async def test_an_agent_that_has_been_away_is_found_again(agents: Agents, heard: Heard) -> None:
    agent = agents.start(TrustDomain("org1.example"), "sn")
    async with watched(agent.socket) as source:
        first = source.current
        agent.stop()
        await heard.until("This node goes on with the certificate that it has")
        agent.renew()
        agent.start()
        assert (await source.changed(first)).certificate == agent.issued[0].certificate
        assert [text for text in heard.all if "goes on" in text] == heard.all[:1]


async def test_an_operator_has_the_agent_asked_anew(agents: Agents, heard: Heard) -> None:
    agent = agents.start(TrustDomain("org1.example"), "sn")
    async with watched(agent.socket) as source:
        source.look()
        await heard.until("the agent gives spiffe://org1.example/sn, valid until")


async def test_another_node_s_certificate_is_refused_and_the_node_goes_on(agents: Agents, heard: Heard) -> None:
    agent = agents.start(TrustDomain("org1.example"), "sn")
    async with watched(agent.socket) as source:
        first = source.current
        agent.paths = ("sl",)
        agent.renew()
        await heard.until("the certificate is for 'spiffe://org1.example/sl', and this node is")
        assert source.current == first
        agent.paths = ("sl", "sn")  # the one of this node is used, whatever else there is
        agent.renew()
        assert (await source.changed(first)).certificate == agent.issued[1].certificate


def test_a_root_of_a_federated_domain_does_not_vouch_for_a_node_of_this_one(agents: Agents) -> None:
    own, other = TrustDomain("org1.example"), TrustDomain("org2.example")
    agent = agents.start(own, "sl", federated=[other])
    other.name = own.name  # it issues for an ID that is not its own
    agent.issued = [other.issue("sl")]
    other.name = "org2.example"
    with pytest.raises(IdentityError, match=r"bad signature|none of the roots of its own trust domain"):
        fetch(agent.socket)


def test_authorities_of_organisations_without_an_agent_are_trusted_too(agents: Agents, tmp_path: Path) -> None:
    others = make_workspace(tmp_path, ["SN-1"])["SN-1"].anchors
    agent = agents.start(TrustDomain("org1.example"), "sl")
    identity = fetch(agent.socket, lambda: others)
    assert identity.anchors[:1] == others
    assert [bundle.trust_domain for bundle in identity.bundles] == ["org1.example"]


def test_an_agent_without_an_entry_for_this_node_is_named(agents: Agents) -> None:
    agent = agents.start(TrustDomain("org1.example"))
    with pytest.raises(IdentityError, match=r"agent-0\.sock: the SPIFFE agent gives no identity: .*no identity issued"):
        fetch(agent.socket, seconds=0)


def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=r"none\.sock: the SPIFFE agent gives no identity: .*does not exist"):
        fetch(tmp_path / "none.sock", seconds=0)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("spiffe", "spiffe.errors"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(IdentityError, match=r"pip install 'swarmlearning\[spiffe\]'"):
        fetch(Path("/run/agent.sock"))


@pytest.mark.parametrize("text", ["/run/agent.sock", "unix:/run/agent.sock", "unix:///run/agent.sock"])
def test_a_socket_may_be_written_as_a_uri(text: str) -> None:
    assert socket_path(text) == Path("/run/agent.sock")


async def test_no_private_key_of_an_agent_is_in_a_log(agents: Agents, caplog: pytest.LogCaptureFixture) -> None:
    """At its most talkative, the library's own log included; nor is one in the text of an identity or source."""
    caplog.set_level(logging.DEBUG)
    agent = agents.start(TrustDomain("org1.example"), "sn")
    texts, secrets = list[str](), dict[str, set[str]]()
    async with watched(agent.socket) as source:
        for name in ("first", "second"):
            identity = source.current
            assert isinstance(identity.private_key, EllipticCurvePrivateKey)
            secrets[name] = forms_of_key(identity.private_key)
            texts += [repr(identity), str(identity), repr(source)]
            if name == "first":
                agent.renew()
                await source.changed(identity)
    assert "org1.example" in caplog.text
    assert leaks("\n".join((*texts, caplog.text)), secrets) == []
