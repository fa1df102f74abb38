"""The SL's side of a round as a pure state machine: events in, actions out; no IO of any kind."""
