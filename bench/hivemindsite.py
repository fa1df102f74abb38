"""One site of hivemind: averages a model with the others by its all-reduce, at every command.

It runs with an interpreter that has hivemind. The first line that it reads from the inherited socket are the addresses
of the sites that are there already; it connects to all of them, since libp2p does not pass on addresses of networks
that are set aside for tests. It answers with its own address, and each further line with the seconds, of the monotonic
clock, at which it began to average and at which it had the averaged model in memory.
"""

import argparse
import json
import socket
from time import monotonic

import hivemind
import torch

LAYERS = 4
MATCHMAKING_SECONDS = 5.0
REQUEST_SECONDS = 3.0  # as hivemind has it where nothing is said; a full group does not wait
STEP_SECONDS = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True, help="address of this site")
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--link", type=int, required=True, help="descriptor of the inherited socket")
    options = parser.parse_args()
    with socket.socket(fileno=options.link) as link, link.makefile("rwb", buffering=0) as lines:
        reached = {"host_maddrs": [f"/ip4/{options.host}/tcp/0"], "initial_peers": json.loads(lines.readline())}
        dht = hivemind.DHT(start=True, nat_port_map=False, auto_nat=False, use_relay=False, **reached)
        averager = hivemind.averaging.DecentralizedAverager(
            [torch.randn(options.size // 4 // LAYERS) for _ in range(LAYERS)],
            dht,
            start=True,
            prefix="bench",
            target_group_size=options.peers,
            min_group_size=options.peers,
            min_matchmaking_time=MATCHMAKING_SECONDS,
            request_timeout=REQUEST_SECONDS,
        )
        address = next(str(each) for each in dht.get_visible_maddrs() if options.host in str(each))
        lines.write(address.encode() + b"\n")
        while lines.readline():
            begin = monotonic()
            if averager.step(timeout=STEP_SECONDS, allow_retries=True) is None:
                raise SystemExit("hivemind has found no group, or has not averaged")
            lines.write(json.dumps([begin, monotonic()]).encode() + b"\n")
    averager.shutdown()
    dht.shutdown()


if __name__ == "__main__":
    main()
