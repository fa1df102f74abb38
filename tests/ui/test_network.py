"""What the UI keeps of the ledger: an index that is searched, records that are resumed; and who is told of news."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.network import Ledger
from swarmlearning.ledger.bodies import CreateContract
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.history import steps
from swarmlearning.ui.network.index import FILE, Index, SlowSearchError
from swarmlearning.ui.network.news import MOST_A_USER, News, TooManyError
from swarmlearning.ui.network.records import Records


def walked(count: int = 8) -> list[Step]:
    """A chain on which nodes have joined, one a block."""
    ledger = Ledger()
    for number in range(1, count):
        ledger.join(f"sl-{number}")
    return list(steps(ledger.blocks))


class Followed:
    """Where records find the chain; it does not grow by itself."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @property
    def chain(self):  # type: ignore[no-untyped-def]
        return self._records.recorder.chain

    async def reached(self, height: int) -> None:
        await asyncio.Event().wait()


def test_blocks_are_listed_the_newest_first_and_found_by_words_and_hashes(tmp_path: Path) -> None:
    index, chain = Index(tmp_path), walked()
    for step in chain:
        index.add(step)
    assert [entry.height for entry in index.newest(8, 3)] == [7, 6, 5]
    assert [entry.height for entry in index.newest(2, 50)] == [1, 0]
    assert [entry.height for entry in index.search(["REGISTER", "sl-3"], 8, 10)] == [3]
    assert len(index.search(["register"], 8, 4)) == 4
    assert index.search(["%"], 8, 10) == index.search(["_x_"], 8, 10) == []
    assert index.find(chain[5].chain.hash[:12]) == 5
    assert index.find(chain[4].block.transactions[0].id[:16]) == 4
    assert index.find("0" * 64) is None
    index.close()


def test_a_search_keeps_nobody_from_adding_blocks_and_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, chain = Index(tmp_path), walked()
    for step in chain[:4]:
        index.add(step)
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> bool:
        begun.set()
        return go_on.wait(30)

    index._reader.create_function("like", 3, slow)
    with ThreadPoolExecutor(1) as thread:
        searching = thread.submit(index.search, ["register"], 99, 99)
        assert begun.wait(30)
        for step in chain[4:]:
            index.add(step)  # in the event loop
        index.flush()
        go_on.set()
        assert [entry.height for entry in searching.result(30)] == [3, 2, 1, 0]
    monkeypatch.setattr("swarmlearning.ui.network.index.SEARCH_SECONDS", 0.0)
    monkeypatch.setattr("swarmlearning.ui.network.index._STEPS", 1)
    with pytest.raises(SlowSearchError, match="longer than"):
        index.search(["register"], 99, 99)
    index.close()


def test_an_index_stays_begins_anew_with_block_0_and_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    one, other = walked(4), walked(3)
    index = Index(tmp_path)
    for step in one:
        index.add(step)
    index.close()
    index = Index(tmp_path)
    assert index.hash_at(3) == one[3].chain.hash
    index.add(other[0])
    assert (index.hash_at(0), index.hash_at(3)) == (other[0].chain.hash, "")
    index.close()
    (tmp_path / FILE).write_bytes(b"no database " * 1000)
    index = Index(tmp_path)
    assert index.newest(10, 10) == []
    index.close()


def test_transactions_are_found_by_the_person_for_whom_they_were_sent(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.join("op", "UI")
    ledger.send("op", CreateContract(), "study", on_behalf_of="Dr. Ada")
    index = Index(tmp_path)
    for step in steps(ledger.blocks):
        index.add(step)
    (found,) = index.search(["dr.", "ada"], 9, 10)
    assert (found.kind, found.person) == ("CreateContract", "Dr. Ada")
    assert {entry.person for entry in index.newest(9, 10)} == {"", "Dr. Ada"}
    index.close()


def test_an_index_of_an_earlier_release_is_made_anew(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as former:
        former.executescript(
            "CREATE TABLE blocks (height); CREATE TABLE transactions (height); INSERT INTO blocks VALUES (3)"
        )
    former.close()
    index = Index(tmp_path)
    assert (index.hash_at(3), index.newest(9, 9)) == ("", [])
    index.add(walked(1)[0])
    assert len(index.newest(9, 9)) == 1
    index.close()


async def test_records_go_on_where_they_ended_and_only_together_with_their_index(tmp_path: Path) -> None:
    chain, index = walked(), Index(tmp_path)
    records = Records(tmp_path, index)
    task = asyncio.ensure_future(records.keep(Followed(records)))
    await asyncio.sleep(0)
    for step in chain:
        records.add(step)
    task.cancel()
    await asyncio.wait((task,))
    index.close()
    again = Records(tmp_path, Index(tmp_path))
    head = again.read(chain[0].chain.hash)
    assert head is not None
    assert (head.hash, again.recorder.chain.hash) == (chain[-1].chain.hash, chain[-1].chain.hash)
    assert again.recorder.growth.blocks == len(chain)
    assert Records(tmp_path, again.index).read("0" * 64) is None
    again.index.close()
    (tmp_path / FILE).unlink()
    for side in tmp_path.glob(f"{FILE}-*"):
        side.unlink()
    lost = Records(tmp_path, Index(tmp_path))
    assert lost.read(chain[0].chain.hash) is None
    lost.index.close()


async def test_a_link_that_is_made_anew_goes_on_from_memory(tmp_path: Path) -> None:
    chain, records = walked(), Records(tmp_path, Index(tmp_path))
    for step in chain:
        records.add(step)
    assert records.read(chain[0].chain.hash) == chain[-1].chain
    assert records.recorder.chain == chain[-1].chain
    records.add(chain[0])  # the SN has not the head: the chain is replayed
    assert records.recorder.chain.height == 0
    records.index.close()


async def test_news_are_told_once_and_only_those_that_are_wanted() -> None:
    news = News()
    with news.subscribed("ada", ["training", "nodes"]) as page:
        news.publish("ledger", "training")
        news.publish("training", "nodes")
        assert await page.next(60) == ["nodes", "training"]
        news.publish("ledger")
        assert await page.next(0.01) == []
        news.close()
        assert await page.next(60) == []


async def test_open_pages_are_bounded_for_each_user() -> None:
    news, opened = News(), []
    for _ in range(MOST_A_USER):
        opened.append(news.subscribed("ada", ["nodes"]))
        opened[-1].__enter__()
    with pytest.raises(TooManyError), news.subscribed("ada", ["nodes"]):
        pass
    with news.subscribed("bob", ["nodes"]):
        opened.pop().__exit__(None, None, None)
    with news.subscribed("ada", ["nodes"]):
        pass
