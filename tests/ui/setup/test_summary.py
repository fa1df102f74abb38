"""What the summary of the set-up says of nodes elsewhere: as their host was seen last, and as the ledger has them."""

from pathlib import Path

import msgspec

from support.ledgerui import ledger_ui
from support.network import Ledger
from swarmlearning.ledger.bodies import Lost
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.running import NodeState
from swarmlearning.ui.hosts.seeing import SeenHost
from swarmlearning.ui.setup.state import Chosen

AT = "10.0.0.7"


async def test_nodes_on_other_hosts_have_the_state_that_was_seen_and_that_of_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.join("op-1", "SWCI")
    for name in ("sl-north-1", "sl-north-2"):
        ledger.join(name)
    ledger.send("sn-1", Lost("sl-north-2", 1), "network")
    async with ledger_ui(tmp_path / "ui", ledger) as ui, ui.visitor("admin") as person:
        await ui.site.hosts.add([Address(AT, 22)], "/opt/swarm", "ada", "", "ada")
        host = Chosen(AT, AT, "/opt/swarm")
        decided = {"way": "found", "organisation": "north", "hosts": (host,), "network": "ours", "first": AT}
        await ui.site.stage.change(lambda setup: msgspec.structs.replace(setup, sites={AT: 2}, **decided))
        rows = (await person.data("/setup.json"))["nodes"]
        assert [(each["name"], each["state"], each["seen_ms"], each["ledger"]) for each in rows] == [
            ("SN-north", "", None, ""),
            ("SL-north-1", "", None, "alive"),
            ("SL-north-2", "", None, "lost"),
        ]
        nodes = (NodeState("sl-north-1", "running", "detached"), NodeState("sn-north", "stopped", "detached"))
        await ui.site.hosts.see(AT, SeenHost(5000, Facts(), nodes))
        rows = (await person.data("/setup.json"))["nodes"]
        assert [(each["state"], each["seen_ms"]) for each in rows] == [("stopped", 5000), ("running", 5000), ("", None)]
