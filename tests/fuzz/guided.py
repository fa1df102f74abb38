"""`python -m fuzz.guided NAME FOLDER INPUTS`: one target by Atheris, which keeps the inputs that run new lines.

An input that ends the reader in another way, takes longer than `SECONDS` or brings the process over `MEGABYTES` ends
the process with a status that is not 0; the input lies in FOLDER then.
"""

import sys
from pathlib import Path
from typing import Final

import atheris

SECONDS: Final = 10
MEGABYTES: Final = 1024
LONGEST: Final = 32 * 1024
"""Bytes of an input."""


def main(name: str, folder: Path, inputs: int) -> None:
    """Does not return."""
    with atheris.instrument_imports(include=["swarmlearning"], enable_loader_override=False):
        from fuzz.table import TARGETS
    target, corpus = TARGETS[name], folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"example-{number}").write_bytes(seed)
    limits = (f"-runs={inputs}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}")
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-artifact_prefix={folder}/", "-print_final_stats=1", *limits], target.attack
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
