"""Inject the faults of stored files into a study in this process, and print a row of the report for each kind as JSON."""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from tests.faults import file_systems, huge, stages, strange, swaps, user_files
from tests.faults.sandbox import Row

KINDS: tuple[Callable[[stages.Results], Row], ...] = (
    swaps.swapped, swaps.unrecorded, swaps.company, partial(swaps.bits, rounds=3), swaps.minimum_rows, swaps.study_tables,
    strange.irregular, huge.huge, strange.links, file_systems.lock_errors, strange.odd_names, file_systems.unsynced,
    file_systems.records, huge.data_files, file_systems.few_files, user_files.trajectories,
    user_files.full_disk, user_files.together,
)  # fmt: skip
FEW = (
    swaps.swapped, swaps.unrecorded, swaps.minimum_rows, swaps.study_tables, file_systems.lock_errors, strange.odd_names,
    file_systems.unsynced, user_files.trajectories,
)  # fmt: skip


def main() -> None:
    """Run all kinds, or those that are named; `--short` runs the few of `make test`."""
    torch.set_num_threads(1)
    chosen = (
        FEW
        if sys.argv[1:] == ["--short"]
        else [kind for kind in KINDS if not sys.argv[1:] or name_of(kind) in sys.argv]
    )
    with tempfile.TemporaryDirectory(prefix="torture_") as folder:
        base = stages.undisturbed(Path(folder))
        for kind in chosen:
            print(json.dumps(asdict(kind(base))), flush=True)


def name_of(kind: Callable[[stages.Results], Row]) -> str:
    """Return the name of a kind."""
    return str(getattr(kind, "func", kind).__name__)


if __name__ == "__main__":
    main()
