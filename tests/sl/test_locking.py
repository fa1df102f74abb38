"""A site's privacy lock at work: what it gives, what it serves, and what survives a restart."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from support.network import Ledger
from support.play import Play
from swarmlearning.ledger.bodies import Privacy
from swarmlearning.ledger.chain import Chain
from swarmlearning.merge.changes import coding_of, fill
from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.node.errors import NodeError
from swarmlearning.privacy.accounting import composed_epsilon
from swarmlearning.privacy.policy import Lock
from swarmlearning.privacy.record import Record
from swarmlearning.rounds.events import Release, Released
from swarmlearning.sl.changes import Changes
from swarmlearning.sl.codings import Codings
from swarmlearning.sl.locking import SiteLock
from swarmlearning.sl.lockmemory import FILE, LockMemory
from swarmlearning.sl.lockpolicy import open_lock
from swarmlearning.tensors.file import Tensor, read, read_header, write

VALUES = 4096
CONTRACT = "contract"
CLIPPING = Lock(1.0)
NOISY = Lock(1.0, noise=2.0, epsilon=3.0, delta=1e-5)


def stated(done: Released) -> Privacy:
    assert done.privacy is not None
    return done.privacy


class Site:
    """The lock of the site `a`, with its store and record in one folder; `restart` makes it anew."""

    def __init__(self, folder: Path, lock: Lock = CLIPPING) -> None:
        self.folder, self.lock = folder, lock
        self.record = Record(folder / "given.jsonl")
        self.play = Play("a", "b", "c")
        self.ledger = Ledger()
        for uid in "abc":
            self.ledger.join(uid)
        self.restart()

    def restart(self) -> None:
        self.store = TensorStore(self.folder / "models")
        self.site = SiteLock(self.lock, self.record, LockMemory(self.folder), self.store)
        self.site.open()
        self.warned: list[str] = []
        self.told: list[str] = []
        self.site.warn, self.site.tell = self.warned.append, self.told.append

    @property
    def chain(self) -> Chain:
        chain = self.ledger.chain
        state = msgspec.structs.replace(self.play.state, name=CONTRACT)
        return replace(chain, world=chain.world.with_entries({f"training/{CONTRACT}": state}))

    async def model(self, *values: float, size: int = VALUES) -> str:
        path = self.folder / "made"
        write(path, {"w": Tensor.of(np.resize(np.array(values, np.float32), size), "w")})
        return (await self.store.adopt(path)).root

    async def release(self, task: Release) -> Released:
        with self.store.pinned() as pin:
            return await self.site.release(task, self.chain, CONTRACT, "a", pin)

    async def tasks(self, count: int) -> Sequence[Release]:
        base = await self.model(0.0)
        return [Release(1, number, base, await self.model(float(number))) for number in range(1, count + 1)]

    def serves(self, digest: str) -> bool:
        return self.site.serves(self.chain, "a", digest)


async def test_what_is_given_is_clipped_and_is_in_the_store_and_in_the_record(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (task,) = await site.tasks(1)
    done = await site.release(task)
    given = read(site.store.path(done.result))["w"].astype(np.float64)
    assert 0.999 < np.linalg.norm(given) <= 1.0
    assert done == Released(task, done.result, site.store.digest_info(done.result).size, Privacy(1.0))
    (line,) = site.record.lines()
    assert (line.result, line.base, line.round, line.norm, line.noise) == (done.result, task.base, 1, 1.0, 0.0)
    assert task.digest not in site.record.path.read_text()


async def test_each_release_states_what_all_compose_to_until_the_budget_is_spent(tmp_path: Path) -> None:
    site = Site(tmp_path, NOISY)
    given = [await site.release(task) for task in await site.tasks(4)]
    assert [stated(done).releases for done in given] == [1, 2, 2, 2]
    assert [stated(done).withheld for done in given] == ["", "", "budget", "budget"]
    assert [stated(done).epsilon for done in given] == [composed_epsilon([2.0] * n, 1e-5) for n in (1, 2, 2, 2)]
    assert composed_epsilon([2.0] * 3, 1e-5) > NOISY.epsilon
    assert len(site.record.lines()) == 2
    assert "privacy budget of this site is spent" in site.warned[0]


async def test_the_same_task_gives_the_same_bytes_after_a_restart_and_costs_nothing_more(tmp_path: Path) -> None:
    site = Site(tmp_path, NOISY)
    (task,) = await site.tasks(1)
    done = await site.release(task)
    site.restart()
    assert await site.release(task) == done
    assert site.site.released(CONTRACT) == (done,)
    assert len(site.record.lines()) == 1


async def test_other_noise_on_the_same_change_is_paid_for(tmp_path: Path) -> None:
    site = Site(tmp_path, NOISY)
    (task,) = await site.tasks(1)
    first = await site.release(task)
    site.store.forget(first.result)
    second = await site.release(task)
    assert second.result != first.result
    assert stated(second).epsilon > stated(first).epsilon
    assert len(site.record.lines()) == 2


@pytest.mark.parametrize("moment", ["_make", "add", "memory", "commit"])
async def test_a_node_killed_at_any_moment_has_recorded_all_that_could_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """What can be fetched is in the store under a digest that was submitted, which follows the release."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    site = Site(tmp_path, NOISY)
    (task,) = await site.tasks(1)
    held = site.store.held()
    of = {"_make": site.site, "add": site.record, "memory": site.site._memory, "commit": site.store}[moment]
    monkeypatch.setattr(of, "add" if moment == "memory" else moment, die)
    with pytest.raises(Killed):
        await site.release(task)
    monkeypatch.undo()
    spent = len(site.record.lines())
    assert spent == (moment in ("memory", "commit"))
    assert site.store.held() == held
    site.restart()
    assert stated(await site.release(task)).releases == spent + 1


async def test_a_record_that_says_less_than_the_ledger_lets_nothing_be_given(tmp_path: Path) -> None:
    site = Site(tmp_path, NOISY)
    site.play.complete_round("a", "b", "c")
    first, second = await site.tasks(2)
    done = await site.release(first)
    site.play.submit("a", digest=done.result, privacy=done.privacy)
    site.record.path.unlink()
    withheld = await site.release(second)
    assert stated(withheld).withheld == "record"
    assert "the ledger says that ε = " in site.warned[0]


async def test_a_damaged_record_lets_nothing_be_given(tmp_path: Path) -> None:
    site = Site(tmp_path)
    first, second = await site.tasks(2)
    await site.release(first)
    site.record.path.write_bytes(b"x" + site.record.path.read_bytes())
    assert (await site.release(second)).privacy == Privacy(1.0, withheld="record")
    assert "line 1 cannot be read" in site.warned[0]


async def test_models_that_were_given_without_noise_leave_no_budget_for_noise(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (task,) = await site.tasks(1)
    await site.release(task)
    site.lock = NOISY
    with pytest.raises(Exception, match="were given without noise, so no ε bounds what was given"):
        site.restart()
    assert len(site.record.lines()) == 1


async def test_without_a_base_only_a_model_that_the_policy_names_is_given(tmp_path: Path) -> None:
    site = Site(tmp_path, NOISY)
    task = Release(1, 0, "", await site.model(3.0))
    assert stated(await site.release(task)).withheld == "no-base"
    assert f"initialModels: [{task.digest}]" in site.told[0]
    assert site.warned == []
    site.lock = replace(NOISY, initial=frozenset([task.digest]), contributors=5)
    site.restart()
    done = await site.release(task)
    assert (done.result, stated(done).releases, stated(done).contributors) == (task.digest, 0, 1)
    assert site.serves(task.digest)
    assert site.record.lines() == ()


async def test_a_model_that_is_not_finite_gives_the_base_with_noise_and_only_the_script_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path, NOISY)
    base, broken = await site.model(0.0), await site.model(float("nan"))
    done = await site.release(Release(1, 1, base, broken))
    assert abs(read(site.store.path(done.result))["w"].std() / 2.0 - 1) < 0.1
    assert "has NaN or infinity" in site.told[0]
    assert site.warned == []


async def test_what_this_node_cannot_make_is_its_own_failure_and_costs_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, NOISY)
    base, other = await site.model(0.0), await site.model(1.0, size=5)
    with pytest.raises(StoreError, match="another structure"):
        await site.release(Release(1, 1, base, other))
    with pytest.raises(NotHeldError):
        await site.release(Release(1, 1, "f" * 64, base))
    assert site.record.lines() == ()


async def test_what_a_script_hands_over_is_served_to_nobody_whatever_the_ledger_calls_by_its_digest(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    handed, fetched = await site.model(1.0), await site.model(2.0)
    site.play.complete_round("a", "b", "c")
    result = msgspec.structs.replace(site.play.result, digest=handed)
    site.play.state = msgspec.structs.replace(site.play.state, result=result)
    await site.site.made_public(fetched)
    assert (site.serves(handed), site.serves(fetched)) == (False, True)
    site.restart()
    assert (site.serves(handed), site.serves(fetched)) == (False, True)


@pytest.mark.parametrize(("contributors", "others", "served"), [(1, "", True), (3, "b", False), (3, "bc", True)])
async def test_a_model_is_served_once_the_frozen_round_names_enough_contributors(
    tmp_path: Path, contributors: int, others: str, served: bool
) -> None:
    site = Site(tmp_path, replace(CLIPPING, contributors=contributors))
    site.play.complete_round("a", "b", "c")
    (task,) = await site.tasks(1)
    done = await site.release(task)
    assert not site.serves(done.result)
    site.play.submit("a", digest=done.result, privacy=done.privacy)
    assert site.serves(done.result) == (contributors == 1)
    site.play.submit(*others)
    if others == "b":
        site.play.submit("c", digest=site.play.round.base)  # the base unchanged is no contribution
    assert site.play.frozen == bool(others)
    assert site.serves(done.result) == served


def test_what_an_earlier_process_left_damaged_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    assert LockMemory(tmp_path).released(CONTRACT) == ()


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_policy_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    policy = tmp_path / "privacy.yaml"
    policy.write_text("norm: 1")
    policy.chmod(mode)
    with pytest.raises(NodeError, match=r"privacy.yaml: cannot be the privacy policy: other users can write to it"):
        open_lock(policy, tmp_path, TensorStore(tmp_path / "models"), same_user=False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("norm: -1", r"privacy.yaml:1:7: norm: expected a number"),
        ("norm: 1\nrecord: gone/given.jsonl", "no such folder"),
    ],
)
def test_a_policy_that_cannot_hold_is_refused_at_the_start(tmp_path: Path, text: str, complaint: str) -> None:
    policy = tmp_path / "privacy.yaml"
    policy.write_text(text)
    policy.chmod(0o600)
    with pytest.raises(NodeError, match=complaint):
        open_lock(policy, tmp_path, TensorStore(tmp_path / "models"), same_user=False)


def test_a_policy_in_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    policy = tmp_path / "open" / "privacy.yaml"
    policy.parent.mkdir()
    policy.write_text("norm: 1")
    policy.chmod(0o600)
    policy.parent.chmod(0o777)
    with pytest.raises(NodeError, match="other users can replace it"):
        open_lock(policy, tmp_path, TensorStore(tmp_path / "models"), same_user=False)


# --- coded changes ---------------------------------------------------------------------------------------------------


def decoded(site: Site, done: Released) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The change that others read."""
    base = site.store.path(done.release.base)
    coding = coding_of("int4", read_header(base))
    values = np.zeros(coding.header.data_size, np.uint8)
    with site.store.path(done.result).open("rb") as change, base.open("rb") as file:
        assert fill(coding, change.fileno(), file.fileno(), 0, values)
    return values.view(np.float32).astype(np.float64) - read(base)["w"].ravel()


@pytest.mark.parametrize("lock", [CLIPPING, NOISY], ids=["clips", "adds noise"])
async def test_a_coded_change_is_of_what_the_lock_gives_and_without_noise_within_its_norm(
    tmp_path: Path, lock: Lock
) -> None:
    site, dice, before = Site(tmp_path, lock), np.random.default_rng(1), ""
    site.site.changes = Changes(tmp_path, site.store, Codings(site.store))

    async def matrix(scale: float) -> str:
        write(tmp_path / "made", {"w": Tensor.of(scale * dice.standard_normal((64, 64)).astype(np.float32), "w")})
        return (await site.store.adopt(tmp_path / "made", format=2)).root

    base = await matrix(1.0)
    for number in (1, 2):
        task = Release(1, number, base, await matrix(3.0), "int4", before)
        done = await site.release(task)
        assert await site.release(task) == done
        length = np.linalg.norm(decoded(site, done))
        assert 0.9 < length <= 1.0 if lock is CLIPPING else length > 50
        assert site.record.lines()[-1].result == done.result
        assert done.size == site.store.digest_info(base).size
        residual = np.fromfile(tmp_path / "residuals" / done.result, np.float32)
        assert 0 < np.linalg.norm(residual) < 0.3 * length  # of coding alone: what was clipped is many times as long
        before = done.result
    assert len(site.record.lines()) == 2
