"""Profiles that are broken in one place: each gets one message, with line, column and field."""

import pytest

from swarmlearning.documents.faults import DocumentError
from swarmlearning.swop.profilefile import read_profile

PROFILE = """\
groupname: clinic
taskrunner: defaulttaskbb.taskdb.sml.hpe
policyuri: null
resourcemgr:
  mgrtype: DOCKER
  accessinfo:
    accesstype: FROMENV
network: swarm-net
apls:
  locator:
    host: licenses.example.org
    port: 5814
apisrv:
  locator:
    host: sn1.example.org
    port: 30304
    service: null
envvars:
  - SL_LOG_LEVEL: INFO
dns: [10.0.0.2]
hangSeconds: 60
endHung: false
witness: false
nodes:
  - slnodedef:
      idx: 0
      identity:
        - attribute:
            aType: KEY
            mType: BIND
            src: /srv/certs/key.pem
            tgt: /certs/key.pem
            subPath: null
      slhostname: sl1
      slhostip: 10.0.0.11
      slport: 30305
      slfsservice: fs.sl-1.swarm:443
      privatedata:
        src: /srv/data
        mType: BIND
      slenvvars: null
      sllabels: {team: radiology}
      slnetworkopts:
        - ip: 10.0.0.21
      usrhostname: user1
      usrenvvars:
        - NODE_ID: 1
      usrlabels: null
      usrnetworkopts: null
      usrcontaineropts:
        - gpus: all
        - device: [/dev/kfd]
        - shm-size: 16G
        - privileged: false
      user: swarm-ml
  - slnodedef:
      idx: 1
      identity: []
      slhostname: null
      privatedata: null
      slenvvars: null
      usrhostname: null
      usrenvvars: null
"""

CHANGES: list[tuple[str, str]] = [
    ("groupname: clinic\n -> ", "1:1: groupname: the key is missing"),
    (
        "groupname: clinic -> groupname: Clinic No 1",
        "1:12: groupname: expected a name of letters, digits, '_', '.' and '-', found 'Clinic No 1'",
    ),
    (
        "groupname: clinic -> " + "groupname: " + "c" * 64,
        "1:12: groupname: expected a name of letters, digits, '_', '.' and '-', found",
    ),
    ("groupname: -> groupName:", "1:1: groupName: unknown key; did you mean groupname?"),
    ("taskrunner: defaulttaskbb.taskdb.sml.hpe\n -> ", "1:1: taskrunner: the key is missing"),
    ("taskrunner: defaulttaskbb.taskdb.sml.hpe -> taskrunner: ~", "2:13: taskrunner: expected text, found null"),
    ("taskrunner: defaulttaskbb.taskdb.sml.hpe -> taskrunner: [a]", "2:13: taskrunner: expected text, found a list"),
    (
        "defaulttaskbb.taskdb.sml.hpe -> " + "t" * 161,
        "2:13: taskrunner: expected text of 1 to 160 characters, found 161",
    ),
    ("policyuri: null -> policyuri: {}", "3:12: policyuri: expected text, found an empty mapping"),
    (
        "resourcemgr:\n  mgrtype: DOCKER\n  accessinfo:\n    accesstype: FROMENV\n -> ",
        "1:1: resourcemgr: the key is missing",
    ),
    (
        "mgrtype: DOCKER -> mgrtype: KUBERNETES",
        "5:12: resourcemgr.mgrtype: expected DOCKER or PROCESS, found 'KUBERNETES'",
    ),
    (
        "accesstype: FROMENV -> accesstype: TCP",
        "7:17: resourcemgr.accessinfo.accesstype: expected FROMENV, found 'TCP'",
    ),
    ("network: swarm-net\n -> ", "1:1: network: the key is missing"),
    (
        "network: swarm-net -> network: <SWARM-NETWORK>",
        "8:10: network: the placeholder <SWARM-NETWORK> has not been replaced; put your site's value there",
    ),
    (
        "host: licenses.example.org -> host: <LICENSE-SERVER-ADDRESS>",
        "11:11: apls.locator.host: the placeholder <LICENSE-SERVER-ADDRESS> has not been replaced; put your",
    ),
    ("port: 5814 -> port: x", "12:11: apls.locator.port: expected a whole number from 1 to 65535, found 'x'"),
    ("    host: sn1.example.org\n -> ", "15:5: apisrv.locator.host: the key is missing"),
    ("    service: null\n -> ", "15:5: apisrv.locator.service: the key is missing"),
    (
        "host: sn1.example.org -> host: sn1.example.org:30304",
        "15:11: apisrv.locator.host: 'sn1.example.org:30304' is neither a host name nor an IP address; a",
    ),
    (
        "host: sn1.example.org -> host: https://sn1",
        "15:11: apisrv.locator.host: 'https://sn1' is neither a host name nor an IP address; a port goes",
    ),
    ("port: 30304 -> port: 0", "16:11: apisrv.locator.port: expected a whole number from 1 to 65535, found '0'"),
    (
        "port: 30304 -> port: 65536",
        "16:11: apisrv.locator.port: expected a whole number from 1 to 65535, found '65536'",
    ),
    ("port: 30304 -> port: 0x76", "16:11: apisrv.locator.port: expected a whole number from 1 to 65535, found '0x76'"),
    ("port: 30304 -> port: 1e3", "16:11: apisrv.locator.port: expected a whole number from 1 to 65535, found '1e3'"),
    (
        "service: null -> service: a b",
        "17:14: apisrv.locator.service: expected a service's name, or name:port, found 'a b'",
    ),
    (
        "service: null -> service: sn:99999",
        "17:14: apisrv.locator.service: expected a service's name, or name:port, found 'sn:99999'",
    ),
    (
        "  - SL_LOG_LEVEL: INFO ->   - SL_LOG_LEVEL: INFO\n  - SL_LOG_LEVEL: DEBUG",
        "20:19: envvars[1].SL_LOG_LEVEL: the variable SL_LOG_LEVEL is already there",
    ),
    (
        "- SL_LOG_LEVEL: INFO -> - SL LOG: INFO",
        "19:13: envvars[0].SL LOG: 'SL LOG' cannot name a variable; use letters, digits and '_'",
    ),
    (
        "- SL_LOG_LEVEL: INFO -> - SL_LOG_LEVEL: <LEVEL>",
        "19:19: envvars[0].SL_LOG_LEVEL: the placeholder <LEVEL> has not been replaced; put your site's",
    ),
    ("- SL_LOG_LEVEL: INFO -> - null", "19:5: envvars[0]: expected one variable, as NAME: value"),
    ("dns: [10.0.0.2] -> dns: [dns.example.org]", "20:7: dns[0]: expected an IP address, found 'dns.example.org'"),
    ("dns: [10.0.0.2] -> dns: 10.0.0.2", "20:6: dns: expected a list, found '10.0.0.2'"),
    (
        "dns: [10.0.0.2] -> dns: [<Bind9-IP>]",
        "20:7: dns[0]: the placeholder <Bind9-IP> has not been replaced; put your site's value there",
    ),
    ("hangSeconds: 60 -> hangSeconds: soon", "21:14: hangSeconds: expected a number from 1 to 1000000, found 'soon'"),
    ("hangSeconds: 60 -> hangSeconds: 0", "21:14: hangSeconds: expected a number from 1 to 1000000, found '0'"),
    ("hangSeconds: 60 -> hangSeconds: .nan", "21:14: hangSeconds: expected a number from 1 to 1000000, found '.nan'"),
    ("endHung: false -> endHung: maybe", "22:10: endHung: expected true or false, found 'maybe'"),
    ("witness: false -> wittness: false", "23:1: wittness: unknown key; did you mean witness?"),
    (
        "  - slnodedef:\n      idx: 0 ->   - slnode:\n      idx: 0",
        "25:5: nodes[0].slnode: unknown key; did you mean slnodedef?",
    ),
    ("idx: 0 -> idx: -1", "26:12: nodes[0].slnodedef.idx: expected a whole number from 0 to 9999, found '-1'"),
    ("idx: 0 -> idx: first", "26:12: nodes[0].slnodedef.idx: expected a whole number from 0 to 9999, found 'first'"),
    ("idx: 0 -> idx: 0.5", "26:12: nodes[0].slnodedef.idx: expected a whole number from 0 to 9999, found '0.5'"),
    ("idx: 1 -> idx: 0", "57:12: nodes[1].slnodedef.idx: 0 is already used by another node"),
    ("      idx: 0\n -> ", "26:7: nodes[0].slnodedef.idx: the key is missing"),
    (
        "idx: 1 -> idx: 1\n      slport: 30305",
        "58:15: nodes[1].slnodedef.slport: 30305 is already used by another node",
    ),
    ("      identity: []\n -> ", "57:7: nodes[1].slnodedef.identity: the key is missing"),
    ("identity: [] -> identity: text", "58:17: nodes[1].slnodedef.identity: expected a mapping, found 'text'"),
    (
        "identity: [] -> identity: [{atribute: {}}]",
        "58:29: nodes[1].slnodedef.identity[0].atribute: unknown key; expected attribute, with aType, mType,",
    ),
    (
        "aType: KEY -> aType: KEYS",
        "29:20: nodes[0].slnodedef.identity[0].attribute.aType: expected KEY, CERT, CACERT, CAPATH or",
    ),
    (
        "aType: KEY -> aType: TOKEN",
        "29:20: nodes[0].slnodedef.identity[0].attribute.aType: expected KEY, CERT, CACERT, CAPATH or",
    ),
    (
        "mType: BIND\n            src -> mType: TMPFS\n            src",
        "30:20: nodes[0].slnodedef.identity[0].attribute.mType: expected BIND or VOLUME, found 'TMPFS'",
    ),
    (
        "src: /srv/certs/key.pem -> src: certs/key.pem",
        "31:18: nodes[0].slnodedef.identity[0].attribute.src: expected an absolute path, found",
    ),
    (
        "src: /srv/certs/key.pem -> src: /srv/../key.pem",
        "31:18: nodes[0].slnodedef.identity[0].attribute.src: the path '/srv/../key.pem' contains '..';",
    ),
    (
        "src: /srv/certs/key.pem -> src: <PROJECT-CERTS>/key.pem",
        "31:18: nodes[0].slnodedef.identity[0].attribute.src: the placeholder <PROJECT-CERTS> has not been",
    ),
    (
        "src: /srv/certs/key.pem -> " + "src: /" + "s" * 240,
        "31:18: nodes[0].slnodedef.identity[0].attribute.src: expected text of 1 to 240 characters, found 241",
    ),
    (
        "            src: /srv/certs/key.pem\n -> ",
        "29:13: nodes[0].slnodedef.identity[0].attribute.src: the key is missing",
    ),
    (
        "tgt: /certs/key.pem -> tgt: key.pem",
        "32:18: nodes[0].slnodedef.identity[0].attribute.tgt: expected an absolute path, found 'key.pem'",
    ),
    ("tgt: /certs/key.pem -> tgt: ~", "32:18: nodes[0].slnodedef.identity[0].attribute.tgt: expected text, found null"),
    (
        "subPath: null -> subPath: ../key.pem",
        "33:22: nodes[0].slnodedef.identity[0].attribute.subPath: the path '../key.pem' contains '..'; it",
    ),
    (
        "subPath: null -> subPath: a\n            subpath: b",
        "34:13: nodes[0].slnodedef.identity[0].attribute.subpath: subPath is already there in another",
    ),
    (
        "subPath: null -> subPath: null\n        - attribute: {aType: KEY, mType: VOLUME, src: certs, tgt: /b}",
        "34:30: nodes[0].slnodedef.identity[1].attribute.aType: KEY is already used by another attribute",
    ),
    (
        "subPath: null -> subPaths: null",
        "33:13: nodes[0].slnodedef.identity[0].attribute.subPaths: unknown key; did you mean subPath?",
    ),
    ("      slhostname: sl1\n -> ", "26:7: nodes[0].slnodedef.slhostname: the key is missing"),
    (
        "slhostname: sl1 -> slhostname: 'sl 1'",
        "34:19: nodes[0].slnodedef.slhostname: 'sl 1' is neither a host name nor an IP address; a port goes",
    ),
    (
        "slhostip: 10.0.0.11 -> slhostip: 10.0.0.11:30305",
        "35:17: nodes[0].slnodedef.slhostip: '10.0.0.11:30305' is neither a host name nor an IP address; a",
    ),
    (
        "slport: 30305 -> slport: 70000",
        "36:15: nodes[0].slnodedef.slport: expected a whole number from 1 to 65535, found '70000'",
    ),
    (
        "slport: 30305 -> slport: '30305 '",
        "36:15: nodes[0].slnodedef.slport: expected a whole number from 1 to 65535, found '30305 '",
    ),
    (
        "fs.sl-1.swarm:443 -> https://fs.sl-1.swarm",
        "37:20: nodes[0].slnodedef.slfsservice: expected a service's name, or name:port, found",
    ),
    ("      privatedata: null\n -> ", "57:7: nodes[1].slnodedef.privatedata: the key is missing"),
    (
        "src: /srv/data -> src: data",
        "39:14: nodes[0].slnodedef.privatedata.src: expected an absolute path, found 'data'",
    ),
    (
        "src: /srv/data -> src: <CURRENT-PATH>/data",
        "39:14: nodes[0].slnodedef.privatedata.src: the placeholder <CURRENT-PATH> has not been replaced;",
    ),
    (
        "        mType: BIND\n      slenv ->       slenv",
        "39:9: nodes[0].slnodedef.privatedata.mType: the key is missing",
    ),
    (
        "slenvvars: null\n      sl -> slenvvars: [A : B, A : C]\n      sl",
        "41:30: nodes[0].slnodedef.slenvvars[1].A: the variable A is already there",
    ),
    (
        "slenvvars: null\n      sl -> slenvvars: null\n      privacypolicy: /policy.yaml\n      sl",
        "42:22: nodes[0].slnodedef.privacypolicy: /policy.yaml lies in no folder of its own",
    ),
    ("slfss -> slrelay: yes\n      slfss", "37:16: nodes[0].slnodedef.slrelay: with a relay nothing listens"),
    (
        "slenvvars: null\n      sl -> slenvvars: [A : [B]]\n      sl",
        "41:23: nodes[0].slnodedef.slenvvars[0].A: expected text, found a list",
    ),
    (
        "sllabels: {team: radiology} -> sllabels: {team: {a: b}}",
        "42:24: nodes[0].slnodedef.sllabels.team: expected text, found a mapping",
    ),
    (
        "sllabels: {team: radiology} -> sllabels: 5",
        "42:17: nodes[0].slnodedef.sllabels: expected a list or a mapping of labels",
    ),
    (
        'sllabels: {team: radiology} -> sllabels: {"\\u202E": radiology}',
        "42:28: nodes[0].slnodedef.sllabels.'\\u202e': '\\u202e' cannot name a label; use letters, digits and",
    ),
    (
        "sllabels: {team: radiology} -> sllabels: [team: a, team: b]",
        "42:33: nodes[0].slnodedef.sllabels[1].team: the label team is already there",
    ),
    (
        "- ip: 10.0.0.21 -> - ip: 10.0.0",
        "44:15: nodes[0].slnodedef.slnetworkopts[0].ip: expected an IP address, found '10.0.0'",
    ),
    (
        "- ip: 10.0.0.21 -> - ipv4: 10.0.0.21",
        "44:11: nodes[0].slnodedef.slnetworkopts[0].ipv4: unknown key; did you mean ip?",
    ),
    (
        "- ip: 10.0.0.21 -> - ip: 10.0.0.21\n        - ip: 10.0.0.22",
        "45:15: nodes[0].slnodedef.slnetworkopts[1].ip: the option is already there",
    ),
    (
        "usrhostname: user1 -> usrhostname: {}",
        "45:20: nodes[0].slnodedef.usrhostname: expected text, found an empty mapping",
    ),
    ("      usrhostname: user1\n -> ", "26:7: nodes[0].slnodedef.usrhostname: the key is missing"),
    (
        "- NODE_ID: 1 -> - NODE_ID: {a: 1}",
        "47:20: nodes[0].slnodedef.usrenvvars[0].NODE_ID: expected text, found a mapping",
    ),
    (
        "- NODE_ID: 1 -> - 1: 1",
        "47:14: nodes[0].slnodedef.usrenvvars[0].1: '1' cannot name a variable; use letters, digits and '_'",
    ),
    (
        "- NODE_ID: 1 -> - NODE_ID: *id",
        "47:20: nodes[0].slnodedef.usrenvvars[0].NODE_ID: there is no anchor &id before this alias",
    ),
    (
        '- NODE_ID: 1 -> - NODE_ID: "\\0"',
        "47:20: nodes[0].slnodedef.usrenvvars[0].NODE_ID: the text has the invisible character U+0000;",
    ),
    (
        "gpus: all -> gpus: some",
        '51:17: nodes[0].slnodedef.usrcontaineropts[0].gpus: expected "all" or "device=0,1", found \'some\'',
    ),
    (
        "gpus: all -> gpus: device=",
        '51:17: nodes[0].slnodedef.usrcontaineropts[0].gpus: expected "all" or "device=0,1", found \'device=\'',
    ),
    ("gpus: all -> gpus: [all]", "51:17: nodes[0].slnodedef.usrcontaineropts[0].gpus: expected text, found a list"),
    ("gpus: all -> gpu: all", "51:11: nodes[0].slnodedef.usrcontaineropts[0].gpu: unknown key; did you mean gpus?"),
    (
        "device: [/dev/kfd] -> device: [kfd]",
        "52:20: nodes[0].slnodedef.usrcontaineropts[1].device[0]: expected an absolute path, found 'kfd'",
    ),
    (
        "device: [/dev/kfd] -> devices: [/dev/kfd]",
        "52:11: nodes[0].slnodedef.usrcontaineropts[1].devices: unknown key; did you mean device?",
    ),
    (
        "shm-size: 16G -> shm-size: big",
        "53:21: nodes[0].slnodedef.usrcontaineropts[2].shm-size: expected a size such as 64m or 16G, found",
    ),
    (
        "privileged: false -> privileged: 2",
        "54:23: nodes[0].slnodedef.usrcontaineropts[3].privileged: expected true or false, found '2'",
    ),
    (
        "privileged: false -> memory: 2g",
        "54:11: nodes[0].slnodedef.usrcontaineropts[3].memory: unknown key; known keys are gpus, device,",
    ),
    (
        "privileged: false -> gpus: all",
        "54:17: nodes[0].slnodedef.usrcontaineropts[3].gpus: the option is already there",
    ),
    (
        "user: swarm-ml -> user: 'Swarm ML'",
        "55:13: nodes[0].slnodedef.user: expected the name or number of a local user, found 'Swarm ML'",
    ),
    ("nodes:\n -> nodes: &n\n  - *n\n", "25:5: nodes[0]: the alias *n is used inside its own anchor"),
    (
        "  - slnodedef:\n      idx: 1 -> \t- slnodedef:\n      idx: 1",
        "56:1: the line is indented by a tab; YAML is indented by spaces only",
    ),
    ("network: swarm-net -> network: a\nnetwork: b", "9:1: network: duplicate key, already in line 8"),
    (
        "slhostname: sl1 -> slhostname: sl1\n      slhostname: sl2",
        "35:7: nodes[0].slnodedef.slhostname: duplicate key, already in line 34",
    ),
    (
        "mType: BIND\n      sl -> mType: BIND\n        mType: BIND\n      sl",
        "41:9: nodes[0].slnodedef.privatedata.mType: duplicate key, already in line 40",
    ),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_what_is_wrong_is_said_with_its_place(change: str, message: str) -> None:
    old, new = change.split(" -> ")
    assert old in PROFILE
    with pytest.raises(DocumentError) as caught:
        read_profile(PROFILE.replace(old, new, 1).encode(), "profile.yaml")
    assert str(caught.value).startswith(f"profile.yaml:{message}")
    assert len(caught.value.faults) == 1


def test_without_a_change_it_is_read() -> None:
    assert len(read_profile(PROFILE.encode(), "profile.yaml").nodes) == 2
