"""The names of the files in which a finished training leaves its model and report."""

from swarmlearning.sl.results import file_stem

NAMES = ["a/b", "a-b", "a b", "A-b", "a\n b", "../b", "é", "é" * 300, "x" * 64, "x" * 65, "x" * 300, ".", ""]


def test_no_two_contracts_or_runs_have_files_of_the_same_name() -> None:
    stems = [file_stem(name, run) for name in NAMES for run in (1, 2)]
    assert len({stem.lower() for stem in stems}) == len(stems)  # as a file system without case has them


def test_the_name_of_a_result_file_fits_into_any_folder_and_names_its_contract_and_run() -> None:
    assert file_stem("defaultbb.cqdb.sml.hpe", 3) == "defaultbb.cqdb.sml.hpe-run3"
    assert file_stem("Chest X-ray", 1).startswith("Chest-X-ray-")
    for name in NAMES:
        stem = file_stem(name, 10**9)
        assert len(f".{stem}.safetensors.part".encode()) <= 255
        assert "/" not in stem
        assert stem.isprintable()
