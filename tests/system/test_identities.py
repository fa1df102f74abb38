"""Nodes get other certificates during a training, by real processes: the same nodes go on, and no round is lost."""

from pathlib import Path

from support.certs import authority_in, make_workspace
from support.processes import COMMAND
from support.swarm import Gate, Swarm, assert_complete, has_models, identity_options
from swarmlearning.identity.ca import cross_certificate
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.history import rounds, steps
from swarmlearning.ordering.local import read_chain_file

ROUNDS = 4
NAMES = ["SN-1", "SL-1", "SL-2"]


class Hospital:
    """One organisation with an SN and two SLs, whose rounds need both; site 1 waits before the third."""

    def __init__(self, swarm: Swarm, gate: Gate, *capath: str) -> None:
        self.swarm, self._gate = swarm, gate
        self.certificates = swarm.directory / "hospital"
        make_workspace(self.certificates, [*NAMES, "SWCI-1"])
        for name in capath:
            make_workspace(self.certificates, [], ca_name=name)
        described = swarm.directory / "organisations.toml"
        authority = Workspace(self.certificates).authority_certificate("CA-1")
        described.write_text(f'[[organisation]]\nid = "hospital"\nauthority = [{{certificate = "{authority}"}}]\n')
        self._reload("SWCI-1", *NAMES)
        swarm.start_sn("--sentinel", organisations=described)
        self.port = swarm.port
        self.sls = {index: swarm.start_sl(index) for index in (1, 2)}
        ml = ("--rounds", str(ROUNDS), "--min-peers", "2")
        self.mls = [
            swarm.train(1, self.sls[1], *ml, "--gate", str(gate.path), "--hold-at", "2"),
            swarm.train(2, self.sls[2], *ml),
        ]
        swarm.until(has_models(1, 2))
        self.uids = self._uids()

    def renew_operator(self, ca_name: str) -> None:
        """The operator goes on with a new key and a certificate by this CA."""
        make_workspace(self.certificates, ["SWCI-1"], ca_name=ca_name)
        self._reload("SWCI-1")

    def restart(self, name: str, ca_name: str) -> None:
        """Kills a node and starts it again with a new key and a certificate by this CA; the old files are gone."""
        node = self.swarm.sn if name == "SN-1" else self.sls[int(name[-1])]
        node.kill()
        make_workspace(self.certificates, [name], ca_name=ca_name)
        self._reload(name)
        if name == "SN-1":
            self.swarm.start_sn(port=self.port)
        else:
            self.sls[int(name[-1])] = self.swarm.start_sl(int(name[-1]))

    def operate(self, *words: str | Path) -> None:
        """An operator's command, which succeeds."""
        options = {
            "sn-ip": "127.0.0.1",
            "sn-api-port": str(self.port),
            "data-dir": self.swarm.directory / "operator",
            **identity_options(self.swarm.identities["SWCI-1"]),
        }
        named = [word for option, value in options.items() for word in (f"--{option}", value)]
        done = self.swarm.processes.start("operator", *COMMAND, *words, *named)
        assert done.wait() == 0, done.output

    def assert_trained_by_the_same_nodes(self) -> None:
        """Every site has contributed to every round (the last one closes its session), under the UID that it had."""
        self._gate.let()
        assert_complete(self.mls)
        assert self._uids() == self.uids
        walked = list(steps(read_chain_file(self.swarm.directory / "sn" / "chain.sqlite")))
        contributed = [sorted(record.contributed) for record in rounds(walked)]
        assert contributed == [sorted(self.uids[name] for name in ("SL-1", "SL-2"))] * (ROUNDS + 1)

    def _uids(self) -> dict[str, str]:
        """UIDs of the nodes on the ledger by the names of their certificates, each only once."""
        known = [each for each in network.nodes(self.swarm.chain().world) if each.type != "SWCI"]
        found = {each.subject.split(",")[0].removeprefix("CN="): each.uid for each in known}
        assert sorted(found) == sorted(NAMES)
        assert len(found) == len(known)
        return found

    def _reload(self, *names: str) -> None:
        workspace = Workspace(self.certificates)
        self.swarm.identities.update({name: workspace.identity(name) for name in names})


def test_nodes_restarted_with_new_keys_during_a_training_are_the_same_nodes_and_no_round_is_lost(
    swarm: Swarm, gate: Gate
) -> None:
    hospital = Hospital(swarm, gate)
    for name in ("SL-2", "SN-1", "SL-1"):
        hospital.restart(name, "CA-1")
    hospital.assert_trained_by_the_same_nodes()


def test_a_ca_succeeded_during_a_training_costs_no_round_and_the_nodes_stay_the_same(swarm: Swarm, gate: Gate) -> None:
    hospital = Hospital(swarm, gate, "CA-2")
    present, successor = (authority_in(hospital.certificates, name) for name in ("CA-1", "CA-2"))
    bundle = swarm.directory / "successor.pem"
    bundle.write_text(to_pem(successor.certificate) + to_pem(cross_certificate(successor.certificate, by=present)))
    hospital.operate("trust", "add", bundle, "--organisation", "hospital")
    for name in ("SL-2", "SN-1", "SL-1"):
        hospital.restart(name, "CA-2")
    hospital.renew_operator("CA-2")
    hospital.operate("trust", "retire", thumbprint(present.certificate)[:16])
    hospital.assert_trained_by_the_same_nodes()
