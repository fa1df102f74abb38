"""What nodes state in English, said in German: whole sentences or none, names as they are, in bounded time."""

import time

import pytest

from support.alerting import MINUTE, SITES, VOTERS, facts, four_sites, lose, submit, usually, without
from support.network import CONTRACT
from swarmlearning.ledger.bodies import Leave
from swarmlearning.ledger.contracts import network
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.hostkeys import ChangedHostKey, HostKey, UnknownHostKey
from swarmlearning.ui.hosts.judging import Plan, faults, judge
from swarmlearning.ui.hosts.logins import LoginError
from swarmlearning.ui.hosts.machine import MachineError
from swarmlearning.ui.hosts.ssh import HINT
from swarmlearning.ui.texts.catalogue import PLACE, catalogue
from swarmlearning.ui.texts.phrasebook import LONGEST, said
from swarmlearning.views.alerts import Alert, Heard, Ordering, alerts
from swarmlearning.views.alerts.rounds import REMEDIES
from swarmlearning.views.names import fetch_addresses, node_names
from swarmlearning.views.render import ACTIVITIES, REASONS, waiting_text
from swarmlearning.views.taskrunners import REASONS as TASK_REASONS
from swarmlearning.views.taskrunners import STATES
from swarmlearning.views.training import waiting_in
from swarmlearning.views.vitals import Vitals

HOST_KEY = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIDExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx")


@pytest.mark.parametrize(
    ("english", "german"),
    [
        (
            "training x has waited for 2 min (its rounds take about 60 min) for site-2 (lost since 2026-01-01 "
            "10:00:00Z), site-4 (has not sent its model yet) in round 0: 2 models in, minPeers 3",
            "Training x wartet seit 2 min (seine Runden dauern etwa 60 min) in Runde 0 auf site-2 (verloren seit "
            "2026-01-01 10:00:00Z), site-4 (hat sein Modell noch nicht gesendet): 2 Modelle eingegangen, minPeers 3",
        ),
        (
            "round 3, open since 2026-01-01 10:00:00Z: 2 models in, minPeers 3; waiting for a, b (cannot fetch the "
            "latest model from x, at 10.0.0.1:30305) and 7 more; earlier leaders could not fetch models from z",
            "Runde 3, offen seit 2026-01-01 10:00:00Z: 2 Modelle eingegangen, minPeers 3; wartet auf a, b (kann das "
            "neueste Modell nicht holen von x, unter 10.0.0.1:30305), und 7 weitere; frühere führende Knoten konnten "
            "keine Modelle holen von z",
        ),
        (
            "training is over, partial: 5 rounds with 3 members: a in 3 (late for 2), all others in all; with a model "
            "not trained for the round: b in 2",
            "das Training ist beendet, unvollständig: 5 Runden mit 3 Mitgliedern: a in 3 (zu spät für 2), alle übrigen "
            "in allen; mit einem nicht für die Runde trainierten Modell: b in 2",
        ),
        (
            "the certificate of CA-1, an authority of organisation north, expires in 20 days, 2026-01-01 10:00:00Z",
            "das Zertifikat von CA-1, einer Autorität der Organisation north, läuft in 20 Tagen ab, "
            "2026-01-01 10:00:00Z",
        ),
        ("rounds stop when one more SN fails (a, b)", "Runden stehen still, wenn noch ein SN ausfällt (a, b)"),
        ("its script is gone; and nobody has told why", "its script is gone; and nobody has told why"),
        (
            "round 0: 3 sites merge 3 models in 12 slices, 8 of them are merged; waiting for c (4)",
            "Runde 0: 3 Standorte führen 3 Modelle in 12 Scheiben zusammen, 8 davon sind fertig; wartet auf c (4)",
        ),
        ("waits for SWOP-a, SWOP-b to come back", "wartet auf die Rückkehr von SWOP-a, SWOP-b"),
        (
            "1 of 4 sessions of contract x are open; round 0 waits for 3 more; waiting for a (lost since 2026-01-01 "
            "10:00:00Z)",
            "1 von 4 Sitzungen des Vertrags x sind geöffnet; Runde 0 wartet auf 3 weitere; wartet auf a (verloren seit "
            "2026-01-01 10:00:00Z)",
        ),
        (
            "Round 3 has waited 4 min 10 s for a-1: its ML process trains at 1,234.5 batches/s, about 5 s to go",
            "Runde 3 wartet seit 4 min 10 s auf a-1: sein ML-Prozess trainiert mit 1,234.5 Batches/s, noch etwa 5 s",
        ),
        (
            "Round 3 has waited 31 s: 2 models in, minPeers 3",
            "Runde 3 wartet seit 31 s: 2 Modelle eingegangen, minPeers 3",
        ),
        ("a site waits for two others", "a site waits for two others"),
        ("start the others; and dance", "start the others; and dance"),
        ("", ""),
    ],
)
def test_a_sentence_is_said_as_a_whole_or_stays_as_it_is(english: str, german: str) -> None:
    assert said("de", english) == german
    assert said("en", english) == english


def test_a_name_is_taken_over_as_it_is() -> None:
    assert said("de", "SN start the others is a voter and does not run") == (
        "SN start the others ist stimmberechtigt und läuft nicht"
    )


def known() -> list[Alert]:
    """Alerts of all kinds, as the tests of `views/` have them."""
    ledger = four_sites()
    found = alerts(facts(ledger))
    submit(ledger, "site-1")
    ordering = Ordering(alone=False, voters=VOTERS, majority=False, due_height=1000)
    absent = facts(ledger, 3 * 60 * MINUTE, lately=usually(10), ordering=ordering)
    found += alerts(absent)
    found += alerts(facts(ledger, heard=without(facts(ledger), "sn-2")))
    found += alerts(facts(ledger, heard=without(facts(ledger), "sn-2", "sn-3")))
    found += alerts(facts(ledger, ordering=Ordering()))
    vitals = Vitals(disk_free=2**20, disk_total=2**40, memory_free=2**20, memory_total=2**40)
    heard = {uid: Heard(vitals=vitals, ahead_ms=120_000) for uid in SITES}
    found += alerts(facts(ledger, heard={**(facts(ledger).heard or {}), **heard}))
    found += alerts(facts(ledger, now_ms=ledger.clock + 400 * 86_400_000))
    lose(ledger, "site-2")
    found += alerts(facts(ledger, 60 * MINUTE, lately=usually(10)))
    for site in ("site-1", "site-3", "site-4"):
        ledger.send(site, Leave(), network.CONTRACT)
    return found + alerts(facts(ledger, 60 * MINUTE))


def test_what_is_wrong_in_a_network_is_said_in_german() -> None:
    found = known()
    assert len({each.code for each in found}) >= 9
    english = {text for each in found for text in (each.text, each.remedy) if text}
    assert {text for text in english if said("de", text) == text} == set()


def test_reasons_states_and_remedies_are_said_in_german() -> None:
    texts = [*REASONS.values(), *REMEDIES.values(), *TASK_REASONS.values(), *STATES.values()]
    assert {text for text in texts if said("de", text) == text} == set()
    assert ACTIVITIES  # those are texts of the page itself


def test_how_a_training_stands_is_said_in_german() -> None:
    ledger = four_sites()
    for sites in ((), ("site-1",), ("site-2", "site-3")):
        submit(ledger, *sites)
        world = ledger.chain.world
        text = waiting_text(waiting_in(world, ledger.training), node_names(world), fetch_addresses(world))
        assert text.startswith("round 0")
        assert said("de", text).startswith("Runde 0")
    assert said("de", f"2 of 3 sessions of contract {CONTRACT} are open; round 0 waits for 1 more").startswith(
        "2 von 3"
    )


def test_a_sentence_that_is_made_to_be_hard_takes_no_time() -> None:
    parts = [
        part for key, both in catalogue().items() if key.startswith("phrases.") for part in PLACE.split(both["en"])
    ]
    hard = [(part + " ") * (LONGEST // (len(part) + 1)) for part in parts if part.strip()]
    begun = time.process_time()
    for text in hard:
        said("de", text)
    assert (time.process_time() - begun) / len(hard) < 0.05


@pytest.mark.parametrize(
    "error",
    [
        UnknownHostKey(Address("10.0.0.9", 2222), HOST_KEY),
        ChangedHostKey(Address("10.0.0.9", 22), HOST_KEY, HOST_KEY),
        LoginError("the passphrase does not decrypt the private key of swarm"),
        MachineError(f"10.0.0.9:2222: no SSH connection: [Errno 111] refused ('::1', 22); {HINT}"),
        *(MachineError(each.text) for each in faults(judge(Facts(writable=True), Plan()))),
    ],
)
def test_what_keeps_from_a_host_is_said_in_german(error: Exception) -> None:
    assert said("de", str(error)) != str(error)
