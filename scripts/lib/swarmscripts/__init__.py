"""The scripts that users of the original know, as front ends: `run-sn`, `run-sl`, `run-swop`, `run-swci`, `run-slm-ui`,
`stop-swarm`, `uninstall`, `gen-cert`, `swarmLogCollector`.

They start nodes in containers (docker or podman) and, on a host without a container runtime, as processes of the
`swarm` command. Only the standard library of Python 3.10 is used: a host for containers needs nothing else installed.
Data flows one way: words of the command line (`options`) are read into what a node needs (`sn`, `sl`, …), which
`containers` or `processes` carries out.
"""

VERSION = "0.1.0"
"""The version of the images that are started by default."""
