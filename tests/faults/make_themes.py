"""The faults of make itself, its environment and its processes, by theme."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.faults import beside, chains, disks, environments, new_experiments, orphans, terminals, words
from tests.faults.sandbox import Row, Sandbox, Tables

Task = Callable[[], list[Row]]
CHAIN = "swiss_data_x5"  # the study whose chain of stages is disturbed


class Undisturbed(Protocol):
    """A sandbox with undisturbed results."""

    folder: Path
    tables: dict[str, Tables]
    seconds: dict[str, float]

    def copy(self, name: str) -> Sandbox:
        """Copy it with its results."""


def tasks(known: Undisturbed, *, short: bool) -> dict[str, list[Task]]:
    """Return the tasks by theme, the longest first."""
    folder = known.folder
    found: dict[str, list[Task]] = {"words": [lambda: [words.commands(folder)], lambda: [words.numbers(folder)]]}
    if short:
        return found
    tables, seconds = known.tables[CHAIN], known.seconds[CHAIN]
    found["words"].append(lambda: [words.folders(folder)])
    found["set-up"] = [
        lambda: environments.killed(environments.MOMENTS, folder),
        lambda: [environments.of_another_folder(folder)],
        lambda: [environments.changed(folder)],
        lambda: [environments.linked(folder)],
        lambda: [environments.other_files(folder)],
        lambda: [chains.own_package(known.copy("own_package"), CHAIN)],
    ]
    found["at once"] = [
        lambda: [chains.other_directions(CHAIN, ((30, 60),), folder)],
        lambda: [chains.stopped(CHAIN, tables, seconds, (0.5,), folder)],
        lambda: [chains.eight(known.tables, folder)],
    ]
    found["settings"] = [
        lambda: [chains.older_settings(known.copy("older"), CHAIN, tables)],
        lambda: [chains.future_results(known.copy("future"), CHAIN, tables)],
        lambda: [chains.stale_pictures(known.copy("stale"), CHAIN)],
    ]
    found["terminals"] = [
        lambda: [terminals.closed(CHAIN, tables, folder)],
        lambda: [terminals.notebook(known.copy("notebook"))],
        lambda: [terminals.flags(known.copy("flags"), CHAIN, tables)],
    ]
    found["damage"] = [lambda: [chains.lost_minimum(known.copy("lost_minimum"), CHAIN, tables)]]
    found["disk"] = [lambda: [disks.full_pictures(known.copy("pictures"), CHAIN)]]
    found["orphans"] = [
        lambda: [chains.killed_make(CHAIN, tables, seconds, (0.3, 0.6), folder)],
        lambda: [orphans.killed_figures(known.copy("figures"), (0.1, 2))],
        lambda: [orphans.killed_videos(Sandbox(folder / "films"), (0.1, 3))],
    ]
    found["killed"] = [lambda: beside.killed(Sandbox(folder / "beside"), CHAIN, (0.3, 0.7))]
    found["new experiment"] = [
        lambda: [new_experiments.killed(Sandbox(folder / "new"))],
        lambda: [new_experiments.ignored(Sandbox(folder / "ignored"))],
    ]
    return found
