"""Limits of bandwidth as operators give them, and which holds when: pure."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from swarmlearning.models.bandwidth import MBIT, NO_CAPS, CapError, Caps, Rates, caps_of


def at(text: str, caps: Caps) -> tuple[float, float]:
    """The limits at this time of a day, in Mbit/s."""
    rates = caps.at(datetime.strptime(f"2026-11-30 {text}", "%Y-%m-%d %H:%M:%S"))
    return rates.up / MBIT, rates.down / MBIT


@pytest.mark.parametrize(
    ("text", "up", "down"),
    [("20", 20, 20), ("10/50", 10, 50), ("0/50", 0, 50), (" 2.5 ", 2.5, 2.5), ("0.6", 0.6, 0.6), (".75", 0.75, 0.75)],
)
def test_a_limit_holds_at_any_time_in_the_directions_that_it_names(text: str, up: float, down: float) -> None:
    caps = caps_of(text)
    assert at("00:00:00", caps) == at("12:34:56", caps) == at("23:59:59", caps) == (up, down)
    assert caps.ever == Rates(int(up * MBIT), int(down * MBIT))
    assert caps


@pytest.mark.parametrize("text", ["", " ", "0", "0/0", "0@08:00-18:00,0"])
def test_a_site_without_a_limit_has_none(text: str) -> None:
    assert not caps_of(text)
    assert caps_of(text).at(datetime(2026, 11, 30)) == (0, 0)
    assert NO_CAPS.ever == (0, 0)


def test_hours_begin_and_end_to_the_minute_and_the_last_rule_is_for_the_others() -> None:
    caps = caps_of("5@08:00-18:00, 50")
    assert at("07:59:59", caps) == (50, 50)
    assert at("08:00:00", caps) == (5, 5)
    assert at("17:59:59", caps) == (5, 5)
    assert at("18:00:00", caps) == (50, 50)


def test_hours_may_go_on_until_the_next_day() -> None:
    caps = caps_of("4/8@22:30-06:15")
    assert [at(text, caps)[0] for text in ("22:29:59", "22:30:00", "00:00:00", "06:14:59", "06:15:00")] == [
        0,
        4,
        4,
        4,
        0,
    ]
    assert at("23:00:00", caps) == (4, 8)
    assert caps.ever == (4 * MBIT, 8 * MBIT)


def test_hours_may_end_and_begin_at_midnight() -> None:
    until, since = caps_of("5@18:00-24:00"), caps_of("5@24:00-06:00")
    assert [at(text, until)[0] for text in ("23:59:59", "00:00:00")] == [5, 0]
    assert [at(text, since)[0] for text in ("23:59:59", "00:00:00", "05:59:59", "06:00:00")] == [0, 5, 5, 0]
    assert at("12:00:00", caps_of("5@00:00-24:00")) == at("00:00:00", caps_of("5@00:00-24:00")) == (5, 5)


def test_of_several_rules_the_first_one_counts_whose_hours_it_is() -> None:
    caps = caps_of("1@12:00-13:00,5@08:00-18:00,0@06:00-20:00,50")
    times = ("12:30:00", "13:00:00", "19:00:00", "21:00:00")
    assert [at(text, caps)[0] for text in times] == [1, 5, 0, 50]


@pytest.mark.parametrize(
    ("night", "hours"),
    [
        (datetime(2026, 3, 29, tzinfo=UTC), 2),
        (datetime(2026, 6, 1, tzinfo=UTC), 3),
        (datetime(2026, 10, 25, tzinfo=UTC), 4),
    ],
    ids=["begin-of-summer-time", "summer", "end-of-summer-time"],
)
def test_hours_are_those_of_the_clock_on_the_wall_also_when_it_is_changed(night: datetime, hours: int) -> None:
    """From 1 to 4 h: an hour less in the night in which 2 to 3 h is left out, one more where that comes twice."""
    caps, berlin = caps_of("5@01:00-04:00"), ZoneInfo("Europe/Berlin")
    moments = [night - timedelta(hours=6) + timedelta(minutes=minute) for minute in range(18 * 60)]
    assert sum(caps.at(each.astimezone(berlin)).up == 5 * MBIT for each in moments) == hours * 60


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fast", "--max-mbit: 'fast' is not a bandwidth limit; give '20', '10/50'"),
        ("-5", "'-5' is not a bandwidth limit"),
        ("5,", "'' is not a bandwidth limit"),
        ("1.2.3", "'1.2.3' in '1.2.3' is no number"),
        ("10/", "'10/' is not a bandwidth limit"),
        ("0.5", "0.5 Mbit/s in '0.5' is out of range; give 0.6 to 1000000"),
        ("10/0.1", "0.1 Mbit/s in '10/0.1' is out of range"),
        ("9999999", "out of range"),
        ("5@8-18", "'5@8-18' is not a bandwidth limit"),
        ("5@08:00-25:00", "25:00 in '5@08:00-25:00' is not a time of day; give 00:00 to 24:00"),
        ("5@08:60-18:00", "08:60 in"),
        ("5@24:01-18:00", "24:01 in"),
        ("5@08:00-08:00", "ends when it begins; leave out the hours"),
        ("50,5@08:00-18:00", "'50' holds at any time, so no rule after it ever does; put it last"),
        (",".join(["5@08:00-18:00"] * 25), "25 rules; 24 are possible"),
        ("9" * 500, "is no number"),
    ],
)
def test_what_is_no_limit_is_refused_with_the_part_that_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(CapError) as refused:
        caps_of(text)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 400
