"""Profiles: every form that is in use."""

from swarmlearning.swop.profile import IdentityFile, PrivateData
from swarmlearning.swop.profilefile import read_profile

PROFILE = b"""
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
    port: null
apisrv:
  locator:
    host: null
    port: null
    service: null
envvars:
  - http_proxy:
  - SL_LOG_LEVEL: INFO
nodes:
  - slnodedef:
      idx: 0
      identity:
        - attribute:
            aType: KEY
            mType: BIND
            src: /srv/certs/sl-1-key.pem
            tgt: /swarm-key.pem
            subPath: null
        - attribute:
            mType: VOLUME
            aType: CERT
            src: certs
            tgt: /swarm-cert.pem
            subpath: sl-1-cert.pem
      slhostname: sl1
      slhostip: null
      slport: null
      privatedata: {src: /srv/data, mType: BIND}
      slenvvars: [SL_RAM_INTENSIVE : False, A: 010, B: 12:30:45]
      usrhostname: user1
      usrenvvars: null
      usrcontaineropts:
        - gpus: "device=3,5"
"""


def test_a_profile_is_read() -> None:
    profile = read_profile(PROFILE, "profile.yaml")
    node = profile.nodes[0]
    assert (profile.group, profile.manager, profile.network) == ("clinic", "DOCKER", "swarm-net")
    assert profile.environment == {"SL_LOG_LEVEL": "INFO"}
    assert node.identity == (
        IdentityFile("KEY", "BIND", "/srv/certs/sl-1-key.pem", "/swarm-key.pem", None),
        IdentityFile("CERT", "VOLUME", "certs", "/swarm-cert.pem", "sl-1-cert.pem"),
    )
    assert node.private_data == PrivateData("/srv/data", "BIND")
    assert node.sl_environment == {"SL_RAM_INTENSIVE": "False", "A": "010", "B": "12:30:45"}
    assert node.options.gpus == "device=3,5"
