"""What holds for all task files, profiles and policies: none ends in anything but its meaning or a `DocumentError`."""

from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from support.operate_data import filled_in
from swarmlearning.documents.faults import DocumentError
from swarmlearning.swop.policyfile import read_policy
from swarmlearning.swop.profilefile import read_profile
from swarmlearning.taskfiles.definition import (
    Credentials,
    Definition,
    MakeSwarmUserContent,
    MakeUserContainer,
    Operation,
    PullImage,
    RunSwarm,
    SharedContent,
    TaskType,
)
from swarmlearning.taskfiles.lines import body_lines
from swarmlearning.taskfiles.taskfile import definition, read_task_file

READERS: tuple[Callable[[bytes, str], object], ...] = (read_task_file, read_profile, read_policy)
GOOD = [
    filled_in(name)
    for name in (
        "tasks/run_with_everything.yaml",
        "tasks/swarm_content.yaml",
        "tasks/pull_with_login.yaml",
        "profiles/quirks.yaml",
        "policies/everything.yaml",
    )
]
PIECES = [
    b"",
    b"&a ",
    b"*a ",
    b"- ",
    b"[",
    b"{",
    b"'",
    b": ",
    b"\t",
    b"\n",
    b"null",
    b"!!x ",
    b"<<: ",
    b"\x00",
    b"\xff",
    b"# ",
]

CHARACTERS = st.characters(exclude_categories=("Cc", "Cf", "Zl", "Zp", "Cs", "Cn"))
TEXT = st.text(CHARACTERS, min_size=1, max_size=160).filter(lambda text: "<" not in text)
SEGMENTS = st.text(CHARACTERS, min_size=1, max_size=20).filter(
    lambda text: "/" not in text and "<" not in text and text not in (".", "..")
)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=5).map(lambda parts: f"/{'/'.join(parts)}")
INNER = st.lists(SEGMENTS, min_size=1, max_size=5).map("/".join)
VOLUMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,40}", fullmatch=True)
VARIABLES = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,159}", fullmatch=True),
    st.text(CHARACTERS | st.sampled_from("\n\t"), max_size=200).map(lambda text: text.rstrip("\n").replace("<", "")),
    max_size=4,
).map(lambda variables: tuple(variables.items()))
SHARED = st.builds(SharedContent, PATHS, PATHS, st.just("BIND")) | st.builds(
    SharedContent, VOLUMES, PATHS, st.just("VOLUME")
)
OPERATIONS = st.builds(
    Operation,
    st.just("DOWNLOAD"),
    st.from_regex(r"https?://[a-z]{1,9}(/[!-;=?-~]{0,80})?", fullmatch=True),
    st.none() | INNER,
) | st.builds(Operation, st.just("EXTRACT"), INNER.filter(lambda path: "://" not in path), st.none() | INNER)
DEFINITIONS: st.SearchStrategy[tuple[TaskType, Definition]] = st.one_of(
    st.tuples(
        st.just("RUN_SWARM"),
        st.builds(
            RunSwarm,
            TEXT,
            TEXT,
            PATHS,
            VARIABLES,
            st.none() | PATHS,
            st.lists(SHARED, max_size=3, unique_by=lambda shared: shared.target).map(tuple),
        ),
    ).filter(lambda case: case[1].private_content not in [shared.target for shared in case[1].shared_content]),
    st.tuples(
        st.just("MAKE_USER_CONTAINER"),
        st.builds(MakeUserContainer, st.lists(TEXT, min_size=1, max_size=5).map(tuple), st.none() | VOLUMES),
    ),
    st.tuples(
        st.just("PULL_IMAGE"),
        st.builds(
            PullImage,
            st.from_regex(r"[a-z.]{1,20}(:[0-9]{1,5})?(/[a-z0-9]{1,9}){0,2}", fullmatch=True),
            st.from_regex(r"[a-z0-9]{1,9}(-[a-z0-9]{1,9}){0,2}", fullmatch=True),
            st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True),
            st.none() | PATHS | st.builds(Credentials, TEXT, TEXT),
        ),
    ),
    st.tuples(
        st.just("MAKE_SWARM_USER_CONTENT"),
        st.builds(
            MakeSwarmUserContent,
            st.sampled_from(["BUILDCONTENT", "SWARMCONTENT"]),
            st.lists(OPERATIONS, min_size=1, max_size=4).map(tuple),
        ),
    ),
)


@given(DEFINITIONS)
def test_a_definition_comes_back_from_the_ledgers_lines(case: tuple[TaskType, Definition]) -> None:
    task_type, what = case
    lines = body_lines(what)
    assert all(len(line) < 80 and line.isprintable() for line in lines)
    assert definition(task_type, lines) == what
    assert body_lines(definition(task_type, lines)) == lines


@settings(max_examples=40)
@given(st.sampled_from(GOOD), st.data())
def test_a_changed_file_is_read_or_refused(good: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(good)))
        end = begin + data.draw(st.integers(0, 5))
        good = good[:begin] + data.draw(st.sampled_from(PIECES)) + good[end:]
    read_or_refused(good)


@settings(max_examples=60)
@given(st.binary(max_size=200) | st.text("-[]{}:,&*!|>'\"%@`#?~ \n\tab0", max_size=60).map(str.encode))
def test_any_bytes_are_refused_with_a_place(data: bytes) -> None:
    read_or_refused(data)


def read_or_refused(data: bytes) -> None:
    for reader in READERS:
        said = refusal(partial(reader, data, "file"))
        assert all(line.startswith("file:") and line.isprintable() for line in said)


@settings(max_examples=60)
@given(st.sampled_from(["RUN_SWARM", "PULL_IMAGE"]), st.lists(st.text(max_size=79), max_size=20))
def test_lines_of_the_ledger_that_anybody_has_appended_are_read_or_refused(kind: TaskType, lines: list[str]) -> None:
    assert all(line.startswith("task body:") for line in refusal(partial(definition, kind, tuple(lines))))


def refusal(read: Callable[[], object]) -> list[str]:
    """The lines of the error; none where it is read."""
    try:
        read()
    except DocumentError as error:
        return str(error).split("\n")
    return []
