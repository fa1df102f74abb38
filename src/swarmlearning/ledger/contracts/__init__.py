"""The contracts: pure functions from a state, a transaction and its block to the next state or a `Rejection`."""
