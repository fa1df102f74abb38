"""The tests that `make e2e-operate` runs, by what they show."""

from typing import NamedTuple


class Row(NamedTuple):
    """One part; `tests` are IDs of tests, without parameters."""

    part: str
    tests: tuple[str, ...]


def _in(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/{file}.py::test_{test}" for test in tests)


ROWS = (
    Row(
        "One SWCI script, three hosts, by PROCESS",
        _in("operate/far_processes", "one_script_drives_a_whole_training_of_three_hosts_by_processes"),
    ),
    Row(
        "One SWCI script, three hosts, by containers",
        _in("operate/far_containers", "one_script_drives_a_whole_training_of_three_hosts_by_containers"),
    ),
    Row(
        "License servers",
        _in(
            "system/test_licenses",
            "the_capacity_is_kept_a_lost_server_stops_nobody_and_the_secondary_serves",
            "all_kinds_of_nodes_take_tokens_and_more_contracts_and_taskrunners_need_theirs",
            "more_contracts_and_taskrunners_need_no_tokens_where_no_server_is_named",
        ),
    ),
    Row(
        "What may go wrong, by containers",
        (*_in("operate/test_pulling", "a_swop_that_is_killed_while_it_pulls_an_image_pulls_it_when_it_is_back"),),
    ),
    Row(
        "What may go wrong, by PROCESS",
        (
            *_in(
                "operate/test_faults",
                "a_swop_that_is_killed_while_it_makes_something_makes_it_when_it_is_back",
                "a_task_for_which_there_are_too_few_pairs_waits_and_says_for_what",
                "a_task_of_another_organisation_waits_for_the_approval_of_the_site",
            ),
            *_in(
                "system/test_swop",
                "a_script_that_ends_early_has_failed_at_once",
                "a_script_that_hangs_is_reported_with_its_stacks_then_ended",
                "a_swop_that_is_killed_goes_on_where_it_was",
                "a_swop_that_is_stopped_leaves_its_pairs_running",
                "a_target_tries_a_failed_part_once_more",
                "a_reset_ends_what_runs",
                "a_task_that_the_policy_does_not_allow_waits_for_the_sites_approval",
                "the_sentinel_is_killed_while_a_task_runs",
                "two_taskrunners_train_side_by_side",
            ),
        ),
    ),
)
