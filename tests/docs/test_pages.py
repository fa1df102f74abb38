"""The README and the pages of docs/ are followed as they stand: each command block is run, or says what it needs."""

import re
from pathlib import Path

import pytest

from support.desk import desk
from support.pages import ABSENT, DOCS, ROOT, RUN_BY_DOCS, Block, Page, count, pages, read
from support.tools import needs

PAGES = pages()
ALONE = [
    pytest.param(page, marks=needs("etcd") if page.place == "etcd" else (), id=page.name)
    for page in PAGES
    if page.followed and page.place != "swarm"
]
ON_ONE_SWARM = [page for page in PAGES if page.followed and page.place == "swarm"]

TRAIN = """\
import numpy as np
from swarmlearning import Swarm

with Swarm({"weights": np.zeros(4)}, sync_frequency=5, min_peers=2) as swarm:
    for _ in range(20):
        swarm.step({"weights": swarm.parameters["weights"] + 1})
"""
NODES = "SN-1 SN-2 SL-1 SL-2 SWCI-1 SWOP-1"
SWARM = (
    "export SWARM_VITALS=false",  # this machine's disk may be nearly full
    f"swarm cert --out cert --host-ip 127.0.0.1 {' '.join(f'--node {node}' for node in NODES.split())}",
    "export SWARM_ID_CAPATH=cert/ca/capath SWARM_ID_CERT=cert/swci-1-cert.pem SWARM_ID_KEY=cert/swci-1-key.pem",
    "swarm sn --sentinel --ordering local --host-ip 127.0.0.1 --data-dir sn"
    " --cert cert/sn-1-cert.pem --key cert/sn-1-key.pem &",
    "swarm sl --host-ip 127.0.0.1 --sn-ip 127.0.0.1 --data-dir sl --cert cert/sl-1-cert.pem --key cert/sl-1-key.pem"
    " -- python train.py &",
    "swarm sl --host-ip 127.0.0.1 --sn-ip 127.0.0.1 --sl-fs-port 30306 --data-dir sl-2"
    " --cert cert/sl-2-cert.pem --key cert/sl-2-key.pem -- python train.py",
    "wait %2",
)
"""An SN at work, after a training of two sites; the commands that follow are an operator's."""


@needs("netns")
@pytest.mark.parametrize("page", ALONE)
def test_a_page_is_followed_as_it_stands(page: Page, tmp_path: Path) -> None:
    with desk(tmp_path) as place:
        place.follow(page)


@needs("netns")
def test_pages_for_operators_are_followed_beside_a_swarm(tmp_path: Path) -> None:
    with desk(tmp_path) as place:
        terminal = place.terminal("")
        (tmp_path / "site" / "train.py").write_text(TRAIN)
        for command in SWARM:
            answer = terminal.type(command)
            assert answer.status == 0, f"$ {command}\n{answer.output}"
        for page in ON_ONE_SWARM:
            place.follow(page)


def test_what_is_not_followed_is_run_by_another_test_or_says_what_it_needs() -> None:
    for page in PAGES:
        for block in page.shown:
            where = f"{page.name}:{block.line}"
            assert not block.needs or block.needs in ABSENT, f"{where}: needs {block.needs}"
            if by := block.run_by or page.run_by:
                assert (ROOT / by).exists(), f"{where}: there is no {by}"
                assert page.name in (ROOT / by).read_text(), f"{where}: {by} does not mention the page"
            assert block.commands, f"{where}: a console block without a command behind a prompt"
            assert not [line for _, line in block.commands if "…" in line], f"{where}: a form, not a command"
        assert page.place in ("", "swarm", "etcd"), page.name


def test_a_command_is_not_hidden_in_another_kind_of_block() -> None:
    """Those with an ellipsis are forms of commands, to be filled in."""
    for page in PAGES:
        for block in page.blocks:
            if block.language in ("text", "sh", "bash", "shell", ""):
                commands = re.findall(r"^(?:\$ .+|swarm .+|scripts/bin/.+)$", block.text, re.MULTILINE)
                literal = [command for command in commands if "…" not in command]
                assert not literal, f"{page.name}:{block.line}: {literal[0]}"
        text = (ROOT / "README.md" if page.name == "README" else DOCS / f"{page.name}.md").read_text()
        indented = re.findall(r"\n\n    ((?:[a-z-]+)?\$ .+|swarm [a-z].+)", text)
        assert not [line for line in indented if "…" not in line], page.name


def test_a_block_counts_as_run_only_where_it_is(tmp_path: Path) -> None:
    path, block = tmp_path / "page.md", "```console\n$ true\n```\n"
    remarks = ("", "<!-- needs: gpu -->\n", "<!-- run by: Makefile -->\n", f"<!-- run by: {RUN_BY_DOCS[1]} -->\n")
    path.write_text("# Page\n\n" + "\n".join(remark + block for remark in remarks))
    assert count([read(path)], lambda tool: False) == (2, {"gpu": 1}, {"Makefile": 1})
    assert count([read(path)], lambda tool: tool == "netns") == (0, {"gpu": 1, "netns": 2}, {"Makefile": 1})
    path.write_text(f"<!-- with: etcd -->\n# Page\n\n{block}")
    assert count([read(path)], lambda tool: tool == "etcd") == (0, {"etcd": 1}, {})


def test_the_makefile_runs_what_the_count_takes_for_run() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ndocs:")[2].partition("\n\n")[0]
    assert " ".join(RUN_BY_DOCS) in recipe


def test_a_page_is_read_with_its_remarks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "<!-- with: swarm -->\n# Page\n\n<!-- file: a.py -->\n```python\nx = 1\n```\n\n<!-- type: $ true -->\n\n"
        "<!-- needs: gpu -->\n```console\nnorth$ swarm \\\n    run\nsome output\n```\n"
    )
    page = read(path)
    assert (page.place, page.run_by) == ("swarm", "")
    assert [(block.language, block.file, block.needs) for block in page.blocks] == [
        ("python", "a.py", ""),
        ("", "", ""),
        ("console", "", "gpu"),
    ]
    assert page.blocks[1].commands == [("", "true")]
    assert page.blocks[2].commands == [("north", "swarm run")]
    assert page.typed == list(page.blocks[:2])
    assert isinstance(page.shown[0], Block)
