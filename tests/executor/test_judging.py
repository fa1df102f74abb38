"""What a site says to a task: by its policy's file, which is read anew each time, and by what its operator has said."""

from collections.abc import Collection
from pathlib import Path
from typing import cast

import pytest

from executor.worlds import BUILD, PROFILE, RUN, SWOP, attempt, task, world
from swarmlearning.node.errors import NodeError
from swarmlearning.swop.approvals import Approvals
from swarmlearning.swop.facts import Verdict
from swarmlearning.swop.judging import MOST_TASKS, Judging
from swarmlearning.swop.makers import Makers
from swarmlearning.swop.managing import ManagerError, ResourceManager
from swarmlearning.taskfiles.definition import RunSwarm, SharedContent
from swarmlearning.taskfiles.lines import body_lines


class Manager:
    """The images at a site."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}

    async def brought_in(self, outcome: str) -> Collection[str]:
        return [self.images[outcome]] if outcome in self.images else []


def judging(folder: Path, manager: Manager, policy: str | None = None, same_user: str = "") -> Judging:
    file = folder / "policy.yaml" if policy is not None else None
    if file is not None:
        file.write_text(policy or "")
    given = cast(ResourceManager, manager)
    return Judging(PROFILE, SWOP, file, Approvals(folder), given, Makers(folder), [folder], ["sl:1"], same_user)


async def test_what_the_own_organisation_has_made_and_assigned_runs(tmp_path: Path) -> None:
    build = task("build", "MAKE_USER_CONTAINER", BUILD)
    run = task("run", "RUN_SWARM", RUN, build)
    verdict = await judging(tmp_path, Manager(), "limits: {seconds: 60}").verdict(world(build, run), attempt(run))
    assert (verdict.says, verdict.seconds) == ("run", 60.0)


@pytest.mark.parametrize(("maker", "assigner"), [("other", "own"), ("own", "other")])
async def test_a_foreign_task_waits_and_the_operator_is_asked(tmp_path: Path, maker: str, assigner: str) -> None:
    build, manager = task("build", "MAKE_USER_CONTAINER", BUILD, maker=maker), Manager()
    run = task("run", "RUN_SWARM", RUN, build)
    site, shown = judging(tmp_path, manager), world(build, run, assigner=assigner)
    waits = await site.verdict(shown, attempt(run))
    assert waits.says == "wait"
    (question,) = Approvals(tmp_path).waiting()
    assert (question.digest, question.task, question.type) == (waits.digest, "run", "RUN_SWARM")
    assert "- FROM python" in question.says
    assert "other" in "".join(question.reasons)
    Approvals(tmp_path).answer(waits.digest, approved=True)
    assert (await site.verdict(shown, attempt(run))).says == "run"
    manager.images["build-made"] = "f" * 64  # what the prerequisite brings in belongs to it
    assert (await site.verdict(shown, attempt(run))).says == "wait"
    Approvals(tmp_path).answer(waits.digest, approved=False)
    manager.images.clear()
    assert (await site.verdict(shown, attempt(run))).says == "reject"


async def test_a_task_that_is_none_is_unsupported(tmp_path: Path) -> None:
    run = task("run", "RUN_SWARM", ("Command: [",))
    verdict = await judging(tmp_path, Manager()).verdict(world(run), attempt(run))
    assert verdict == Verdict("reject", run.digest, reason="unsupported")


async def test_a_policy_can_demand_that_scripts_run_as_another_user(tmp_path: Path) -> None:
    build = task("build", "MAKE_USER_CONTAINER", BUILD)
    run = task("run", "RUN_SWARM", RUN, build)
    site = judging(tmp_path, Manager(), "demandUser: true", same_user="they would run as root")
    verdict = await site.verdict(world(build, run), attempt(run))
    assert (verdict.says, verdict.reason) == ("reject", "unsupported")
    assert (await site.verdict(world(build), attempt(build))).says == "run"


async def test_a_policy_that_breaks_later_runs_nothing_and_one_from_the_start_is_refused(tmp_path: Path) -> None:
    run = task("run", "RUN_SWARM", RUN)
    site = judging(tmp_path, Manager(), "trust: [own]")
    (tmp_path / "policy.yaml").write_text("trust: [own")
    assert (await site.verdict(world(run), attempt(run))).says == "wait"
    (tmp_path / "policy.yaml").unlink()
    assert (await site.verdict(world(run), attempt(run))).says == "wait"
    (tmp_path / "policy.yaml").write_text("trust: [own]")
    assert (await site.verdict(world(run), attempt(run))).says == "run"
    with pytest.raises(NodeError, match=r"policy\.yaml:1:"):
        judging(tmp_path, Manager(), "trusted: [own]")


async def test_a_chain_that_is_too_long_to_read_is_refused(tmp_path: Path) -> None:
    chain = [task("build0", "MAKE_USER_CONTAINER", BUILD)]
    while len(chain) <= MOST_TASKS:
        chain.append(task(f"build{len(chain)}", "MAKE_USER_CONTAINER", BUILD, chain[-1]))
    site = judging(tmp_path, Manager())
    verdict = await site.verdict(world(*chain), attempt(chain[-1]))
    assert (verdict.says, verdict.reason) == ("reject", "unsupported")
    assert (await site.verdict(world(*chain[:-1]), attempt(chain[-2]))).says == "run"


async def test_one_organisation_does_not_replace_what_another_one_has_made(tmp_path: Path) -> None:
    """The tasks of all use an outcome by its name."""
    own = task("build", "MAKE_USER_CONTAINER", BUILD)
    foreign = task("build", "MAKE_USER_CONTAINER", BUILD, maker="other")
    manager = Manager()
    site = judging(tmp_path, manager, "trust: [own, other]")
    assert (await site.verdict(world(foreign, assigner="other"), attempt(foreign))).says == "run"
    manager.images["build-made"] = "f" * 64  # the site's own, as far as anybody knows
    assert (await site.verdict(world(foreign, assigner="other"), attempt(foreign))).says == "wait"
    assert "made by the site itself" in str([each.reasons for each in Approvals(tmp_path).waiting()])
    site.begin(world(own), attempt(own))
    waits = await site.verdict(world(foreign, assigner="other"), attempt(foreign))
    assert waits.says == "wait"
    Approvals(tmp_path).answer(waits.digest, approved=True)
    assert (await site.verdict(world(foreign, assigner="other"), attempt(foreign))).says == "run"
    site.begin(world(foreign), attempt(foreign))
    assert Makers(tmp_path).maker("build-made") == "other"
    assert (await site.verdict(world(own), attempt(own))).says == "run"


async def test_a_link_that_has_changed_since_a_task_was_allowed_is_judged_anew(tmp_path: Path) -> None:
    for name in ("allowed", "secret"):
        (tmp_path / "data" / name).mkdir(parents=True)
    link = tmp_path / "data/link"
    link.symlink_to(tmp_path / "data/allowed")
    shared = SharedContent(str(link), "/work/data", "BIND")
    run = task("run", "RUN_SWARM", body_lines(RunSwarm("train.py", "python3", "/work", shared_content=(shared,))))
    (tmp_path / "own").mkdir()
    site = judging(tmp_path / "own", Manager(), f"mountRoots: [{tmp_path}/data/allowed]")
    assert (await site.verdict(world(run), attempt(run))).says == "run"
    pinned = await site.start_of(world(run), attempt(run))
    assert [each.source for each in pinned.shared_content] == [str(tmp_path / "data/allowed")]
    link.unlink()
    link.symlink_to(tmp_path / "data/secret")
    with pytest.raises(ManagerError, match="does not allow it any more") as caught:
        await site.start_of(world(run), attempt(run))
    assert caught.value.reason == "rejected"
