"""An operator's words become a transaction, or an error that lists what exists."""

import msgspec
import pytest
from cryptography import x509

from support.agent import TrustDomain
from support.network import Ledger
from support.play import Play
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.certificates import expires_ms, subject_of, thumbprint, to_pem
from swarmlearning.identity.identity import Bundle
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AdmitOrganisation,
    Anchor,
    ChangeMembers,
    CreateContract,
    NewOrganisation,
    Quotas,
    Reset,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
    SetQuotas,
    Stop,
    SwitchRules,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Certificate, Node, Organisation
from swarmlearning.ledger.contracts.network.bodies import MAX_UNUSED
from swarmlearning.ledger.contracts.network.members import read_anchor
from swarmlearning.ledger.contracts.network.revoking import Revoked
from swarmlearning.ledger.contracts.network.state import Policy
from swarmlearning.ledger.contracts.training.state import Charter, empty
from swarmlearning.ledger.world import World
from swarmlearning.operator import acts, organisations
from swarmlearning.operator.acts import ActError

AUTHORITY = create_authority("CA-1", 30)
ROOT = AUTHORITY.certificate
SECOND = create_authority("CA-2", 30).certificate
OTHER = to_pem(SECOND)
UIDS = ("11111111-0000", "22222222-0000", "22222222-9999")


@pytest.fixture
def world() -> World:
    """Three SLs, the latter two called alike and sharing one certificate, and one authority."""
    nodes = [
        Node(uid, "SL", name, f"CN=SL-{name}", certificate, 1, True, False, "0", {}, "ca")
        for uid, name, certificate in zip(
            UIDS, ("north", "south", "south"), ("a" * 64, "b" * 64, "b" * 64), strict=True
        )
    ]
    certificates = [
        Certificate(letter * 64, "", f"CN=SL-{name}", "SL", revoked=False, organisation="ca")
        for letter, name in (("a", "north"), ("b", "south"))
    ]
    return World().with_entries(
        {"organisation/ca": Organisation("ca", "CA", True)}
        | {f"authority/{thumbprint(ROOT)}": read_anchor("ca", Anchor(to_pem(ROOT)))}
        | {f"node/{node.uid}": node for node in nodes}
        | {f"certificate/{each.thumbprint}": each for each in certificates}
        | {
            "training/empty": empty("empty"),
            "training/busy": msgspec.structs.replace(Play("a", "b").state, name="busy"),
        }
    )


@pytest.mark.parametrize(
    ("name", "created", "match"),
    [
        ("study", CreateContract(members=("Hospital A",)), r"'Hospital A' is no ID of an organisation: .*hyphens"),
        ("study", CreateContract(observers=("Bär",)), r"'Bär' is no ID of an organisation"),
        ("study", CreateContract(structure="abc"), r"--structure takes the 64 hexadecimal digits .* not 'abc'"),
        ("study", CreateContract(members=("a",) * 65), r"cannot be created: .*members"),
        ("study", CreateContract(min_organisations=65), r"cannot be created: .*min_organisations"),
        ("study", CreateContract(min_peers=2**31), r"cannot be created: .*min_peers"),
        ("line\nbreak", CreateContract(), r"cannot be created: a name has 1 to 160 characters, none of them invisible"),
        ("", CreateContract(), r"'' cannot be created: a name has 1 to 160 characters"),
        ("x" * 161, CreateContract(), r"cannot be created: a name has 1 to 160 characters"),
    ],
)
def test_a_contract_of_a_wrong_form_is_refused_before_it_is_sent(
    world: World, name: str, created: CreateContract, match: str
) -> None:
    with pytest.raises(ActError, match=match):
        acts.create_contract(world, name, created)


def test_a_contract_without_members_is_reported_as_its_owner_s_where_the_policy_invites_nobody(world: World) -> None:
    closed = world.with_entries({"policy/take-part": Policy("take-part", "own")})
    assert acts.create_contract(world, "study", CreateContract()).done.endswith("for every organisation")
    assert (
        "for its owner alone (policy take-part is own)" in acts.create_contract(closed, "study", CreateContract()).done
    )


@pytest.mark.parametrize(("share", "expected"), [("", 0), ("0.5", 500), ("1", 1000), ("0.001", 1), ("1/4", 250)])
def test_a_share_is_stated_to_the_ledger_in_thousandths(share: str, expected: int) -> None:
    assert acts.thousandths(share) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nesterov", ("nesterov", "0.7", "0.9")),
        ("adam 0.100", ("adam", "0.1", "0.9")),
        ("nesterov 1 0", ("nesterov", "1", "0")),
    ],
)
def test_an_outer_optimizer_is_a_name_and_two_decimals_with_defaults(text: str, expected: tuple[str, str, str]) -> None:
    found = acts.outer_optimizer(text)
    assert found is not None
    assert (found.method, found.rate, found.momentum) == expected
    assert acts.outer_optimizer(" ") is None


@pytest.mark.parametrize("text", ["sgd", "nesterov 0", "nesterov 0.7 1", "adam 1e-9", "nesterov 0.7 0.9 1", "adam x"])
def test_what_is_no_outer_optimizer_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ActError, match=r"--outer-optimizer .*(give nesterov or adam|a decimal)"):
        acts.outer_optimizer(text)


@pytest.mark.parametrize("share", ["0", "-0.5", "1.1", "0.0005", "0.3333", "50"])
def test_a_share_outside_0_to_1_or_too_fine_is_refused(share: str) -> None:
    with pytest.raises(ActError, match=r"--max-organisation-weight has to be from 0\.001 to 1"):
        acts.thousandths(share)


@pytest.mark.parametrize("share", ["nan", "inf", "half", "1/0", "50%", " "])
def test_a_share_that_is_no_number_is_refused(share: str) -> None:
    with pytest.raises(ActError, match=r"is no number; give a share such as 0\.5"):
        acts.thousandths(share)


def test_a_node_is_named_by_its_name_or_by_the_beginning_of_its_uid(world: World) -> None:
    assert acts.node(world, "north").uid == UIDS[0]
    assert acts.node(world, UIDS[2]).uid == UIDS[2]
    assert acts.node(world, "22222222-9").uid == UIDS[2]


def test_a_node_that_is_called_by_the_uid_of_another_one_is_not_taken_for_it(world: World) -> None:
    known = acts.node(world, "north")
    for name in (UIDS[1], UIDS[1][:8]):
        decoy = msgspec.structs.replace(known, uid="33333333-0000", name=name)
        with_decoy = world.with_entries({"node/33333333-0000": decoy})
        assert acts.node(with_decoy, UIDS[1]).uid == UIDS[1]
    with pytest.raises(ActError, match="nodes are called '22222222'; name one by its UID: 33333333-0000 of ca, "):
        acts.node(with_decoy, UIDS[1][:8])


def test_an_error_about_many_nodes_of_one_name_lists_some_of_them(world: World) -> None:
    known = acts.node(world, "north")
    many = {f"node/{n:08}": msgspec.structs.replace(known, uid=f"{n:08}") for n in range(200)}
    with pytest.raises(ActError, match=r"201 nodes are called 'north'; .* and 185 more") as error:
        acts.node(world.with_entries(many), "north")
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("south", "2 nodes are called 'south'; name one by its UID: 22222222-0000 of ca, 22222222-9999 of ca"),
        ("222222", "there is more than one node '222222'"),
        ("333333", "there is no node '333333'; `swarm node list` shows them"),
        ("1", "there is no node '1'"),
        ("\x1b[31m", r"there is no node '\\x1b[31m'"),
    ],
)
def test_a_node_that_is_not_named_clearly_is_an_error(world: World, named: str, text: str) -> None:
    with pytest.raises(ActError) as error:
        acts.node(world, named)
    assert text in str(error.value)


def test_revoking_an_identity_that_several_nodes_have_names_all_who_are_shut_out(world: World) -> None:
    act = acts.revoke_node(world, UIDS[1])
    assert (act.contract, act.body) == ("network", Revoke("b" * 64))
    assert act.done.endswith("is revoked: south, south")


def test_a_certificate_is_not_revoked_twice(world: World) -> None:
    stored = Certificate("a" * 64, "", "CN=SL", "SL", revoked=True, organisation="ca")
    with pytest.raises(ActError, match="is revoked already"):
        acts.revoke_node(world.with_entries({f"certificate/{stored.thumbprint}": stored}), "north")


def test_the_certificates_that_an_office_has_issued_are_revoked_whether_the_ledger_knows_them_or_not(
    world: World,
) -> None:
    used, new, old = (issue(AUTHORITY, "SL-2", [], [], days).certificate for days in (9, 9, 1))
    stored = Certificate(thumbprint(used), to_pem(used), subject_of(used), "SL", revoked=False, organisation="ca")
    world = world.with_entries({f"certificate/{stored.thumbprint}": stored})

    def revoked(world: World, *certificates: x509.Certificate) -> acts.Act:
        return acts.revoke_certificates(world, certificates, ROOT, "SL-2", expires_ms([old]))

    assert revoked(world, used, old).body == Revoke(stored.thumbprint)
    assert revoked(world, used, new).body == Revoke(stored.thumbprint, "ca", (to_pem(new),))
    only = revoked(world, new)
    assert (only.body, only.done) == (
        Revoke(thumbprint(new), "ca", (to_pem(new),)),
        "CN=SL-2,OU=Swarm-Learning is revoked",
    )
    noted = Revoked(thumbprint(new), "ca", expires_ms([new]))
    done = world.with_entries(
        {
            f"certificate/{stored.thumbprint}": msgspec.structs.replace(stored, revoked=True),
            f"revoked/ca/{noted.thumbprint}": noted,
        }
    )
    for certificates in ([used, new], [old]):
        with pytest.raises(ActError, match="have expired, or are revoked on the ledger already"):
            revoked(done, *certificates)
    with pytest.raises(ActError, match=r"the CA CN=CA-2.* is no authority of this network"):
        acts.revoke_certificates(world, [new], SECOND, "SL-2", 0)


def test_more_certificates_than_one_act_may_have_are_revoked_by_further_ones(world: World) -> None:
    made = [issue(AUTHORITY, "SL-2", [], [], 9).certificate for _ in range(MAX_UNUSED + 1)]
    act = acts.revoke_certificates(world, made, ROOT, "SL-2", 0)
    assert isinstance(act.body, Revoke)
    assert len(act.body.unused) == MAX_UNUSED
    assert act.done.endswith("is revoked; 1 more certificates are left: repeat the command")


def test_an_authority_without_an_organisation_s_name_is_admitted_as_a_new_organisation(world: World) -> None:
    new = NewOrganisation("ca-2", "CN=CA-2,OU=Swarm-Learning", (Anchor(OTHER),))
    assert organisations.admit(world, [OTHER]).body == AdmitOrganisation(new)
    with pytest.raises(ActError, match="is trusted already"):
        organisations.admit(world, [to_pem(ROOT)])


def test_a_trust_domain_is_admitted_with_its_roots_which_are_followed() -> None:
    ledger = Ledger()
    ledger.join("op", "SWCI")
    domain = TrustDomain("two.example")
    roots = tuple(root.certificate for root in domain.roots)
    act = organisations.admit_domain(Bundle("two.example", roots), named="two")
    anchors = (Anchor(to_pem(roots[0]), trust_domain="two.example", bundle=True),)
    assert act.body == AdmitOrganisation(NewOrganisation("two", "two.example", anchors))
    ledger.send("op", act.body, network.CONTRACT)
    new = to_pem(TrustDomain("two.example").roots[0].certificate)
    body = organisations.add_authority(ledger.chain.world, "two", new).body
    assert body == AddAuthority("two", Anchor(new, trust_domain="two.example", bundle=True))
    other = organisations.add_authority(ledger.chain.world, "two", new, trust_domain="three.example").body
    assert other == AddAuthority("two", Anchor(new, trust_domain="three.example"))
    with pytest.raises(ActError, match="the trust domain none has no root"):
        organisations.admit_domain(Bundle("none", ()), named="none")


def test_an_organisation_is_not_admitted_under_a_name_that_is_no_id(world: World) -> None:
    with pytest.raises(ActError, match="'Hospital A!' is no ID of an organisation: up to 40 lower-case letters"):
        organisations.admit(world, [OTHER], named="Hospital A!")


def test_a_retired_organisation_is_admitted_under_its_own_id_and_another_under_another(world: World) -> None:
    retired = msgspec.structs.replace(read_anchor("ca-2", Anchor(OTHER)), active=False)
    entries = {"organisation/ca-2": Organisation("ca-2", "CA-2", False), f"authority/{retired.thumbprint}": retired}
    namesake = to_pem(create_authority("CA-2", 30).certificate)
    for pem, named in ((OTHER, "ca-2"), (namesake, "ca-2-2")):
        body = organisations.admit(world.with_entries(entries), [pem]).body
        assert isinstance(body, AdmitOrganisation)
        assert body.organisation.id == named


def test_an_organisation_is_admitted_with_the_quotas_that_are_stated_and_else_the_default(world: World) -> None:
    body = organisations.admit(world, [OTHER], quotas={"nodes": 3}).body
    assert isinstance(body, AdmitOrganisation)
    assert body.organisation.quotas == Quotas(nodes=3)


def test_quotas_that_are_not_named_stay_as_they_are(world: World) -> None:
    few = Organisation("ca", "CA", True, Quotas(nodes=3, streams=5))
    act = organisations.set_quotas(world.with_entries({"organisation/ca": few}), "ca", {"nodes": 4, "ledger_bytes": 9})
    assert act.body == SetQuotas("ca", Quotas(nodes=4, streams=5, ledger_bytes=9))
    assert act.done == "organisation ca has the quotas nodes 4, ledger bytes 9"
    with pytest.raises(ActError, match="state a quota to change, such as --nodes 64"):
        organisations.set_quotas(world, "ca", {})


def test_an_authority_is_added_to_the_organisation_that_is_named(world: World) -> None:
    act = organisations.add_authority(world, "ca", OTHER, roles=["SL"])
    assert act.body == AddAuthority("ca", Anchor(OTHER, roles=("SL",)))
    with pytest.raises(ActError, match="no organisation 'cb' takes part; there are ca"):
        organisations.add_authority(world, "cb", OTHER)


def test_an_authority_is_retired_by_its_thumbprint_and_an_organisation_with_its_only_one(world: World) -> None:
    assert organisations.retire_authority(world, thumbprint(ROOT)[:8]).body == RetireOrganisation("ca")
    two = world.with_entries({f"authority/{thumbprint(SECOND)}": read_anchor("ca", Anchor(OTHER))})
    assert organisations.retire_authority(two, thumbprint(ROOT)[:8]).body == RetireAuthority(thumbprint(ROOT))
    with pytest.raises(ActError, match="no trusted authority 'ffffffff'"):
        organisations.retire_authority(world, "ffffffff")


def test_an_authority_that_is_named_by_its_subject_is_refused_with_what_to_give_instead(world: World) -> None:
    with pytest.raises(ActError) as error:
        organisations.retire_authority(world, "CA-1")
    assert str(error.value) == (
        "there is no trusted authority 'CA-1'; `swarm trust list` shows them, the first 6 characters of a thumbprint "
        "are enough if they are unique"
    )


@pytest.mark.parametrize("pem", ["", "no certificate", OTHER + to_pem(ROOT)])
def test_a_file_that_is_not_of_one_authority_is_an_error(world: World, pem: str) -> None:
    with pytest.raises(ActError):
        organisations.admit(world, [pem])


def test_a_training_in_progress_is_reset_only_by_force(world: World) -> None:
    with pytest.raises(ActError, match="is not over"):
        acts.reset_contract(world, "busy", forced=False)
    assert acts.reset_contract(world, "busy", forced=True).body == Reset(forced=True)
    assert acts.reset_contract(world, "empty", forced=False).body == Reset(forced=False)


def test_a_training_that_is_over_is_reset_without_force(world: World) -> None:
    over = msgspec.structs.replace(Play("a", "b").state, name="done", over=True)
    act = acts.reset_contract(world.with_entries({"training/done": over}), "done", forced=False)
    assert act.done == "contract done is empty; run 2 may begin"


def test_an_unknown_contract_is_an_error_that_lists_those_there_are(world: World) -> None:
    with pytest.raises(ActError, match="there is busy, empty"):
        acts.reset_contract(world, "else", forced=False)


def test_a_training_is_stopped_once_and_only_while_it_lasts(world: World) -> None:
    assert acts.stop_contract(world, "busy").body == Stop()
    for change in ({"over": True}, {"stopping": True}):
        state = msgspec.structs.replace(acts.training(world, "busy"), **change)
        with pytest.raises(ActError, match="already"):
            acts.stop_contract(world.with_entries({"training/busy": state}), "busy")


def owned(world: World, **charter: object) -> World:
    """The world with a contract `study` of the members `ca` and `cb`, whose results the observer `cc` reads."""
    values = {"owner": "ca", "members": ("ca", "cb"), "observers": ("cc",), "observers_read_results": True} | charter
    return world.with_entries({"training/study": empty("study", charter=Charter(**values))})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (acts.Changes(members=("cd",)), ChangeMembers(("ca", "cb", "cd"), ("cc",), True)),
        (acts.Changes(without=("cb",)), ChangeMembers(("ca",), ("cc",), True)),
        (acts.Changes(observers=("cd",), without=("cc",)), ChangeMembers(("ca", "cb"), ("cd",), True)),
        (acts.Changes(observers_read_results=False), ChangeMembers(("ca", "cb"), ("cc",), False)),
    ],
)
def test_what_a_change_of_a_contract_does_not_name_stays(
    world: World, changes: acts.Changes, expected: ChangeMembers
) -> None:
    assert acts.change_contract(owned(world), "study", changes).body == expected


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (acts.Changes(without=("cz",)), r"cz cannot be removed: the contract names ca, cb as members, and cc as"),
        (acts.Changes(without=("ca", "cb")), r"a contract without members would be open to every organisation"),
        (acts.Changes(members=("Hospital B",)), r"'Hospital B' is no ID of an organisation"),
    ],
)
def test_a_change_of_a_contract_that_cannot_be_meant_is_refused(
    world: World, changes: acts.Changes, match: str
) -> None:
    with pytest.raises(ActError, match=match):
        acts.change_contract(owned(world), "study", changes)


def test_a_contract_that_nobody_owns_is_not_changed(world: World) -> None:
    with pytest.raises(ActError, match="nobody owns contract busy: it is open to every organisation"):
        acts.change_contract(world, "busy", acts.Changes(members=("ca",)))


def test_the_rules_are_switched_to_the_next_version_that_there_is() -> None:
    old = Ledger(rules=1)
    assert organisations.switch_rules(old.chain.world).body == SwitchRules(2)
    with pytest.raises(ActError, match=f"is at rules version {RULES_VERSION}, the newest that this program knows"):
        organisations.switch_rules(Ledger().chain.world)
