"""The first set-up: from a bare machine to a running network, step by step. No web in it."""
