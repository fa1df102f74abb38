"""Trainings by real processes: how they end when all goes well, and when something goes wrong meanwhile."""

import shutil
import signal
from pathlib import Path

import pytest

from support.gencert import gen_cert
from support.ports import fixed_port
from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, has_models

PAIR = ("--min-peers", "2")


def test_training_waits_below_min_peers_and_then_all_sites_end_with_the_same_model(swarm: Swarm) -> None:
    sn = swarm.start_sn()
    sites = [swarm.start_sl(index, "--rounds", "2") for index in (1, 2)]
    swarm.until(lambda state: len(state.members) == 2)
    (status,) = swarm.status()["trainings"]
    assert "2 of 3 sessions of contract defaultbb.cqdb.sml.hpe are open" in status["text"]
    assert (set(status["members"]), status["min_peers"], status["leader"]) == ({"site-1", "site-2"}, 3, None)
    sites.append(swarm.start_sl(3, "--rounds", "2"))
    assert_complete(sites)
    for node in (sn, *sites):
        assert node.output.count("Open to every organisation of this network: defaultbb.cqdb.sml.hpe") == 1
    training = swarm.training(swarm.chain())
    assert (training.over, training.rounds) == (True, 3)
    assert {member.contributed for member in training.members.values()} == {3}


def test_training_goes_on_after_kill_9_of_the_sn_in_the_middle_of_a_round(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn(port=fixed_port())
    sites = [
        swarm.start_sl(1, "--rounds", "3", *PAIR),
        swarm.start_sl(2, "--rounds", "3", *PAIR, "--hold-at", "1", "--gate", str(gate.path)),
    ]
    before = swarm.until_chain(lambda chain: has_models(1, 1)(swarm.training(chain)))
    swarm.sn.kill()
    gate.let()
    swarm.start_sn(port=swarm.port)
    assert_complete(sites)
    chain = swarm.chain()
    assert chain.network_id == before.network_id
    assert swarm.training(chain).rounds == 4


def test_a_killed_site_is_named_as_lost_and_completes_after_a_restart(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    sites = [swarm.start_sl(index, "--rounds", "3") for index in (1, 2)]
    killed = swarm.start_sl(3, "--rounds", "3", "--hold-at", "1", "--gate", str(gate.path))
    uid = killed.ready["uid"]
    swarm.until(has_models(2, 1))
    killed.kill()
    swarm.until(lambda state: uid in state.members and state.members[uid].attendance == "lost")
    (status,) = swarm.status()["trainings"]
    assert "2 models in, minPeers 3; waiting for site-3 (lost since " in status["text"]
    gate.let()  # its ML stand-in meets a dead SL and ends
    assert_complete([*sites, swarm.start_sl(3, "--rounds", "1")])


def test_sites_that_fail_report_why_and_affect_no_other(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    ml = ("--rounds", "2", *PAIR)
    sites = [swarm.start_sl(index, *ml, "--hold-at", "1", "--gate", str(gate.path)) for index in (1, 2)]
    swarm.until(lambda state: state.rounds == 1)
    raises = swarm.start_sl(3, *ml, "--fail-at", "1")
    leaves = swarm.start_sl(4, *ml, "--leave-at", "1", identity="SL-3")
    truncated = swarm.start_sl(5, *ml, "--truncate-at", "1", identity="SL-3")
    altered = swarm.start_sl(6, *ml, "--alter-at", "1", identity="SL-3")
    members = [site.ready["uid"] for site in (raises, leaves, truncated, altered)]
    assert raises.wait() == 1
    assert "ValueError: the data of this site is broken" in raises.output
    assert raises.output.rstrip().splitlines()[-1].endswith("The training command has failed: exit status 1")
    assert "the training command has ended although training is not over" in leaves.complaint()
    assert "a script has to make a SwarmCallback" in leaves.complaint()
    faults = {truncated: "its header describes", altered: "'layer.bias' has shape [9], expected [8]"}
    for site, fault in faults.items():
        assert site.wait() == 1
        assert "the model handed over by the ML process cannot be used: " in site.output
        assert fault in site.output
        assert "Traceback" not in site.output
    gate.let(2)
    assert_complete(sites)
    training = swarm.training(swarm.chain())
    assert {training.members[uid].attendance for uid in members} <= {"ml-lost", "lost", "left"}


def test_a_model_with_a_nan_is_left_out_its_user_is_told_and_training_goes_on(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    ml = ("--rounds", "3", *PAIR, "--hold-at", "0", "--gate", str(gate.path))
    sites = [swarm.start_sl(1, *ml), swarm.start_sl(2, *ml), swarm.start_sl(3, *ml, "--poison-at", "1")]
    swarm.until(lambda state: len(state.members) == 3)
    gate.let(3)
    assert_complete(sites)
    uid, training = sites[2].ready["uid"], swarm.training(swarm.chain())
    contributed = {member.uid: member.contributed for member in training.members.values()}
    assert contributed == dict.fromkeys(contributed, 4) | {uid: 3}
    reported = "Round 1: the model of this site was left out of the merge: non-finite: layer.bias. NaN or infinity: "
    assert sites[2].output.count(reported) == 2  # in the node's log, and by the script
    for site in sites[:2]:
        assert "Round 1: the model of site-3 was left out of the merge: non-finite: layer.bias" in site.output
    assert training.result is not None
    assert all(part.distance is not None for part in training.result.receipt.contributions)


def test_a_site_whose_nan_leaves_too_few_models_ends_and_completes_after_a_restart(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    sound = swarm.start_sl(1, "--rounds", "3", *PAIR)
    poisoned = swarm.start_sl(2, "--rounds", "3", *PAIR, "--poison-at", "1")
    assert poisoned.wait() == 1
    assert "the model of this site is unusable (non-finite: layer.bias), and without it" in poisoned.output
    assert "SwarmError: SL error: Round 1: " in poisoned.output
    again = swarm.start_sl(2, "--rounds", "2", *PAIR)
    assert_complete([sound, again])


def test_a_site_whose_terms_differ_is_refused_with_the_difference_and_affects_no_other(
    swarm: Swarm, gate: Gate
) -> None:
    swarm.start_sn()
    ml = ("--rounds", "2", *PAIR, "--frozen", "a" * 64)
    sites = [swarm.start_sl(index, *ml, "--hold-at", "1", "--gate", str(gate.path)) for index in (1, 2)]
    swarm.until(lambda state: state.rounds == 1)
    refused = {
        "mergeMethod is mean, this session has geomedian": swarm.start_sl(3, *ml, "--method", "geomedian"),
        "minPeers is 2, this session has 3": swarm.start_sl(4, *ml, "--min-peers", "3", identity="SL-3"),
        "model structure is ": swarm.start_sl(5, *ml, "--size", "17", identity="SL-3"),
        "the frozen tensors differ": swarm.start_sl(7, *ml, "--frozen", "b" * 64, identity="SL-3"),
    }
    for difference, site in refused.items():
        assert site.wait() == 1
        assert difference in site.output
        assert "All sites must agree" in site.output
        assert "Traceback" not in site.output
    ours, other = (swarm.directory / f"sl-{index}" / "structure.txt" for index in (1, 5))
    assert "listed in " + str(other) in refused["model structure is "].output
    here, there = (set(file.read_text().splitlines()) for file in (ours, other))
    assert here ^ there == {'"layer.weight" F32 [16, 8]', '"layer.weight" F32 [17, 8]'}
    gate.let(2)
    assert_complete(sites)
    assert len(swarm.training(swarm.chain()).members) == 2
    late = swarm.start_sl(6, *ml, identity="SL-3")
    assert late.wait() == 3
    assert "training of contract defaultbb.cqdb.sml.hpe is over; for another training use another" in late.output
    assert "Participation" not in late.output  # it has not taken part, and has no model to keep
    assert "cannot be kept" not in late.output


def test_a_structure_that_cannot_be_merged_is_refused_by_the_sl_whatever_its_client_checks(swarm: Swarm) -> None:
    swarm.start_sn()
    refused = swarm.start_sl(1, "--float8")
    assert refused.wait() == 1
    assert "tensor 'layer.bias' is F8_E5M2, which cannot be merged; keep it in BF16 or F16" in refused.output
    assert "Traceback" not in refused.output


def test_sigterm_stops_every_node_cleanly(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    sites = [swarm.start_sl(index, *PAIR, "--hold-at", "1", "--gate", str(gate.path)) for index in (1, 2)]
    swarm.until(lambda state: state.rounds == 1)
    for process in (*sites, swarm.sn):
        process.signal(signal.SIGTERM)
    for process in (*sites, swarm.sn):
        assert process.wait() == 0
        assert "Traceback" not in process.output
    assert swarm.training(swarm.chain()).rounds == 1


def test_a_node_whose_data_directory_was_copied_stops_when_the_copy_starts(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    zombie = swarm.start_sl(1, *PAIR, "--hold-at", "0", "--gate", str(gate.path))
    swarm.until(lambda state: len(state.members) == 1)
    shutil.copytree(swarm.directory / "sl-1", swarm.directory / "copy", ignore=shutil.ignore_patterns("*.sock"))
    copy = swarm.start_sl(7, *PAIR, "--rounds", "1", identity="SL-1", data_dir=swarm.directory / "copy")
    other = swarm.start_sl(2, *PAIR, "--rounds", "1")
    assert zombie.ready["uid"] == copy.ready["uid"]
    assert "now runs as incarnation 2; incarnation 1 must stop. If its data directory was copied" in zombie.complaint()
    assert_complete([copy, other])


def test_an_sl_serves_one_ml_process_at_a_time(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    sl = swarm.start_sl(1, data_dir="relative")
    assert sl.ready["channel"] == str(swarm.directory / "relative" / "channel" / "ml.sock")
    first = swarm.train(1, sl, "--min-peers", "1", "--rounds", "1", "--hold-at", "0", "--gate", str(gate.path))
    swarm.until(lambda state: len(state.members) == 1)
    second = swarm.train(2, sl, "--min-peers", "1", "--rounds", "1")
    assert second.wait() == 1
    assert "another SwarmCallback or ML process is connected to this SL node" in second.output
    gate.let()
    assert (first.wait(), sl.wait()) == (0, 0)


@pytest.mark.parametrize("authority_key_identifier", [True, False])
def test_training_works_with_certificates_of_the_original_and_one_shared_by_two_sls(
    processes: Processes, tmp_path: Path, authority_key_identifier: bool
) -> None:
    identities = gen_cert(
        tmp_path / "cert", authority_key_identifier=authority_key_identifier, accumulate_names=authority_key_identifier
    )
    swarm = Swarm(processes, tmp_path, identities)
    swarm.start_sn()
    assert_complete([swarm.start_sl(index, *PAIR, "--rounds", "1", identity="SL-1") for index in (1, 2)])
    training = swarm.training(swarm.chain())
    assert {member.contributed for member in training.members.values()} == {2}
