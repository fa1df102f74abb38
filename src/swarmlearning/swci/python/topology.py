"""The nodes of a network as a picture. networkx and matplotlib are imported when one is drawn."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

FIELDS: Final = ("NodeType", "HostIP", "Port", "ContainerName", "UUID", "parentUUID", "i-am-alive")
"""Names of the fields of LIST NODES, in their order."""
SHORT: Final = {"SENTINEL": "SN", "FULLNODE": "SN", "SN": "SN", "SWOP": "SW", "SL": "SL"}
INCHES: Final = (10.0, 7.0)


class Topology(NamedTuple):
    """A picture of a network, which a notebook shows; `save` writes it to a file."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str) -> None:
        """Writes the PNG to this file."""
        Path(path).write_bytes(self.png)


def nodes_of(lines: Sequence[str]) -> list[dict[str, str]]:
    """The nodes in the output of LIST NODES, by field; its first line is a heading."""
    rows = (line.split(",") for line in lines[1:])
    return [dict(zip(FIELDS, row, strict=True)) for row in rows if len(row) == len(FIELDS)]


def draw(nodes: Sequence[Mapping[str, str]], colours: Mapping[str, str], attributes: Sequence[str]) -> Topology:
    """Draws each node in the colour of its kind (`SN`, `SW` or `SL`), joined to its parent; `attributes` are fields
    that its label has besides its address. Raises `ImportError` without networkx and matplotlib."""
    import networkx
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = {each["UUID"]: SHORT.get(each["NodeType"], each["NodeType"]) for each in nodes}
    labels = {
        each["UUID"]: "\n".join((kinds[each["UUID"]], each["HostIP"], *(each[name] for name in attributes)))
        for each in nodes
    }
    graph = networkx.Graph()
    graph.add_nodes_from(kinds)
    graph.add_edges_from((each["UUID"], each["parentUUID"]) for each in nodes if each["parentUUID"] in kinds)
    figure = Figure(figsize=INCHES)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axis_off()
    networkx.draw_networkx(
        graph,
        networkx.spring_layout(graph, seed=1),
        ax=axes,
        labels=labels,
        node_color=[colours.get(kinds[uid], "#DDDDDD") for uid in graph],
        node_size=3000,
        font_size=8,
    )
    written = io.BytesIO()
    figure.savefig(written, format="png")
    return Topology(written.getvalue())
