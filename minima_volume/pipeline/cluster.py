"""Start a cluster, run a command with its address in CLUSTER, and end the cluster with the command.

`make` runs this once around everything that it was asked for, so that all stages and studies share one set of workers.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from minima_volume.cluster.engine import DEATHS
from minima_volume.errors import INTERRUPTED, UserError, describe_error, extra
from minima_volume.pipeline import settings
from minima_volume.pipeline.parent import end_what_follows_with_parent, end_with_make
from minima_volume.text import prepare_streams

# Pages about the cluster are for this machine alone, on any free port.
LOOPBACK, DASHBOARD = "127.0.0.1", "127.0.0.1:0"
REPLACE = 5.0  # seconds between looks whether jobs have ended
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
# What one worker may use besides the rays: Python, torch, samples and networks.
JOB_MEMORY = "4GiB"
CONFIGURATION = {
    "distributed.scheduler.allowed-failures": DEATHS - 1,
    # A task waits at the scheduler, not behind another one on a worker that may end.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.deploy.lost-worker-timeout": "5s",
}


@contextmanager
def started(kind: str, environ: Mapping[str, str] = os.environ) -> Iterator[Any]:
    """Start a cluster, and end it after the block.

    Args:
        kind: One of `settings.STARTED`.
        environ: Settings by name.

    Yields:
        The Dask cluster.

    Raises:
        UserError: A setting is invalid, Dask is not installed, or the scheduler of jobs cannot be called.
    """
    with extra("cluster", f"CLUSTER={kind}"):
        import dask
        import dask_jobqueue
        import distributed
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(CONFIGURATION):
        cluster = _slurm(dask_jobqueue, environ) if kind == "slurm" else _local(distributed, environ)
        try:
            yield cluster
        finally:
            # What has not ended by then ends with this process.
            with suppress(TimeoutError):
                cluster.close(timeout=30)


def worker_variables(environ: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the variables of every worker on this machine: one sees one GPU with DEVICE=cuda, else there are THREADS.

    Args:
        environ: Settings by name.

    Raises:
        UserError: A setting is invalid, or names a device that this machine lacks.
    """
    device = settings.device(environ)
    if device.type == "cuda":
        import torch

        return [{"CUDA_VISIBLE_DEVICES": str(number)} for number in range(torch.cuda.device_count())]
    return [{}] * (settings.threads(environ) if device.type == "cpu" else 1)


def _local(distributed: Any, environ: Mapping[str, str]) -> Any:
    """Workers on this machine alone."""
    # The driver says what there is to say.
    common = {"nthreads": 1, "host": LOOPBACK, "silence_logs": logging.CRITICAL}
    workers = {
        number: {"cls": distributed.Nanny, "options": {**common, "env": own}}
        for number, own in enumerate(worker_variables(environ))
    }
    options = {"host": LOOPBACK, "port": 0, "dashboard": True, "dashboard_address": DASHBOARD}
    scheduler = {"cls": distributed.Scheduler, "options": options}
    for _ in range(DEATHS - 1):
        # Dask gives up if a worker ends while it starts.
        with suppress(RuntimeError):
            return distributed.SpecCluster(workers=workers, scheduler=scheduler)
    try:
        return distributed.SpecCluster(workers=workers, scheduler=scheduler)
    except RuntimeError as error:
        raise UserError(
            f"Expected {len(workers)} workers to start, got '{error}' {DEATHS} times: lower THREADS, or free memory."
        ) from error


def _slurm(jobqueue: Any, environ: Mapping[str, str]) -> Any:
    """JOBS jobs of one worker each."""
    cluster = jobqueue.SLURMCluster(
        cores=1, processes=1, memory=JOB_MEMORY, job_name="minima_volume",
        # SLURM has its own defaults, and the user's options come after these lines.
        job_directives_skip=["--mem=", "-t "],
        job_extra_directives=["--output=/dev/null", *settings.slurm_options(environ)],
        # SLURM limits the memory.
        worker_extra_args=["--memory-limit", "0"],
        scheduler_options={"dashboard_address": DASHBOARD},
    )  # fmt: skip
    cluster.scale(jobs=settings.jobs(environ))
    return cluster


def _replace_ended(cluster: Any, jobs: int) -> None:
    """Queue another job for each that has ended. Dask's adaptive scaling would not: the number of its jobs fits.

    Dask forgets a job whose worker is gone, but does not notice one that ends before its worker has connected.
    """
    done = subprocess.run(["squeue", "--noheader", "--format=%i"], capture_output=True, text=True, check=False)
    connected = {worker["name"] for worker in cluster.scheduler_info["workers"].values()}

    def forget() -> None:
        for name, job in list(cluster.workers.items()):
            known = getattr(job, "job_id", None)
            if known and known not in done.stdout.split() and name not in connected:
                del cluster.workers[name]

    if done.returncode == 0:
        cluster.loop.add_callback(forget)
    cluster.scale(jobs=jobs)


def run(kind: str, command: list[str], environ: Mapping[str, str] = os.environ) -> int:
    """Run a command with the address of a new cluster as its last argument; return its exit code.

    Args:
        kind: One of `settings.STARTED`.
        command: What to run, such as make and its targets.
        environ: Settings by name.
    """
    with started(kind, environ) as cluster:
        page = cluster.dashboard_link.replace("/status", "/info/main/workers.html")
        print(f"{kind} cluster: {cluster.scheduler_address}; {page} lists its workers.", flush=True)
        # Terminated with this process, whatever ends it.
        process = subprocess.Popen(
            [*command, f"CLUSTER={cluster.scheduler_address}"],
            close_fds=False,  # the pipe of make -j
            preexec_fn=end_what_follows_with_parent,
        )
        try:
            while True:
                try:
                    return process.wait(timeout=REPLACE)
                except subprocess.TimeoutExpired:
                    if kind == "slurm":
                        _replace_ended(cluster, settings.jobs(environ))
                except KeyboardInterrupt:  # the command has got it too
                    continue
        finally:
            process.terminate()


def main() -> None:
    """Run the command of the command line, and end with its exit code."""
    prepare_streams()
    end_with_make()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, such as make mnist_data")
    command = parser.parse_args().command
    # Jobs are cancelled by this process only.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(EXIT_TERMINATED))
    try:
        code = run(settings.cluster() or "local", command)
    except SystemExit:
        code = EXIT_TERMINATED
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr, flush=True)
        code = EXIT_INTERRUPTED
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = 1
    except OSError as error:
        print(f"error: {describe_error(error)}", file=sys.stderr, flush=True)
        code = 1
    sys.stdout.flush()
    # Threads of the cluster that wait for workers would keep the process.
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
