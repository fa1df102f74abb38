"""The site's policy: what runs, what waits, and why."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.choices import TaskType
from swarmlearning.ledger.contracts.tasks import digest_of
from swarmlearning.swop.judging import resolved
from swarmlearning.swop.policy import (
    OWN,
    Facts,
    Judgement,
    Link,
    Policy,
    Signer,
    Trust,
    approval_digest,
    judge,
    may_read_logs,
)
from swarmlearning.swop.profile import ContainerOptions, IdentityFile, NodeDefinition, PrivateData, Profile
from swarmlearning.taskfiles.definition import (
    Definition,
    MakeSwarmUserContent,
    MakeUserContainer,
    Operation,
    PullImage,
    RunSwarm,
    SharedContent,
)
from swarmlearning.taskfiles.lines import body_lines

ALICE = Signer("hospital-a", "CN=OPERATOR-alice")
BOB = Signer("hospital-b", "CN=OPERATOR-bob")
BUILD = MakeUserContainer(("FROM docker.io/library/python:3.11", "RUN pip install numpy"))
TYPES: Mapping[type[Definition], TaskType] = {
    RunSwarm: "RUN_SWARM",
    MakeUserContainer: "MAKE_USER_CONTAINER",
    MakeSwarmUserContent: "MAKE_SWARM_USER_CONTENT",
    PullImage: "PULL_IMAGE",
}
LINKS = {"/srv/link": "/etc/ssh", "/srv/swarm/out": "/srv/secret"}


def resolve(path: str) -> str:
    return LINKS.get(path, path)


def run(*shared: SharedContent) -> RunSwarm:
    return RunSwarm("train.py", "python3", "/tmp/test", shared_content=shared)


def bind(source: str) -> SharedContent:
    return SharedContent(source, "/tmp/test/model", "BIND")


def link(name: str, what: Definition, maker: Signer = ALICE) -> Link:
    return Link(name, TYPES[type(what)], f"{name:0>64}", maker, what, f"{name}-made")


def facts(
    *chain: Definition, maker: Signer = ALICE, assigner: Signer = ALICE, options: ContainerOptions | None = None
) -> Facts:
    identity = (IdentityFile("KEY", "BIND", "/srv/certs/key.pem", "/key.pem"),)
    kept = (*identity, IdentityFile("CERT", "VOLUME", "certs", "/cert.pem", "cert.pem"))
    lock = "/srv/privacy/policy.yaml"
    node = NodeDefinition(0, identity=kept, options=options or ContainerOptions(), privacy_policy=lock)
    profile = Profile("clinic", "runner", "DOCKER", "swarm-net", (node,))
    links = tuple(link(f"task{number}", what, maker) for number, what in enumerate(chain or (BUILD, run())))
    return Facts(links, assigner, "hospital-a", profile, protected=("/srv/usr",))


def waits(judged: Judgement, reason: str) -> bool:
    return judged.says == "wait" and any(reason in each for each in judged.reasons)


BOTH = Policy(trust=(Trust(OWN), Trust("hospital-b")))


def test_what_the_own_organisation_makes_and_assigns_runs() -> None:
    assert judge(Policy(), facts(BUILD, run(bind("/srv/model"))), resolve).says == "run"
    assert judge(Policy(), facts(options=ContainerOptions(gpus="all", privileged=True)), resolve).says == "run"


@pytest.mark.parametrize(
    ("maker", "assigner", "reasons"),
    [
        (BOB, ALICE, ["'task0' was made by 'CN=OPERATOR-bob' of 'hospital-b'", "'task1' was made by"]),
        (ALICE, BOB, ["it was assigned by 'CN=OPERATOR-bob' of 'hospital-b'"]),
        (BOB, BOB, ["'task0' was made by", "'task1' was made by", "it was assigned by"]),
        (
            Signer("hospital-b", ALICE.subject),
            ALICE,
            ["'task0' was made by 'CN=OPERATOR-alice' of 'hospital-b'", "'task1'"],
        ),
    ],
)
def test_what_others_make_or_assign_waits_and_says_for_whom(
    maker: Signer, assigner: Signer, reasons: list[str]
) -> None:
    judged = judge(Policy(), facts(maker=maker, assigner=assigner), resolve)
    assert judged.says == "wait"
    assert [expected in reason for expected, reason in zip(reasons, judged.reasons, strict=True)] == [True] * len(
        reasons
    )


def test_one_entry_admits_another_organisation() -> None:
    assert judge(BOTH, facts(maker=BOB, assigner=BOB), resolve).says == "run"
    assert judge(BOTH, facts(maker=Signer("hospital-c", "CN=x"), assigner=BOB), resolve).says == "wait"


@pytest.mark.parametrize(
    ("trust", "maker", "assigner", "says"),
    [
        (Trust("hospital-b", deeds=("make",)), BOB, ALICE, "run"),
        (Trust("hospital-b", deeds=("make",)), BOB, BOB, "wait"),
        (Trust("hospital-b", deeds=("assign",)), ALICE, BOB, "run"),
        (Trust("hospital-b", (BOB.subject,)), BOB, BOB, "run"),
        (Trust("hospital-b", ("CN=OPERATOR-carol",)), BOB, BOB, "wait"),
        (Trust("hospital-c", (BOB.subject,)), BOB, BOB, "wait"),
    ],
)
def test_trust_is_for_identities_and_deeds(trust: Trust, maker: Signer, assigner: Signer, says: str) -> None:
    assert judge(Policy(trust=(Trust(OWN), trust)), facts(maker=maker, assigner=assigner), resolve).says == says


def test_without_its_own_organisation_nothing_of_it_runs() -> None:
    assert judge(Policy(trust=(Trust("hospital-b"),)), facts(), resolve).says == "wait"


@pytest.mark.parametrize(
    ("policy", "what", "reason"),
    [
        (Policy(types=("RUN_SWARM",)), BUILD, "does not allow MAKE_USER_CONTAINER tasks, such as 'task0'"),
        (Policy(images=("tensorflow/*",)), BUILD, "the image 'docker.io/library/python:3.11' of 'task0'"),
        (Policy(images=("python",)), MakeUserContainer(("FROM python:3", "COPY --from=evil/x / /")), "'evil/x'"),
        (Policy(images=("python",)), MakeUserContainer(("ARG B", "FROM $B")), "do not state which images"),
        (
            Policy(images=("python",)),
            PullImage("registry.example.org/team", "app", "1"),
            "'registry.example.org/team/app:1'",
        ),
        (Policy(mount_roots=("/srv/swarm",)), run(bind("/srv/swarmed")), "'/srv/swarmed' of 'task0' lies outside"),
        (Policy(mount_roots=("/opt/swarm",)), run(bind("/opt")), "'/opt' of 'task0' lies outside"),
        (Policy(mount_roots=("/srv/swarm",)), run(bind("/srv/swarm/out")), "(which leads to '/srv/secret')"),
        (Policy(mount_roots=()), PullImage("r.example/t", "app", "1", "/root/config.json"), "lies outside"),
        (
            Policy(mount_roots=("/srv/swarm",)),
            MakeSwarmUserContent("SWARMCONTENT", (Operation("DOWNLOAD", "file:///etc/shadow"),)),
            "'/etc/shadow' of 'task0' lies outside",
        ),
        (Policy(), run(bind("/srv/usr")), "holds files of this SWOP"),
        (Policy(), run(bind("/srv")), "holds files of this SWOP"),
        (Policy(), run(bind("/srv/usr/taskdefs")), "holds files of this SWOP"),
        (Policy(), run(bind("/srv/certs")), "holds files of this SWOP, such as its policy or a key"),
        (Policy(), run(bind("/srv/privacy")), "holds files of this SWOP, such as its policy or a key"),
        (Policy(), run(SharedContent("certs", "/c", "VOLUME")), "the volume 'certs' of 'task0' holds the identity"),
        (Policy(), MakeUserContainer(("FROM x",), "certs"), "holds the identity"),
        (Policy(volumes=("model-*",)), run(SharedContent("data", "/d", "VOLUME")), "the volume 'data' of 'task0'"),
        (Policy(volumes=()), MakeUserContainer(("FROM x",), "wheels"), "the volume 'wheels'"),
    ],
)
def test_what_a_policy_does_not_allow_waits(policy: Policy, what: Definition, reason: str) -> None:
    assert waits(judge(policy, facts(what), resolve), reason), judge(policy, facts(what), resolve)


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        (Policy(types=("RUN_SWARM", "MAKE_USER_CONTAINER"), images=("python:3.*",)), BUILD),
        (Policy(images=("registry.example.org/team/*",)), PullImage("registry.example.org/team", "app", "1")),
        (Policy(images=("x",)), MakeUserContainer(("FROM x AS one", "FROM one", "COPY --from=0 / /"))),
        (Policy(mount_roots=("/srv/swarm",)), run(bind("/srv/swarm/model"))),
        (Policy(mount_roots=("/srv/link",)), run(bind("/etc/ssh"))),
        (Policy(volumes=("model-*",)), run(SharedContent("model-1", "/d", "VOLUME"))),
        (Policy(options=()), BUILD),
    ],
)
def test_what_a_policy_allows_runs(policy: Policy, what: Definition) -> None:
    judged = judge(policy, facts(what, options=ContainerOptions(gpus="all")), resolve)
    assert judged.says == "run", judged


@pytest.mark.parametrize("source", ["/", "/etc/ssl", "/var/run/docker.sock", "/srv/link"])
def test_tasks_of_others_reach_no_folder_of_the_system(source: str) -> None:
    assert judge(BOTH, facts(run(bind(source)), maker=BOB, assigner=BOB), resolve).says == "wait"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (ContainerOptions(gpus="all", devices=("/dev/kfd",), ipc="host", shm_size="1g", groups=("video",)), []),
        (ContainerOptions(privileged=True), ["privileged"]),
        (ContainerOptions(capabilities=("SYS_ADMIN",), security=("seccomp=unconfined",)), ["cap-add", "security-opt"]),
    ],
)
def test_tasks_of_others_get_harmless_options_only(options: ContainerOptions, asked: list[str]) -> None:
    judged = judge(BOTH, facts(maker=BOB, assigner=BOB, options=options), resolve)
    assert [next(name for name in asked if repr(name) in reason) for reason in judged.reasons] == asked
    stated = replace(
        BOTH, options=("gpus", "device", "ipc", "shm-size", "group-add", "cap-add", "security-opt", "privileged")
    )
    assert judge(stated, facts(maker=BOB, assigner=BOB, options=options), resolve).says == "run"
    if asked:
        assert judge(Policy(options=("gpus",)), facts(options=options), resolve).says == "wait"


def test_an_approval_lets_exactly_that_task_run() -> None:
    asked = facts(maker=BOB, assigner=BOB)
    digest = judge(Policy(), asked, resolve).digest
    approved = asked._replace(approved=frozenset({digest}))
    assert judge(Policy(), approved, resolve) == Judgement("run", digest)
    assert judge(Policy(), asked._replace(rejected=frozenset({digest})), resolve).says == "reject"


def test_any_change_asks_again() -> None:
    shared = run(bind("/srv/model"))
    asked = facts(BUILD, shared, maker=BOB)
    digest = approval_digest(asked, resolve)
    first, last = asked.chain
    changed = [
        asked._replace(chain=(first._replace(digest="f" * 64), last)),
        asked._replace(chain=(first, last._replace(digest="f" * 64))),
        asked._replace(chain=(last,)),
        asked._replace(brought_in=frozenset({"sha256:1"})),
        asked._replace(profile=facts(options=ContainerOptions(privileged=True)).profile),
    ]
    assert all(approval_digest(each, resolve) != digest for each in changed)
    assert approval_digest(asked, lambda path: f"/elsewhere{path}") != digest
    assert approval_digest(asked._replace(assigner=BOB), resolve) == digest


def test_a_build_step_that_differs_by_one_byte_asks_again() -> None:
    def asked(step: str) -> Facts:
        build = MakeUserContainer(("FROM python", step))
        first = digest_of("MAKE_USER_CONTAINER", "env", body_lines(build), "")
        last = digest_of("RUN_SWARM", "run", body_lines(run()), first)
        made = facts(build, run(), maker=BOB)
        return made._replace(
            chain=tuple(map(lambda one, digest: one._replace(digest=digest), made.chain, (first, last)))
        )

    approved = frozenset({judge(Policy(), asked("RUN pip install numpy"), resolve).digest})
    assert judge(Policy(), asked("RUN pip install numpy")._replace(approved=approved), resolve).says == "run"
    assert judge(Policy(), asked("RUN pip install mumpy")._replace(approved=approved), resolve).says == "wait"


def test_links_on_disk_are_followed(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "model").mkdir(parents=True)
    secret.mkdir()
    (root / "out").symlink_to(secret)
    (root / "in").symlink_to(root / "model")
    (tmp_path / "other").symlink_to(root)
    policy = Policy(mount_roots=(str(tmp_path / "other"),))
    verdicts = {
        name: judge(policy, facts(run(bind(str(root / name)))), resolved).says
        for name in ("model", "in", "out", "missing", "out/missing")
    }
    assert judge(Policy(), facts(run(bind(str(root / "missing")))), resolved).says == "run"
    assert verdicts == {"model": "run", "in": "run", "out": "wait", "missing": "wait", "out/missing": "wait"}


def test_listed_digests_run_or_never_run() -> None:
    foreign = facts(maker=BOB, assigner=BOB)
    task, prerequisite = foreign.chain[-1].digest, foreign.chain[0].digest
    assert judge(Policy(allowed=frozenset({task})), foreign, resolve).says == "run"
    assert judge(Policy(allowed=frozenset({prerequisite})), foreign, resolve).says == "wait"
    assert judge(Policy(denied=frozenset({prerequisite})), facts(), resolve).says == "reject"
    assert judge(Policy(allowed=frozenset({task}), denied=frozenset({task})), foreign, resolve).says == "reject"
    outside = facts(run(bind("/etc/ssl")), maker=BOB)
    assert judge(Policy(allowed=frozenset({outside.chain[-1].digest})), outside, resolve).says == "wait"


def test_a_broken_policy_runs_nothing_and_says_why() -> None:
    asked = facts()
    approved = asked._replace(approved=frozenset({approval_digest(asked, resolve)}))
    assert waits(judge(Policy(broken="policy.yaml:3:1: typo"), approved, resolve), "policy.yaml:3:1: typo")


def test_logs_are_shared_with_whom_the_policy_names() -> None:
    policy = Policy(share_logs={"SL": ("own", "hospital-b"), "ML": ()})
    table = {
        (part, who)
        for part in ("SWOP", "SL", "ML")
        for who in ("hospital-a", "hospital-b")
        if may_read_logs(policy, part, who, "hospital-a")
    }
    assert table == {("SWOP", "hospital-a"), ("SL", "hospital-a"), ("SL", "hospital-b")}


@given(
    st.sampled_from([ALICE, BOB]),
    st.sampled_from([ALICE, BOB]),
    st.sampled_from(["/srv/m", "/etc", "/"]),
    st.booleans(),
)
def test_restricting_a_policy_never_lets_more_run(
    maker: Signer, assigner: Signer, source: str, privileged: bool
) -> None:
    judged = facts(
        BUILD, run(bind(source)), maker=maker, assigner=assigner, options=ContainerOptions(privileged=privileged)
    )
    for wide in (Policy(), BOTH):
        narrow = [
            replace(wide, types=("RUN_SWARM",)),
            replace(wide, images=()),
            replace(wide, mount_roots=()),
            replace(wide, options=("gpus",)),
            replace(wide, trust=wide.trust[:1]),
            replace(wide, broken="typo"),
        ]
        if judge(wide, judged, resolve).says != "run":
            assert all(judge(each, judged, resolve).says != "run" for each in narrow)


@pytest.mark.parametrize(
    ("what", "outcome", "reason"),
    [
        (MakeSwarmUserContent("BUILDCONTENT", ()), "certs", "the volume 'certs', which 'task0' fills, is an identity"),
        (MakeSwarmUserContent("SWARMCONTENT", ()), "private", "the volume 'private-0', which 'task0' fills, is an"),
        (BUILD, "registry.example.org/swarm/sl:2", "in which this SWOP runs its nodes"),
        (BUILD, "localhost/sl", "would replace the image 'sl:latest'"),
        (PullImage("r.example/t", "app", "1"), "docker.io/library/sl:latest", "would replace the image 'sl:latest'"),
    ],
)
def test_no_task_is_put_in_the_place_of_what_the_nodes_of_the_site_need(
    what: Definition, outcome: str, reason: str
) -> None:
    asked = facts(what)
    node = replace(asked.profile.nodes[0], private_data=PrivateData("private-0", "VOLUME"))
    asked = asked._replace(
        chain=(asked.chain[0]._replace(outcome=outcome),),
        profile=replace(asked.profile, nodes=(node,)),
        images=("registry.example.org/swarm/sl:2", "sl:latest"),
    )
    assert waits(judge(Policy(), asked, resolve), reason), judge(Policy(), asked, resolve)
    harmless = asked._replace(chain=(asked.chain[0]._replace(outcome="user-env"),))
    assert judge(Policy(), harmless, resolve).says == "run"


def test_the_volumes_that_a_policy_names_are_those_that_tasks_fill_too() -> None:
    content = facts(MakeSwarmUserContent("SWARMCONTENT", ()))
    assert judge(Policy(volumes=("task0-made-*",)), content, resolve).says == "run"
    assert waits(judge(Policy(volumes=("model-*",)), content, resolve), "'task0-made-0', which 'task0' fills")


def test_what_others_have_made_is_replaced_when_the_operator_says_so() -> None:
    asked = facts(BUILD, maker=BOB, assigner=BOB)._replace(replaces="the site itself")
    assert waits(judge(BOTH, asked, resolve), "'task0-made', which 'task0' makes, is there already, made by the site")
