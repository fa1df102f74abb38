"""What the outcome of a try means for people: whose fault it is, what is wrong, and what to do."""

from typing import Final, NamedTuple

from swarmlearning.node.outcomes import Code
from swarmlearning.proxies import Proxy

OTHER_ID: Final = "correct --network-id (swarm status shows it), or name an SN of that network (--sn-ip)"
OTHER_NETWORK: Final = "name an SN of its own network (--sn-ip), or give it another --data-dir"
"""What to do about another network than the one that is meant."""


class Meaning(NamedTuple):
    """Of a code: that of the finding, what is wrong at `{at}`, and the remedy."""

    code: str
    text: str
    remedy: str


MEANINGS: Final[dict[Code, Meaning]] = {
    "forbidden": Meaning(
        "unreachable-address",
        "{at} is an address by which a machine reaches itself, its own link or a group: no other machine can use it",
        "announce the address at which others reach it (--host-ip, or its service name behind NAT or a proxy)",
    ),
    "proxy": Meaning(
        "proxy",
        "the HTTP proxy {proxy} lets no connection to {at} through, or cannot be reached",
        "have the proxy allow CONNECT to that address and port, or except it: no_proxy={host}",
    ),
    "unknown-host": Meaning(
        "unknown-host",
        "the host name {host} is not known (DNS)",
        "correct the name, have it entered in DNS (or /etc/hosts), or use an IP address",
    ),
    "refused": Meaning(
        "refused",
        "nothing listens at {at}: the connection is refused",
        "start the node there; if it runs, correct the address or port, or the forwarding of the port to it",
    ),
    "no-route": Meaning(
        "no-route",
        "there is no way to {at}: the network says that it cannot be reached",
        "correct the route or the firewall that rejects it; is the address of a network that can be reached from here?",
    ),
    "silent": Meaning(
        "silent",
        "what is sent to {at} vanishes: a firewall drops it, or the host is off",
        "open the port in the firewalls on the way (TCP to {at}), and look whether the host runs",
    ),
    "closed": Meaning(
        "no-service",
        "{at} takes connections and ends them at once, before TLS: what listens there is no node, or a device on the "
        "way cuts TLS",
        "correct the port; where a firewall inspects TLS, except these connections",
    ),
    "no-tls": Meaning(
        "no-service",
        "what answers at {at} speaks no TLS: another program listens there",
        "correct the address and port, or end the other program",
    ),
    "stalled": Meaning(
        "stalled",
        "{at} takes connections and then does not answer: the process there is frozen, or the host is overloaded",
        "look at that process (stopped by SIGSTOP? swapping?): let it go on (kill -CONT) or start it again",
    ),
    "large-lost": Meaning(
        "large-lost",
        "small packets pass on the way to {at}, large ones vanish (an MTU black hole): a link on the way, such as a "
        "VPN or tunnel, takes only smaller packets, and the messages about that (ICMP) are dropped",
        "let ICMP `fragmentation needed` / `packet too big` pass, or set the MTU of the interface to that of the "
        "tunnel (ip link set dev … mtu 1280), or clamp the MSS in the router",
    ),
    "distrusted-here": Meaning(
        "distrusted-here",
        "the certificate shown at {at} is by no CA that is trusted here: this side lacks the CA of the other, or "
        "something on the way (a TLS-inspecting proxy) shows its own",
        "put the CA of the other side into --capath, or except these connections from inspection",
    ),
    "distrusted-there": Meaning(
        "distrusted-there",
        "{at} ends connections that show the certificate in use here: it does not trust its CA, or holds it for "
        "invalid",
        "an operator of a member admits the organisation (swarm organisation admit), or one of its own adds the CA "
        "(swarm trust add); its log names the reason",
    ),
    "expired": Meaning(
        "expired", "the certificate shown at {at} has expired", "renew the certificate of that node, or the CA above it"
    ),
    "not-yet-valid": Meaning(
        "not-yet-valid",
        "the certificate shown at {at} is not valid yet, by the clock here",
        "set the clocks of both machines right (NTP)",
    ),
    "expired-there": Meaning(
        "clock",
        "{at} holds the certificate in use here for expired, and by the clock here it is valid: the clocks differ",
        "set the clocks of both machines right (NTP): the one that is ahead is at fault",
    ),
    "another": Meaning(
        "another",
        "{at} leads to another node than the one that has announced it",
        "correct the address that it announces (--host-ip, its port, its service name), or the forwarding to it",
    ),
    "shut-out": Meaning(
        "shut-out",
        "{at} refuses the certificate in use here: it is revoked, or its CA is retired",
        "have a new certificate issued by a CA that the network trusts (swarm trust list)",
    ),
    "relay": Meaning(
        "relay",
        "the relay at {at} does not reach the node behind it",
        "look whether that node runs, and whether it reaches the relay; it connects to the relay itself",
    ),
    "no-service": Meaning(
        "no-service",
        "what answers at {at} is not the service that was announced there",
        "correct the address and port, or the reverse proxy in front of it",
    ),
}


def here(code: Code, address: str, proxy: Proxy | None, what: str = "the SN") -> tuple[str, str, str, str]:
    """The finding of a try from this machine: its code, whose fault, what is wrong, and what to do."""
    meaning = MEANINGS[code]
    named = {"at": f"{what} {address}", "host": address.rpartition(":")[0].strip("[]"), "proxy": str(proxy)}
    subject = {"proxy": f"the HTTP proxy {proxy}", "shut-out": "the certificate in use here"}.get(
        meaning.code, f"the way to {what} {address}"
    )
    if code == "another":
        return (
            "another",
            f"the address {address}",
            f"what answers at {address} is not {what}: its certificate is that of another node",
            "correct --sn-ip and --sn-api-port: the address and API port of an SN",
        )
    return meaning.code, subject, meaning.text.format(**named), meaning.remedy.format(**named)
