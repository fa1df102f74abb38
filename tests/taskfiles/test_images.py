"""Build steps as instructions, the images that they use, and names of images."""

import pytest

from swarmlearning.taskfiles.definition import PullImage
from swarmlearning.taskfiles.dockerfile import Instruction, bases, instructions
from swarmlearning.taskfiles.images import full_name, matches


def test_steps_are_joined_to_instructions() -> None:
    steps = [
        "FROM python:3.11",
        " ",
        "# a comment \\",
        "run pip3 install --upgrade pip && pip3 install \\",
        "   # one between",
        "   keras  pandas \\",
        " ",
        "   protobuf==3.15.6",
        "ENV A=1",
        "CMD \\",
    ]
    assert instructions(steps) == (
        Instruction(0, "FROM", "python:3.11"),
        Instruction(3, "RUN", "pip3 install --upgrade pip && pip3 install keras  pandas protobuf==3.15.6"),
        Instruction(8, "ENV", "A=1"),
        Instruction(9, "CMD", ""),
    )
    assert instructions([]) == ()


@pytest.mark.parametrize(
    ("steps", "images"),
    [
        (["FROM python:3.11"], ("python:3.11",)),
        (["from --platform=linux/amd64 a/b@sha256:0f AS one", "FROM ONE", "FROM scratch"], ("a/b@sha256:0f",)),
        (["FROM a", "COPY --chown=1 --from=b /x /y", "COPY --from=0 /x /y"], ("a", "b")),
        (["FROM a", "RUN --mount=type=bind,from=c,target=/x ls"], ("a", "c")),
        (["FROM \\", "  a"], ("a",)),
        (["FROM a", "RUN x \\", "# no end \\", "FROM b", "FROM c"], ("a", "c")),
        (["RUN echo"], ()),
        (["ARG B=a", "FROM $B"], None),
        (["FROM ${B:-a}"], None),
        (["FROM"], None),
        (["FROM a", "COPY --from=$B /x /y"], None),
        (["# syntax=docker/dockerfile:1", "FROM a"], None),
        (["# escape=`", "FROM a"], None),
        (["FROM a", "RUN <<EOF", "FROM b", "EOF"], None),
    ],
)
def test_the_images_of_a_build_are_known(steps: list[str], images: tuple[str, ...] | None) -> None:
    assert bases(steps) == images


@pytest.mark.parametrize(
    ("pattern", "image", "fits"),
    [
        ("python", "python:3.11", True),
        ("python", "docker.io/library/python", True),
        ("docker.io/library/python:3.*", "python:3.11", True),
        ("python:latest", "python", True),
        ("python:3.*", "python", False),
        ("python", "evil.example/library/python", False),
        ("python", "pythonx", False),
        ("tensorflow/*", "tensorflow/tensorflow:2.7.0", True),
        ("tensorflow/*", "evil/tensorflow:2.7.0", False),
        ("tensorflow/*", "evil.example/tensorflow/tensorflow", False),
        ("localhost:5000/team/*", "localhost:5000/team/app:1", True),
        ("localhost/app", "localhost/app:1", True),
        ("registry.example.org/team/app@sha256:0f", "registry.example.org/team/app@sha256:0f", True),
        ("registry.example.org/team/app:1", "registry.example.org/team/app@sha256:0f", False),
        ("*", "registry.example.org/team/app:1", True),
        ("*/app:1", "registry.example.org/team/app:1", True),
    ],
)
def test_a_name_fits_a_pattern(pattern: str, image: str, fits: bool) -> None:
    assert matches(pattern, image) is fits


def test_what_a_task_pulls_has_a_full_name() -> None:
    assert full_name(PullImage("localhost:5000/team/", "app", "1.0")) == "localhost:5000/team/app:1.0"
