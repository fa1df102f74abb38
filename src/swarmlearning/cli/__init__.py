"""The `swarm` command. It wires the rooms below to what a person types; it decides nothing itself."""
