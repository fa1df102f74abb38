from swarmlearning.tensors.structure import Spec, describe_difference, structure_digest

MODEL: list[Spec] = [("b", "F32", (2, 3)), ("a", "I64", ()), ("é", "BF16", (0,))]


def test_the_structure_digest_does_not_depend_on_the_order_of_the_tensors() -> None:
    assert structure_digest(MODEL) == structure_digest(MODEL[::-1]) == structure_digest(iter(MODEL))


def test_the_structure_digest_never_changes_between_versions() -> None:
    # On the ledger: a change of this value makes old contracts unreadable.
    assert structure_digest(MODEL) == "a1a42572ea4b75eab08e88675115acc255bf51d1ecb09b120fc0cb962f35800f"


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
