"""The tests that `make e2e-ui` runs, by what they show."""

from operate.table import Row

ROWS = (
    Row(
        "From two hosts to a model that three SNs have seen trained, in a browser",
        ("tests/uistory/far_hosts.py::test_a_person_does_all_of_it_in_the_browser",),
    ),
)
