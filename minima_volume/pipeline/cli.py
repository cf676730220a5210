"""The command line that all stage scripts share."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from minima_volume.cluster.engine import Cluster
from minima_volume.cluster.task import Task
from minima_volume.errors import (
    INTERRUPTED,
    DataError,
    NumericsError,
    ResultsError,
    UserError,
    describe_error,
    is_memory_error,
    print_error,
)
from minima_volume.networks.precision import use_full_float32
from minima_volume.pipeline.chain import ASKED
from minima_volume.pipeline.parallel import Threads
from minima_volume.pipeline.parent import end_with_make
from minima_volume.pipeline.provenance import record_places
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.settings import LONGEST, Settings, positive
from minima_volume.pipeline.study import Study, unknown_study
from minima_volume.storage import atomic, layout
from minima_volume.text import prepare_streams

EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class StageRun:
    """What one call of a stage script works on.

    Attributes:
        study: The study at its scale.
        scale: `quick` or `paper`.
        repeats: The repeats that were asked for, in ascending order.
        stage: The stage's name, for the progress bar.
        gather: Whether to join the tables of all repeats instead of making them.
        settings: What the user set for this run.
        engine: What computes tasks: threads of this process, or the workers of a cluster.
    """

    study: Study
    scale: str
    repeats: list[Repeat]
    stage: str
    gather: bool
    settings: Settings
    engine: Threads | Cluster

    def each(self, tasks: Sequence[Task[Any]], unit: str) -> None:
        """Compute independent tasks on this run's workers and write their results."""
        places = self.engine.each(tasks, unit=unit, label=f"{self.study.name} {self.stage}")
        if places:
            record_places(self.study, self.scale, places)

    @property
    def label(self) -> str:
        """Study and repeats, for messages."""
        numbers = [repeat.number for repeat in self.repeats]
        return f"{self.study.name}, repeat {numbers[0]}" + (f" to {numbers[-1]}" if len(numbers) > 1 else "")


def main(studies: Mapping[str, Study], work: Callable[[StageRun], None]) -> None:
    """Parse the command line, run a stage, and end with one sentence and an exit code if anything goes wrong.

    The environment is read here, once. DEBUG=1 adds the traceback of an error.

    Args:
        studies: The studies of the experiment folder by name.
        work: The stage; its name is the function's own.
    """
    prepare_streams()
    end_with_make()
    # For what happens outside the `try` below, such as a second Ctrl-C.
    sys.excepthook = print_error
    settings = Settings.from_environment({})
    try:
        settings = Settings.from_environment()
        if settings.debug:
            sys.excepthook = sys.__excepthook__
        use_full_float32()
        _run(studies, work, settings)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr, flush=True)
        # Files are written whole or not at all, so nothing is lost; waiting for the workers would block the terminal.
        os._exit(EXIT_INTERRUPTED)
    except Exception as error:  # nothing is swallowed: any error is printed, and the process fails
        if settings.debug:
            traceback.print_exc()
        sys.exit(f"error: {_memory_sentence(error, settings) if is_memory_error(error) else describe_error(error)}")


def _run(studies: Mapping[str, Study], work: Callable[[StageRun], None], settings: Settings) -> None:
    """Run a stage as the command line says, with its repeats locked against other processes."""
    arguments = _parse(studies, settings)
    if arguments.study not in studies:
        raise unknown_study(arguments.study, studies)
    study = studies[arguments.study].at_scale(arguments.scale, settings.directions, settings.levels)
    wrong = [text for text in arguments.repeats if not text.isdecimal() or len(text) > LONGEST]
    if wrong:
        raise UserError(
            f"Expected the numbers of repeats, counted from 0, got '{wrong[0]}': pass numbers such as 0 1 2."
        )
    numbers = sorted({int(text) for text in arguments.repeats})
    positive("REPEATS", str(numbers[-1] + 1))
    # Ascending and without duplicates, so that no process can wait for its own lock, nor two for each other's.
    repeats = [Repeat(study, number, settings) for number in numbers]
    engine = Cluster(settings.cluster) if settings.cluster else Threads(settings.workers)
    run = StageRun(study, arguments.scale, repeats, work.__name__, arguments.gather, settings, engine)
    with ExitStack() as locks:
        if isinstance(engine, Cluster):
            locks.callback(engine.close)
        for repeat in repeats:
            locks.enter_context(atomic.lock_folder(layout.repeat_folder(arguments.scale, study.name, repeat.number)))
        if arguments.gather:
            locks.enter_context(atomic.lock_folder(layout.study_folder(arguments.scale, study.name)))
        try:
            work(run)
        except DataError as error:
            raise DataError(f"{error} ({run.label})") from error
        except (NumericsError, ResultsError):
            # What is stored is not what its times say. So the next make runs all stages, which compare contents.
            (layout.study_folder(arguments.scale, study.name) / ASKED).unlink(missing_ok=True)
            raise


def _parse(studies: Mapping[str, Study], settings: Settings) -> argparse.Namespace:
    """Parse the command line; its help is the script's docstring."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("study", help=f"one of {', '.join(studies)}")
    parser.add_argument("--scale", default=settings.scale, help="quick or paper (default)")
    parser.add_argument("--repeats", nargs="+", required=True, help="numbers of the repeats, counted from 0")
    parser.add_argument("--gather", action="store_true", help="join the tables of all finished repeats")
    return parser.parse_args()


def _memory_sentence(error: BaseException, settings: Settings) -> str:
    """What to lower when memory ran out."""
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"Expected enough memory, got '{what}': lower MEMORY, the MiB that each worker's rays may keep (now "
        f"{settings.memory >> 20}), or THREADS, the number of workers (now {settings.workers}). Finished results are "
        "kept: run the same command again."
    )
