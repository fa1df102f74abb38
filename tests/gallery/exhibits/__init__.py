"""The set-ups, by what is broken in them; importing this adds all to `gallery.stage.EXHIBITS`."""

from gallery.exhibits import further, healthy, identities, nodes, ways

__all__ = ["further", "healthy", "identities", "nodes", "ways"]
