"""The command line that every stage script shares, and the scheduling of a stage's tasks."""

import argparse
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from tqdm import tqdm

from minima_volume.errors import INTERRUPTED, DataError, UserError, describe_error
from minima_volume.pipeline.settings import memory, workers
from minima_volume.pipeline.study import Repeat, Study
from minima_volume.storage import atomic, layout

EXIT_INTERRUPTED = 130
# What torch, CUDA and the system say when memory is short; torch raises it as a RuntimeError.
NO_MEMORY = re.compile(r"allocate memory|out of memory|bad_alloc|start new thread", re.IGNORECASE)
T = TypeVar("T")


@dataclass(frozen=True)
class StageRun:
    """What one call of a stage script works on."""

    study: Study
    scale: str
    repeats: list[Repeat]
    stage: str
    gather: bool

    def each(self, tasks: Sequence[Callable[[], T]], unit: str) -> list[T]:
        """Run independent tasks on the workers, with a progress bar and the time left; results in the tasks' order.

        Workers are threads of one torch thread each: torch lets go of the interpreter while it computes, the data are
        shared, and no number depends on how many there are. The first failure stops the rest.
        """
        if not tasks:
            return []
        torch.set_num_threads(1)
        pool = ThreadPoolExecutor(workers(), initializer=torch.set_num_threads, initargs=(1,))
        with tqdm(total=len(tasks), unit=f" {unit}", desc=f"{self.study.name} {self.stage}", smoothing=0.05) as bar:
            futures = [pool.submit(task) for task in tasks]
            for future in futures:
                future.add_done_callback(lambda _: bar.update())
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            pool.shutdown(cancel_futures=True)
        return [future.result() for future in futures if not future.cancelled()]

    @property
    def label(self) -> str:
        """Study and repeats for messages."""
        numbers = [repeat.number for repeat in self.repeats]
        return f"{self.study.name}, repeat {numbers[0]}" + (f" to {numbers[-1]}" if len(numbers) > 1 else "")


def _parse(studies: Mapping[str, Study]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("study", help=f"one of {', '.join(studies)}")
    parser.add_argument("--scale", default=os.environ.get("SCALE") or "paper", help="quick or paper (default)")
    parser.add_argument("--repeats", nargs="+", required=True, help="numbers of the repeats, counted from 0")
    parser.add_argument("--gather", action="store_true", help="join the repeats' tables instead of making them")
    return parser.parse_args()


def _run(studies: Mapping[str, Study], work: Callable[[StageRun], None]) -> None:
    arguments = _parse(studies)
    if arguments.study not in studies:
        raise UserError(f"Expected a study among {', '.join(studies)}, got '{arguments.study}'.")
    study = studies[arguments.study].at_scale(arguments.scale)
    wrong = [text for text in arguments.repeats if not text.isdecimal()]
    if wrong:
        raise UserError(f"Expected the numbers of repeats, counted from 0, got '{wrong[0]}'.")
    # In ascending order and each once, so that no two processes, nor one alone, wait for each other's locks for ever.
    repeats = [Repeat(study, number) for number in sorted({int(text) for text in arguments.repeats})]
    run = StageRun(study, arguments.scale, repeats, Path(sys.argv[0]).stem, arguments.gather)
    with ExitStack() as locks:
        for repeat in repeats:
            locks.enter_context(atomic.lock_folder(layout.repeat_folder(arguments.scale, study.name, repeat.number)))
        if arguments.gather:
            locks.enter_context(atomic.lock_folder(layout.study_folder(arguments.scale, study.name)))
        try:
            work(run)
        except DataError as error:
            raise DataError(f"{error} ({run.label})") from error


def _short_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError) and NO_MEMORY.search(str(error)) is not None
    )


def _memory_sentence(error: BaseException) -> str:
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"Expected enough memory, got '{what}': lower MEMORY, the MiB that each worker keeps (now {memory() >> 20}), or "
        f"THREADS, the number of workers (now {workers()}). Whole results are kept: the same command goes on from here."
    )


def main(studies: Mapping[str, Study], work: Callable[[StageRun], None]) -> None:
    """Parse the command line, do the work, and turn what goes wrong into one sentence and an exit code."""
    try:
        _run(studies, work)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr, flush=True)
        # Threads in the middle of a task hold no file open that counts; waiting for them would hold the terminal.
        os._exit(EXIT_INTERRUPTED)
    except Exception as error:
        # Nothing is swallowed: whatever it is, it is told in a sentence, the process fails, and DEBUG=1 shows where.
        if os.environ.get("DEBUG"):
            traceback.print_exc()
        sys.exit(f"error: {_memory_sentence(error) if _short_of_memory(error) else describe_error(error)}")
