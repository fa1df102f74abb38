"""One row of `make bench-links`: sites behind links, a model, and what happens; written as `4x25@200`.

That is four sites with a model of 25 MB, each behind a link of 200 Mbit/s. `4x25@10/50` sends at 10 and receives at 50
Mbit/s. After commas: `rtt=100` (milliseconds between any two), `loss=1` (percent of the packets), `slow=10` (the last
site has a tenth of the others' rate), `geomedian` or `coordmedian` in place of the mean, `bfloat16`, `int8` or `int4`
(sites give changes that are coded so), `int4/int8` or `float32/int8` (and what was merged travels back so), and `kill`
(a merger is killed in the middle of a round).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from swarmlearning.choices import MergeMethod, Transfer, TransferBack
from swarmlearning.merge.coding import coded_size

MEGABYTE = 10**6
FORM = re.compile(r"(\d+)x(\d+)@([\d.]+)(?:/([\d.]+))?((?:,[a-z]+[0-9]*(?:/int8)?(?:=[\d.]+)?)*)")
METHODS: dict[str, MergeMethod] = {"mean": "mean", "coordmedian": "coordmedian", "geomedian": "geomedian"}
TRANSFERS: dict[str, tuple[Transfer, TransferBack]] = {
    "bfloat16": ("bfloat16", "float32"),
    "int8": ("int8", "float32"),
    "int4": ("int4", "float32"),
    "float32/int8": ("float32", "int8"),
    "bfloat16/int8": ("bfloat16", "int8"),
    "int8/int8": ("int8", "int8"),
    "int4/int8": ("int4", "int8"),
}
MOST_MBIT_LONG = 30.0
"""Beyond that rate a site the relay that delays packets would itself be what decides."""


class Link(NamedTuple):
    """Megabits a second that a site can send and receive."""

    up: float
    down: float

    @property
    def bytes_per_second(self) -> float:
        """Of the slower direction."""
        return min(self) * 1e6 / 8


@dataclass(frozen=True)
class Row:
    """`rtt_ms`: between any two sites, 0 for as little as the machine needs; `loss`: share of packets; `slow`: how many
    times as fast as the last site the others are."""

    nodes: int
    mb: int
    up: float
    down: float
    rtt_ms: float = 0.0
    loss: float = 0.0
    slow: float = 1.0
    method: MergeMethod = "mean"
    transfer: Transfer = "float32"
    back: TransferBack = "float32"
    kill: bool = False

    @property
    def links(self) -> list[Link]:
        """One a site."""
        others = Link(self.up, self.down)
        return [*[others] * (self.nodes - 1), Link(self.up / self.slow, self.down / self.slow)]

    @property
    def name(self) -> str:
        """As `parse` reads it."""
        rate = f"{self.up:g}" if self.up == self.down else f"{self.up:g}/{self.down:g}"
        more = [
            f",rtt={self.rtt_ms:g}" if self.rtt_ms else "",
            f",loss={100 * self.loss:g}" if self.loss else "",
            f",slow={self.slow:g}" if self.slow != 1 else "",
            f",{self.method}" if self.method != "mean" else "",
            *(f",{name}" for name, ways in TRANSFERS.items() if ways == (self.transfer, self.back)),
            ",kill" if self.kill else "",
        ]
        return f"{self.nodes}x{self.mb}@{rate}{''.join(more)}"

    @property
    def limit_s(self) -> float:
        """See `limit_seconds`: of whole models, however few bytes sites give in their place."""
        return limit_seconds(self.mb * MEGABYTE, self.links)

    @property
    def star_limit_s(self) -> float:
        """Seconds of a round in which one site merges alone, at least: it takes all models and gives as many; the
        slowest site leads at some time."""
        slowest = self.links[-1]
        return (self.nodes - 1) * self.mb * 8 * (1 / slowest.up + 1 / slowest.down)

    def at_half_the_rate(self) -> "Row":
        """The same behind links of half the rate, where the processors of this machine decide otherwise."""
        return replace(self, up=self.up / 2, down=self.down / 2)


ROWS = (
    *("4x100@50", "8x100@50", "16x100@50"),
    *("4x25@200", "8x25@200"),
    "2x25@50",
    "4x25@10/50",
    *("4x25@50", "4x25@50,slow=10", "4x25@50,geomedian", "4x25@50,kill"),
    *("4x25@30,rtt=100", "4x25@50,loss=1"),
)
"""What is measured where nothing else is asked for."""


def parse(name: str) -> Row:
    """Reads a row. Raises ValueError with what is wrong with it."""
    if not (found := FORM.fullmatch(name)):
        raise ValueError(f"{name} is no row: write it as 4x25@200 or 4x25@10/50,rtt=100 (docs/performance.md)")
    nodes, mb, up, down = int(found[1]), int(found[2]), float(found[3]), float(found[4] or found[3])
    row = Row(nodes, mb, up, down)
    for word in found[5].split(",")[1:]:
        key, _, value = word.partition("=")
        row = _with(row, key, float(value) if value else None, name)
    if row.nodes < 2 or row.mb < 1 or min(row.up, row.down) <= 0:
        raise ValueError(f"{name}: a round needs at least 2 sites, 1 MB and a link that is not cut")
    if row.kill and row.nodes < 3:
        raise ValueError(f"{name}: a merger is killed among 3 sites at least")
    if row.kill and (row.transfer, row.back) != ("float32", "float32"):
        raise ValueError(f"{name}: mergers are killed only while sites give whole models")
    if row.rtt_ms and max(row.up, row.down) > MOST_MBIT_LONG:
        raise ValueError(f"{name}: packets are delayed one by one, at {MOST_MBIT_LONG:g} Mbit/s a site at most")
    return row


def _with(row: Row, key: str, value: float | None, name: str) -> Row:
    match key, value:
        case "rtt", float() if value > 0:
            return replace(row, rtt_ms=value)
        case "loss", float() if 0 < value < 100:
            return replace(row, loss=value / 100)
        case "slow", float() if value >= 1:
            return replace(row, slow=value)
        case "kill", None:
            return replace(row, kill=True)
        case _, None if key in METHODS:
            return replace(row, method=METHODS[key])
        case _, None if key in TRANSFERS:
            transfer, back = TRANSFERS[key]
            return replace(row, transfer=transfer, back=back)
    raise ValueError(f"{name}: {key} is no property of a row, or lacks its number")


def wire_bytes(mb: int, transfer: Transfer) -> int:
    """Bytes on the wire of the values of a float32 model of `mb` megabytes; its header is not counted."""
    size = mb * MEGABYTE
    return size if transfer == "float32" else coded_size(transfer, size // 4)


def limit_seconds(size: int, links: Sequence[Link], back: int | None = None) -> float:
    """Seconds in which a model of `size` bytes can be averaged over these links, at least, whatever site merges what.

    Site i merges the share w_i of the model. It sends the rest of its own, 1 - w_i, to those who merge that, and its
    merged share to the N - 1 others; it receives as much: the share of the others' models, and the rest of the result.
    That is (1 + (N - 2) w_i) · S each way, so with r_i as the slower direction of its link it needs
    (1 + (N - 2) w_i) · S / r_i. The shares, which add up to 1, are those that make the slowest site as fast as can be.
    All sites then end at once, after 2 (N - 1) · S / Σ r_i; unless a site is so slow that S / r_i is longer: it merges
    nothing, and everybody waits for its model and its result, which flow at the same time. With equal links it is
    2 (N - 1) / N · S / R, and S / R for two sites.

    `back`: the bytes of the result, where it travels in fewer or more of them than each model, B in place of S. All
    that is sent is then (N - 1) (S + B), and a site alone moves the larger of both one way or the other; or, with so
    few sites that merging a share spares it more than that costs, (N - 1) / N · (S + B).
    """
    rates = [link.bytes_per_second for link in links]
    back = size if back is None else back
    others = len(rates) - 1
    alone = min(max(size, back), others * (size + back) / len(rates))
    return max(alone / min(rates), others * (size + back) / sum(rates))
