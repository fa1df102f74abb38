"""Guessing passwords becomes slower and slower, for a name and for an address, and nobody is shut out for good."""

from swarmlearning.ui.security.throttle import ADDRESS_FACTOR, FIRST, FORGOTTEN, FREE, LONGEST, MOST, Throttle


def failing(throttle: Throttle, times: int, user: str = "ada", address: str = "1.1.1.1", now: float = 100.0) -> None:
    for _ in range(times):
        throttle.begun(user, address, now)


def test_some_failures_are_free_then_the_wait_doubles() -> None:
    throttle = Throttle()
    failing(throttle, FREE - 1)
    assert throttle.wait("ada", "2.2.2.2", 100.0) == 0.0
    waits = []
    for _ in range(3):
        failing(throttle, 1)
        waits.append(throttle.wait("ADA", "2.2.2.2", 100.0))
    assert waits == [FIRST, 2 * FIRST, 4 * FIRST]
    assert throttle.wait("ada", "2.2.2.2", 100.0 + 4 * FIRST) == 0.0
    assert throttle.wait("bob", "1.1.1.1", 100.0) == 0.0


def test_the_wait_has_an_end_and_all_is_forgotten_after_a_while() -> None:
    throttle = Throttle()
    failing(throttle, 10_000)
    assert throttle.wait("ada", "", 100.0) == LONGEST
    assert throttle.wait("ada", "1.1.1.1", 100.0 + FORGOTTEN) == 0.0
    failing(throttle, 1, now=100.0 + FORGOTTEN)
    assert throttle.wait("ada", "1.1.1.1", 100.0 + FORGOTTEN) == 0.0


def test_who_guesses_from_elsewhere_shuts_no_user_out_who_was_let_in_before() -> None:
    throttle = Throttle()
    throttle.begun("Ada", "1.1.1.1", 100.0)
    throttle.succeeded("Ada", "1.1.1.1")
    failing(throttle, 10_000, address="6.6.6.6")
    assert throttle.wait("ada", "2.2.2.2", 100.0) == LONGEST
    assert throttle.wait("ada", "1.1.1.1", 100.0) == 0.0
    throttle.begun("ada", "1.1.1.1", 100.0)
    throttle.succeeded("ada", "1.1.1.1")
    assert throttle.wait("ada", "6.6.6.6", 100.0) == LONGEST  # its guesses are not forgotten by that
    failing(throttle, FREE)
    assert throttle.wait("ada", "1.1.1.1", 100.0) == FIRST


def test_an_address_that_tries_many_names_waits_too() -> None:
    throttle = Throttle()
    for number in range(FREE * ADDRESS_FACTOR):
        throttle.begun(f"user-{number}", "6.6.6.6", 100.0)
    assert throttle.wait("somebody else", "6.6.6.6", 100.0) == FIRST
    assert throttle.wait("somebody else", "7.7.7.7", 100.0) == 0.0
    throttle.succeeded("somebody else", "7.7.7.7")
    assert throttle.wait("somebody else", "6.6.6.6", 100.0) == FIRST


def test_a_login_ends_the_wait_of_its_user() -> None:
    throttle = Throttle()
    failing(throttle, FREE + 2)
    throttle.succeeded("Ada", "1.1.1.1")
    assert throttle.wait("ada", "2.2.2.2", 100.0) == 0.0


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    throttle = Throttle()
    failing(throttle, FREE, user="first", address="")
    for number in range(MOST):
        throttle.begun(f"user-{number}", str(number), 100.0)
    assert throttle.wait("first", "x", 100.0) == 0.0
    assert len(throttle._users) == len(throttle._addresses) == MOST


def test_what_was_not_tried_or_was_right_counts_no_more() -> None:
    throttle = Throttle()
    for _ in range(FREE * ADDRESS_FACTOR):
        throttle.begun("ada", "6.6.6.6", 100.0)
        throttle.succeeded("ada", "6.6.6.6")
        throttle.begun("bob", "6.6.6.6", 100.0)
        throttle.unanswered("bob", "6.6.6.6")
    assert throttle.wait("ada", "6.6.6.6", 100.0) == throttle.wait("bob", "6.6.6.6", 100.0) == 0.0
