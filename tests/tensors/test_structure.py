import pytest

from swarmlearning.tensors.structure import (
    Roles,
    Spec,
    Structure,
    describe_difference,
    describe_roles,
    stepped,
    structure_digest,
)

MODEL: list[Spec] = [("b", "F32", (2, 3)), ("a", "I64", ()), ("é", "BF16", (0,))]
ROLES: Roles = {"b": "parameter", "a": "buffer", "é": "frozen"}


def test_the_structure_digest_does_not_depend_on_the_order_of_the_tensors() -> None:
    assert structure_digest(MODEL) == structure_digest(MODEL[::-1]) == structure_digest(iter(MODEL))


def test_the_structure_digest_never_changes_between_versions() -> None:
    # On the ledger: a change of this value makes old contracts unreadable.
    assert structure_digest(MODEL) == "a1a42572ea4b75eab08e88675115acc255bf51d1ecb09b120fc0cb962f35800f"


def test_the_structure_digest_with_roles_never_changes_between_versions() -> None:
    assert structure_digest(MODEL, ROLES) == "8d149fb4fea612bc93fee3db588b3d76dd3202e58d029e5c1b1f5e051c2d9b10"


def test_roles_are_part_of_the_structure_digest_where_there_are_any() -> None:
    others: list[Roles] = [{}, ROLES, {**ROLES, "b": "frozen"}, {**ROLES, "a": "parameter"}]
    assert len({structure_digest(MODEL, roles) for roles in others}) == len(others)
    assert structure_digest(MODEL, {}) == structure_digest(MODEL) == structure_digest(MODEL, {"another": "parameter"})
    assert structure_digest(MODEL, ROLES) == structure_digest(MODEL[::-1], ROLES)


@pytest.mark.parametrize("roles", [{}, ROLES])
def test_a_structure_is_read_as_it_was_written(roles: Roles) -> None:
    made = Structure(tuple(MODEL), roles)
    read = Structure.parse(made.text)
    assert read == Structure(tuple(sorted(MODEL)), roles)
    assert read.digest == made.digest == structure_digest(MODEL, roles)


@pytest.mark.parametrize("text", ['"w" F32', '"w" F32 [2] trained', "w F32 [2]", '"w" F32 [-]', "\n"])
def test_another_text_is_no_structure(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as documented; texts are those of the JSON decoder
        Structure.parse(text)


def test_only_parameters_of_floats_are_stepped() -> None:
    specs: list[Spec] = [(dtype, dtype, (2,)) for dtype in ("F64", "F32", "BF16", "F16", "C64", "I64", "BOOL")]
    trained: Roles = {dtype: "parameter" for dtype, _, _ in specs}
    assert stepped(Structure(tuple(specs), trained)) == {"F64", "F32", "BF16", "F16"}
    assert stepped(Structure(tuple(specs), {**trained, "F64": "buffer", "F32": "frozen"})) == {"BF16", "F16"}


def test_tensors_without_a_role_are_named_where_one_is_needed() -> None:
    with pytest.raises(ValueError, match="the roles of these tensors are not stated: 'b', 'é'"):
        stepped(Structure(tuple(MODEL), {"a": "buffer"}))


def test_differences_between_roles_are_named() -> None:
    assert describe_roles(ROLES, dict(ROLES)) == describe_roles({}, {}) == ""
    assert describe_roles(ROLES, {"a": "parameter", "b": "parameter"}) == (
        "'a' is parameter, expected buffer; 'é' is of no stated role, expected frozen"
    )
    many: Roles = {f"t{index}": "buffer" for index in range(9)}
    assert describe_roles({}, many).endswith("'t4' is buffer, expected no stated role; and 4 more")


def test_every_change_of_name_dtype_or_shape_changes_the_structure_digest() -> None:
    others: list[list[Spec]] = [
        MODEL[1:],
        [*MODEL, ("c", "F32", ())],
        [("x", "F32", (2, 3)), *MODEL[1:]],
        [("b", "F64", (2, 3)), *MODEL[1:]],
        [("b", "F32", (3, 2)), *MODEL[1:]],
        [("b", "F32", (6,)), *MODEL[1:]],
    ]
    assert len({structure_digest(model) for model in [MODEL, *others]}) == 1 + len(others)
    assert all(describe_difference(MODEL, other) for other in others)


def test_equal_structures_have_no_difference() -> None:
    assert describe_difference(MODEL, reversed(MODEL)) == ""


def test_each_kind_of_difference_between_two_structures_is_described() -> None:
    theirs: list[Spec] = [("b", "F64", (2, 3)), ("a", "I64", (1,)), ("new", "U8", ())]
    assert describe_difference(MODEL, theirs) == (
        "'a' has shape [1], expected []; 'b' has dtype F64, expected F32; 'new' is extra; 'é' is missing"
    )


def test_the_description_of_many_differences_names_five_and_counts_the_rest() -> None:
    theirs: list[Spec] = [(f"t{index}", "U8", ()) for index in range(9)]
    text = describe_difference([], theirs)
    assert text.startswith("'t0' is extra; ")
    assert text.endswith("'t4' is extra; and 4 more")


def test_a_very_long_name_does_not_make_the_description_of_a_difference_long() -> None:
    assert len(describe_difference([], [("n" * 10**6, "U8", ())])) < 200
