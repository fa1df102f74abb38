"""Long work of the UI: how far it is, what came of it, and its end on request."""
