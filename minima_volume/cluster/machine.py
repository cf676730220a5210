"""What computes: the code, torch and the processor of this process."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch

# The package that runs, wherever the working folder is.
PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Build:
    """What must be the same on all machines for the numbers to be the same.

    Attributes:
        package: Checksum of this package's modules.
        torch: Version of torch.
    """

    package: str
    torch: str


@cache
def own_build() -> Build:
    """Return the build of this process."""
    return Build(package_checksum(PACKAGE), torch.__version__)


def package_checksum(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all modules of a package.

    Args:
        folder: The package.
    """
    total = sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(f"{sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the processor's name and its number of cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.exists()
        else []
    )
    return f"{device.type}: {models[0] if models else platform.processor()}, {os.cpu_count()} cores"
