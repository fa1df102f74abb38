"""Reads a SWOP's profile, with all that profiles in use look like. Pure: bytes in, `Profile` out."""

import ipaddress
import re
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

from swarmlearning.address import AddressError, require_host, with_port
from swarmlearning.documents.reading import Fields, Value, distinct, read
from swarmlearning.swop.profile import ContainerOptions, IdentityFile, NodeDefinition, PrivateData, Profile
from swarmlearning.taskfiles.fields import (
    MOUNT_TYPES,
    absolute_path,
    environment,
    filled,
    inner_path,
    labels,
    source,
)

T = TypeVar("T")

NODES = 64
INDEX = 9999
PORT = 65535
PORT_OF_SERVICE = 443

IDENTITY_KINDS: tuple[Literal["KEY", "CERT", "CACERT", "CAPATH", "SPIFFE_SOCKETPATH"], ...] = (
    "KEY",
    "CERT",
    "CACERT",
    "CAPATH",
    "SPIFFE_SOCKETPATH",
)
MANAGERS: tuple[Literal["DOCKER", "PROCESS"], ...] = ("DOCKER", "PROCESS")

_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?|[0-9]{1,9}")
_GPUS = re.compile(r"all|[0-9]+|device=[A-Za-z0-9_.:-]+(?:,[A-Za-z0-9_.:-]+)*")
_SIZE = re.compile(r"[0-9]+(?:\.[0-9]+)?[bkmgBKMG]?[bB]?")
_SPELLED = {"subpath": "subPath", "SubPath": "subPath", "sub_path": "subPath"}

_TOP = ("groupname", "taskrunner", "resourcemgr", "apisrv", "nodes")
_TOP_OPTIONAL = ("network", "policyuri", "apls", "envvars", "dns", "hangSeconds", "endHung", "witness")
_NODE = ("idx", "identity", "slhostname", "privatedata", "slenvvars", "usrhostname", "usrenvvars")
_NODE_OPTIONAL = (
    "slhostip",
    "slport",
    "slfsservice",
    "slrelay",
    "sllabels",
    "slnetworkopts",
    "usrlabels",
    "usrnetworkopts",
    "usrcontaineropts",
    "user",
    "privacypolicy",
)


def read_profile(data: bytes, name: str) -> Profile:
    """Reads a profile; `name` is the file's, for messages. Raises `DocumentError`."""
    return read(data, name, _profile)


class _Server(NamedTuple):
    host: str | None
    port: int | None
    service: str | None


def _profile(root: Value) -> Profile:
    fields = root.fields(_TOP, _TOP_OPTIONAL)
    api = _locator(fields["apisrv"], ("host", "service"), ("port",))
    license_server = _locator(fields["apls"], ("host",), ("port",))
    hang = fields["hangSeconds"].optional(lambda value: value.number(1, 1_000_000))
    manager = _manager(fields["resourcemgr"])
    if manager == "DOCKER" and "network" not in fields.found:
        root.lacks("network")
    return Profile(
        group=_matching(fields["groupname"], _GROUP, "a name of letters, digits, '_', '.' and '-'"),
        taskrunner=filled(fields["taskrunner"]),
        manager=manager,
        network=filled(fields["network"]) if manager == "DOCKER" else fields["network"].optional(filled) or "",
        nodes=_nodes(fields["nodes"]),
        api_host=api.host,
        api_port=api.port,
        api_service=api.service,
        license_host=license_server.host,
        license_port=license_server.port,
        environment=environment(fields["envvars"]),
        dns=() if fields["dns"].is_null else tuple(_ip(item) for item in fields["dns"].items(0, 10)),
        policy_uri=fields["policyuri"].optional(lambda value: filled(value, 0, 1000)),
        hang_seconds=hang,
        end_hung=fields["endHung"].optional(Value.boolean) or False,
        witness=fields["witness"].optional(Value.boolean) or False,
    )


def _manager(value: Value) -> Literal["DOCKER", "PROCESS"]:
    fields = value.fields(("mgrtype",), ("accessinfo",))
    manager = fields["mgrtype"].choice(MANAGERS)
    if not fields["accessinfo"].is_null:
        fields["accessinfo"].fields(("accesstype",))["accesstype"].choice(("FROMENV",))
    return manager


def _locator(value: Value, required: tuple[str, ...], optional: tuple[str, ...]) -> _Server:
    """A server: all of it may be left to the options of the command."""
    if value.is_null:
        return _Server(None, None, None)
    locator = value.fields(("locator",))["locator"]
    if locator.is_null:
        return _Server(None, None, None)
    fields = locator.fields(required, optional)
    return _Server(fields["host"].optional(_host), fields["port"].optional(_port), fields["service"].optional(_service))


def _nodes(value: Value) -> tuple[NodeDefinition, ...]:
    items = value.items(1, NODES)
    found = [_node(item.fields(("slnodedef",))["slnodedef"]) for item in items]
    distinct([(fields["idx"], node.index) for node, fields in found], "node")
    distinct([(fields["slport"], node.sl_port) for node, fields in found], "node")
    return tuple(node for node, _ in found)


def _node(value: Value) -> tuple[NodeDefinition, Fields]:
    fields = value.fields(_NODE, _NODE_OPTIONAL)
    node = NodeDefinition(
        index=fields["idx"].integer(0, INDEX),
        identity=_identity(fields["identity"]),
        sl_hostname=fields["slhostname"].optional(_host),
        sl_host_ip=fields["slhostip"].optional(_host),
        sl_port=fields["slport"].optional(_port),
        sl_service=fields["slfsservice"].optional(_service),
        sl_relay=fields["slrelay"].optional(Value.boolean),
        private_data=fields["privatedata"].optional(_private_data),
        sl_environment=environment(fields["slenvvars"]),
        sl_labels=labels(fields["sllabels"]),
        sl_ip=_network_ip(fields["slnetworkopts"]),
        user_hostname=fields["usrhostname"].optional(_host),
        user_environment=environment(fields["usrenvvars"]),
        user_labels=labels(fields["usrlabels"]),
        user_ip=_network_ip(fields["usrnetworkopts"]),
        options=_options(fields["usrcontaineropts"]),
        user=fields["user"].optional(lambda name: _matching(name, _USER, "the name or number of a local user")),
        privacy_policy=fields["privacypolicy"].optional(_policy_file),
    )
    if node.sl_relay and node.sl_service:
        fields["slrelay"].fault("with a relay nothing listens at slfsservice: leave out one of them")
    return node, fields


def _policy_file(value: Value) -> str:
    path = absolute_path(value)
    if path and not path.rpartition("/")[0]:
        value.fault(f"{path} lies in no folder of its own, which would be mounted with it")
    return path


def _identity(value: Value) -> tuple[IdentityFile, ...]:
    """A list of maps with the key `attribute`, or one such map, or one map of several attributes."""
    items = [] if value.is_null else value.items(0, 20) if value.is_list else [value]
    attributes = [inner for item in items for key, inner in item.entries() if _is_attribute(inner, key)]
    found = [_identity_file(attribute) for attribute in attributes]
    distinct([(fields["aType"], file.kind) for file, fields in found], "attribute")
    return tuple(file for file, _ in found)


def _is_attribute(value: Value, key: str) -> bool:
    if key != "attribute":
        value.fault("unknown key; expected attribute, with aType, mType, src and tgt")
    return key == "attribute"


def _identity_file(value: Value) -> tuple[IdentityFile, Fields]:
    fields = value.fields(("aType", "mType", "src", "tgt"), ("subPath",), _SPELLED)
    mount = fields["mType"].choice(MOUNT_TYPES)
    file = IdentityFile(
        fields["aType"].choice(IDENTITY_KINDS),
        mount,
        source(fields["src"], mount),
        absolute_path(fields["tgt"]),
        fields["subPath"].optional(inner_path),
    )
    return file, fields


def _private_data(value: Value) -> PrivateData:
    fields = value.fields(("src", "mType"))
    kind = fields["mType"].choice(MOUNT_TYPES)
    return PrivateData(source(fields["src"], kind), kind)


def _merged(value: Value, known: tuple[str, ...]) -> Fields:
    """The options of a list of maps, or of one map, together."""
    found: dict[str, Value] = {}
    items = [] if value.is_null else value.items(0, 20) if value.is_list else [value]
    for item in items:
        fields = item.fields((), known)
        for key in fields:
            if key in found:
                fields[key].fault("the option is already there")
            found[key] = fields[key]
    return Fields(found, value)


def _network_ip(value: Value) -> str | None:
    return _merged(value, ("ip",))["ip"].optional(_ip)


def _options(value: Value) -> ContainerOptions:
    fields = _merged(value, ("gpus", "device", "ipc", "shm-size", "group-add", "cap-add", "security-opt", "privileged"))
    return ContainerOptions(
        gpus=fields["gpus"].optional(lambda gpus: _matching(gpus, _GPUS, '"all" or "device=0,1"')),
        devices=_texts(fields["device"], absolute_path),
        ipc=fields["ipc"].optional(filled),
        shm_size=fields["shm-size"].optional(lambda size: _matching(size, _SIZE, "a size such as 64m or 16G")),
        groups=_texts(fields["group-add"], filled),
        capabilities=_texts(fields["cap-add"], filled),
        security=_texts(fields["security-opt"], filled),
        privileged=fields["privileged"].optional(Value.boolean) or False,
    )


def _texts(value: Value, reader: Callable[[Value], str]) -> tuple[str, ...]:
    """A list of texts, or a single one."""
    if value.is_null:
        return ()
    return tuple(reader(item) for item in value.items(0, 50)) if value.is_list else (reader(value),)


def _matching(value: Value, pattern: re.Pattern[str], what: str) -> str:
    text = filled(value).strip("\"'")
    if text and pattern.fullmatch(text) is None:
        value.fault(f"expected {what}, found {text[:60]!r}")
    return text


def _host(value: Value) -> str:
    if text := filled(value):
        try:
            require_host(text)
        except AddressError as error:
            value.fault(str(error))
    return text


def _service(value: Value) -> str:
    if text := filled(value):
        try:
            with_port(text, PORT_OF_SERVICE)
        except AddressError:
            value.fault(f"expected a service's name, or name:port, found {text[:60]!r}")
    return text


def _port(value: Value) -> int:
    return value.integer(1, PORT)


def _ip(value: Value) -> str:
    if text := filled(value):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            value.fault(f"expected an IP address, found {text[:60]!r}")
    return text
