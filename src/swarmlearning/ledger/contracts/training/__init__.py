"""The training contract: `state.py` has its theory of operation."""
