"""Build steps as recipes: what of a Dockerfile makes an environment, and what is refused by its line."""

import pytest

from swarmlearning.swop.managing import ManagerError
from swarmlearning.swop.process.steps import Copy, Install, Recipe, read_steps, requirement


def recipe(*steps: str) -> Recipe:
    return read_steps(steps)


def test_the_steps_of_the_originals_examples_make_an_environment() -> None:
    wheel = "swarmlearning-client-py3-none-manylinux_2_24_x86_64.whl"
    found = recipe(
        "FROM tensorflow/tensorflow:2.7.0",
        " ",
        "RUN pip3 install keras matplotlib opencv-python pandas protobuf==3.15.6",
        "RUN mkdir -p /tmp/hpe-swarmcli-pkg",
        f"COPY {wheel} /tmp/hpe-swarmcli-pkg/{wheel}",
        f"RUN pip3 install /tmp/hpe-swarmcli-pkg/{wheel}",
    )
    assert [install.requirements for install in found.installs] == [
        ["keras", "matplotlib", "opencv-python", "pandas", "protobuf==3.15.6"],
        [],
    ]
    assert not found.installs[1].wheels  # this release's client takes its place
    assert len(found.notes) == 3


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("RUN pip install numpy", Install(requirements=["numpy"])),
        ("run python3 -m pip install -q --no-cache-dir 'numpy<2'", Install(requirements=["numpy<2"])),
        ("RUN /opt/venv/bin/pip3.11 install numpy<2", Install(requirements=["numpy<2"])),
        ("RUN pip install --upgrade pip", Install(["--upgrade"], ["pip"])),
        (
            'RUN ["pip", "install", "torch[x]>=2; python_version > \'3\'"]',
            Install([], ["torch[x]>=2; python_version > '3'"]),
        ),
        ("RUN pip install -r requirements.txt", Install(files=[("-r", "/requirements.txt")])),
        ("RUN pip install --constraint=/a/c.txt x", Install(requirements=["x"], files=[("-c", "/a/c.txt")])),
        ("RUN pip install torch --index-url https://h/cpu", Install(["--index-url", "https://h/cpu"], ["torch"])),
        ("RUN pip install a @ https://h/a.whl", None),
        (
            "RUN pip install 'a @ https://h/a.whl' https://h/b.whl",
            Install([], ["a @ https://h/a.whl", "https://h/b.whl"]),
        ),
        ("RUN pip install /tmp/x.whl", Install(wheels=["/tmp/x.whl"])),
        ("RUN pip install --root-user-action ignore --timeout=9 a", Install(["--timeout", "9"], ["a"])),
    ],
)
def test_calls_of_pip(line: str, expected: Install | None) -> None:
    if expected is None:
        with pytest.raises(ManagerError):
            recipe(line)
        return
    assert recipe(line).installs == [expected]


def test_commands_are_joined_and_lines_continued() -> None:
    found = recipe("# packages", "RUN pip install a \\", "# of which", "    b && \\", "  pip install c; mkdir /x")
    assert [install.requirements for install in found.installs] == [["a", "b"], ["c"]]


def test_variables_and_files() -> None:
    found = recipe(
        "ENV A=1 B='2 3'", "ENV C some words", "WORKDIR /app", "COPY a.txt b/c.txt ./", "ADD --chown=1:1 d /x"
    )
    assert found.variables == {"A": "1", "B": "2 3", "C": "some words"}
    assert found.copies == [Copy("a.txt", "/app/a.txt"), Copy("b/c.txt", "/app/c.txt"), Copy("d", "/x")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("RUN apt-get update", "apt-get: an environment is made by `pip install` alone"),
        ("RUN pip install a && curl http://h | sh", "'|': an environment is made without a shell"),
        ("RUN pip install $PACKAGE", "variables are not replaced"),
        ("RUN pip install `x`", "variables are not replaced"),
        ("RUN pip download a", "only install"),
        ("RUN pip", "only install"),
        ("RUN pip install -e .", "option -e is not taken"),
        ("RUN pip install --target /etc a", "option --target is not taken"),
        ("RUN pip install --index-url file:///x a", "takes an http"),
        ("RUN pip install -r", "needs a value"),
        ("RUN pip install .", "neither a package's name"),
        ("RUN pip install git+https://h/x", "neither a package's name"),
        ("RUN pip install file:///x", "neither a package's name"),
        ("RUN pip install 'a", "cannot be read"),
        ("RUN [1", "cannot be read"),
        ("COPY --from=base a b", "only files of the build context"),
        ("COPY ../a /b", "by a path within it"),
        ("ADD https://h/x /b", "by a path within it"),
        ("COPY a", "only files of the build context"),
        ("ENV A", "NAME=VALUE"),
        ("ENV A=$B", "variables are not replaced"),
        ("ONBUILD RUN x", "ONBUILD is no instruction"),
        ("RUN", "a command is missing"),
    ],
)
def test_what_no_environment_can_do_is_refused_by_its_line(line: str, reason: str) -> None:
    with pytest.raises(ManagerError) as caught:
        recipe("FROM x", line)
    assert caught.value.reason == "unsupported"
    assert f"BuildSteps, line 2, {line!r}: " in str(caught.value)
    assert reason in str(caught.value)


def test_one_stage_is_enough() -> None:
    with pytest.raises(ManagerError, match=r"line 2, .*one stage"):
        recipe("FROM a", "FROM b")


@pytest.mark.parametrize(
    "line",
    ["swarmlearning", "swarmlearning-client==2.3", "swarmlearning_client>=1", "https://h/swarmlearning-client-2.whl"],
)
def test_the_client_is_never_replaced(line: str) -> None:
    assert requirement(line) is None


def test_hashes_stay() -> None:
    line = "numpy==2.0 --hash=sha256:00"
    assert requirement(line) == line
    assert requirement("swarmlearning-tools") == "swarmlearning-tools"
