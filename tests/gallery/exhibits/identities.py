"""Certificates, keys and clocks that do not fit."""

from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from gallery.stage import Stage, Verdict, at_another_time, exhibit
from support.certs import authority_in, expired, make_workspace, not_yet_valid, stranger
from support.operating import Operator
from support.swarm import identity_options
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import to_pem


@exhibit("a certificate by a CA of the same name that nobody knows", "wrong-ca", culprit="sl-1-cert.pem", short=True)
def wrong_ca(stage: Stage) -> Verdict:
    stage.open_sn()
    foreign = identity_options(stranger(stage.directory, "SL-1"))
    capath = stage.directory / "cert" / "ca" / "capath"
    return stage.why_not("sl", {**stage.options(1), **foreign, "capath": capath})


@exhibit("a CA that the SN does not trust", "distrusted-there", culprit="the SN")
def unknown_to_sn(stage: Stage) -> Verdict:
    stage.open_sn()
    options = both_trusted(stage)
    return stage.why_not("sl", options)


def both_trusted(stage: Stage) -> dict[str, str | Path]:
    """The options of an SL of another CA, which trusts the SN's too."""
    foreign = make_workspace(stage.directory / "elsewhere", ["SL-1"], ca_name="CA-9")["SL-1"]
    authorities = [authority_in(stage.directory / "cert"), authority_in(stage.directory / "elsewhere", "CA-9")]
    both = stage.directory / "both.pem"
    both.write_text("".join(to_pem(each.certificate) for each in authorities))
    options = stage.options(1) | {"cert": foreign.cert_path, "key": foreign.key_path, "cacert": both}
    del options["capath"]
    return options


@exhibit("an SN whose CA the site lacks", "distrusted-here", culprit="the SN")
def unknown_to_site(stage: Stage) -> Verdict:
    stage.open_sn()
    foreign = make_workspace(stage.directory / "elsewhere", ["SL-1"], ca_name="CA-9")["SL-1"]
    return stage.why_not("sl", stage.options(1) | identity_options(foreign))


@exhibit("an expired certificate", "expired", culprit="sl-8-cert.pem")
def past(stage: Stage) -> Verdict:
    stage.open_sn()
    old = expired(stage.directory / "cert", "SL-8")
    return stage.why_not("sl", stage.options(1) | identity_options(old))


@exhibit("a certificate that is not valid yet", "not-yet-valid", culprit="sl-8-cert.pem")
def early(stage: Stage) -> Verdict:
    stage.open_sn()
    early = not_yet_valid(stage.directory / "cert", "SL-8")
    return stage.why_not("sl", stage.options(1) | identity_options(early))


@exhibit("another certificate's key", "key-mismatch", culprit="sl-2-key.pem")
def wrong_key(stage: Stage) -> Verdict:
    return stage.why_not("sl", stage.options(1) | {"key": stage.identities["SL-2"].key_path})


@exhibit("an SL with the certificate of an SN", "wrong-role", culprit="sn-1-cert.pem")
def wrong_role(stage: Stage) -> Verdict:
    stage.open_sn()
    return stage.why_not("sl", stage.options(1) | identity_options(stage.identities["SN-1"]))


@exhibit("a revoked certificate", "shut-out", "revoked", culprit="certificate")
def revoked(stage: Stage) -> Verdict:
    stage.open_sn()
    sl = stage.site(1)
    assert sl.ready
    operate(stage, "node", "revoke", sl.ready["uid"])
    sl.wait()
    return stage.doctor(identity="SL-1", data_dir=stage.directory / "sl-1")


def operate(stage: Stage, *words: str) -> str:
    """Runs a command of an operator."""
    return Operator(stage).does(*words)


@exhibit("a site's clock is an hour behind", "clock", culprit="clock", needs=["faketime"], short=True)
def slow_clock(stage: Stage) -> Verdict:
    stage.open_sn()
    options = stage.options(1)
    return stage.why_not("sl", options, within=at_another_time(-3600))


@exhibit("a site's clock is ten years ahead, so that all looks expired", "clock", culprit="clock", needs=["faketime"])
def years_ahead(stage: Stage) -> Verdict:
    stage.open_sn()
    return stage.why_not("sl", stage.options(1), within=at_another_time(10 * 365 * 86400))


@exhibit("the clock of another site is two minutes ahead", "clock", culprit="site-2", needs=["faketime"])
def others_clock(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1)
    stage.site(2, within=at_another_time(120))
    stage.until_sites(2)
    return stage.doctor()


@exhibit("an SN's clock is two hours ahead", "clock", "distrusted-there", culprit="clock", needs=["faketime"])
def sn_clock(stage: Stage) -> Verdict:
    stage.start_sn_at(at_another_time(7200))
    return stage.why_not("sl", stage.options(1))


@exhibit("a site whose CA has expired", "expired", culprit="CA", needs=["faketime"])
def old_ca(stage: Stage) -> Verdict:
    authority = create_authority("CA-7", 1)
    identity = make_workspace(stage.directory / "old", ["SL-1"], authority, "CA-7")["SL-1"]
    stage.open_sn()
    return stage.why_not("sl", stage.options(1) | identity_options(identity), within=at_another_time(30 * 86400))


@exhibit("a key that is encrypted, without its passphrase", "passphrase", culprit="sl-1-key.pem")
def encrypted(stage: Stage) -> Verdict:
    identity = stage.identities["SL-1"]
    secret = BestAvailableEncryption(b"open sesame")
    identity.key_path.write_bytes(identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    return stage.why_not("sl", stage.options(1))
