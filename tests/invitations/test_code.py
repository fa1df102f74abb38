"""The code of an invitation: one word that is whole, mistyped, cut off, or no code, and never repeated in an error."""

import base64
import hashlib
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.invitations.code import PREFIX, CodeError, JoinCode, read_code, write_code

CODE = JoinCode(
    network=bytes(range(32)),
    key=bytes(range(100, 132)),
    organisation="hospital-c",
    name="SL-1",
    expires=1_800_000_000,
    addresses=("10.0.0.1:30307", "[fd00::1]:30307", "join.north.example:443"),
    authorities=(b"a" * 32, b"b" * 32),
    own=1,
)
TEXT = write_code(CODE)


def word(content: bytes) -> str:
    """A code with this content, whatever it is."""
    counted = len(content).to_bytes(2) + content
    return PREFIX + base64.b32encode(counted + hashlib.sha256(counted).digest()[:4]).decode().rstrip("=").lower()


def changed(**fields: object) -> str:
    return word(msgspec.msgpack.encode(list({**msgspec.structs.asdict(CODE), **fields}.values())))


def test_a_code_says_what_was_written() -> None:
    assert read_code(TEXT) == CODE
    assert read_code(changed()) == CODE


def test_a_code_is_one_word_that_a_mail_may_break_and_a_person_may_shout() -> None:
    assert TEXT.isalnum()
    broken = "\r\n".join(TEXT[at : at + 70] for at in range(0, len(TEXT), 70))
    assert read_code(f"  {broken.upper()} \n") == CODE


@pytest.mark.parametrize(
    "pasted",
    [
        f"> {TEXT[:76]}\n> {TEXT[76:]}\n",
        f">> {TEXT[:76]}\n>> {TEXT[76:]}\n",
        f"\u201c{TEXT}\u201d",
        f"`{TEXT}`",
        f"<{TEXT}>",
        f"\ufeff{TEXT[:40]}\u200b{TEXT[40:]}",
    ],
)
def test_what_mail_and_chat_programs_put_around_a_code_does_not_matter(pasted: str) -> None:
    assert read_code(pasted) == CODE


def test_a_code_that_is_cut_off_anywhere_is_named_as_such() -> None:
    for length in range(len(PREFIX), len(TEXT)):
        with pytest.raises(CodeError, match="the code is cut off"):
            read_code(TEXT[:length])


def test_one_wrong_letter_is_noticed() -> None:
    """But for the last one, of which some bits carry nothing; a wrong length is cut off, or a mistake."""
    for at in range(len(PREFIX), len(TEXT) - 1):
        for other in set("a7m") - {TEXT[at]}:
            with pytest.raises(CodeError, match="mistake" if at >= len(PREFIX) + 4 else "mistake|cut off"):
                read_code(TEXT[:at] + other + TEXT[at + 1 :])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no code of an invitation: such a code begins with swarm1"),
        ("hello", "this is no code of an invitation"),
        (f"swarm2{TEXT[6:]}", r"a version that is not known here \(swarm2\): update this program"),
        (f"{TEXT}aa", "something else behind it"),
        (f"{TEXT[:50]}1{TEXT[51:]}", "letters a to z and the digits 2 to 7"),
        (f"{TEXT[:50]}é{TEXT[51:]}", "letters a to z and the digits 2 to 7"),
        ("x" * 5000, "at most 4096 characters"),
        (word(b"\x93\x01"), "its content cannot be understood: another version of this program may have made it"),
        (changed(network=b"short"), "its content cannot be understood"),
        (changed(addresses=[]), "its content cannot be understood"),
        (changed(addresses=["10.0.0.1:1"] * 4), "its content cannot be understood"),
        (changed(organisation="../north"), "its content cannot be understood"),
    ],
)
def test_what_is_no_code_is_refused_with_the_reason_and_never_repeated(text: str, message: str) -> None:
    with pytest.raises(CodeError, match=message) as refused:
        read_code(text)
    assert TEXT[10:30] not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "SL-../x", "SL-", "SL-a/b", "CA-1", "SL-\u202e", "-SL-1", "SL-1\n"]
)
def test_a_name_that_is_no_node_s_never_becomes_a_file(name: str) -> None:
    with pytest.raises(CodeError, match="names no node"):
        read_code(changed(name=name))


@pytest.mark.parametrize("address", ["host", "host:0", "host:99999", "https://host:1", "a b:1", "user@host:1", "::1:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(CodeError, match="names an address that is none"):
        read_code(changed(addresses=[address]))


def test_a_code_does_not_show_its_key() -> None:
    shown = f"{CODE!r} {CODE} {[CODE]}"
    assert shown == "JoinCode(for 'SL-1') JoinCode(for 'SL-1') [JoinCode(for 'SL-1')]"


@given(st.text() | st.text(alphabet=string.ascii_lowercase + "234567").map(PREFIX.__add__) | st.binary().map(word))
def test_whatever_the_text_it_is_a_code_or_refused(text: str) -> None:
    try:
        found = read_code(text)
    except CodeError:
        return
    assert read_code(write_code(found)) == found
