"""The names of the files in which a finished training leaves its model and report."""

from pathlib import Path

import msgspec

from swarmlearning.sl.results import FOLDER, FinalModel, file_stem, finished_runs, remove_older

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


def test_all_but_the_newest_runs_of_each_contract_are_removed_with_all_their_files(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    for contract, runs in (("lungs", 12), ("A b", 1)):
        for run in range(1, runs + 1):
            stem = file_stem(contract, run)
            record = FinalModel(contract, run, 3, "0" * 64, 5, f"{FOLDER}/{stem}.safetensors", "all", {}, "1" * 64, 9)
            (folder / f"{stem}.json").write_bytes(msgspec.json.encode(record))
            for end in (".safetensors", "-best.safetensors"):
                (folder / f"{stem}{end}").write_bytes(b"model")
    (folder / "notes.txt").write_text("mine")
    removed = remove_older(tmp_path, 2)
    assert [(each.contract, each.run) for each in removed] == [("lungs", run) for run in range(1, 11)]
    assert [(each.contract, each.run) for each in finished_runs(tmp_path)] == [("A b", 1), ("lungs", 11), ("lungs", 12)]
    assert len(list(folder.iterdir())) == 3 * 3 + 1
    assert remove_older(tmp_path, 2) == []
