"""Calls `main` of a script several times in one process, each time with other environment variables.

    python -m swarmlearning.cli.repeat SCRIPT '{"NAME": "value"}' ...

For the demo's comparisons: PyTorch, which takes seconds to import, is imported once.
"""

import json
import os
import runpy
import sys


def main() -> None:
    """The script, then one JSON object a call."""
    script, *environments = sys.argv[1:]
    train = runpy.run_path(script)["main"]
    for environment in environments:
        os.environ.update(json.loads(environment))
        train()


if __name__ == "__main__":
    main()
