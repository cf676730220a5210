"""The benchmark's numbers as a page."""

from collections.abc import Sequence
from typing import Any

from benchmarks import planes, rendering

HEAD = """# What a solved ray costs

`make bench` measures everything on this page in one run on one machine: medians, one thread per scheme. The workloads
have the sizes of the paper's studies; those with the shape of MNIST use Gaussian clusters instead of digits. A
*solved ray* is one crossing of one minimum in one landscape at loss threshold 0.1. If evaluating the whole grid of
100 points takes long, 1 (nested), 10 (6000) or 20 (CNN) points are timed and the time is multiplied. *Error* is that
of n·ln r in nats on one ray of each minimum: for the engine the largest deviation from a plain float64 solve, for the
three grid schemes the mean error of rounding up to the grid. *Share of matmul* is the rate of float32-equivalent
operations (float64 counts twice) divided by the machine's rate in a 1024³ matrix product. That rate is measured again
for each row, so that shares vary between rows.
"""


def line(row: dict[str, Any], accelerators: Sequence[dict[str, Any]] = ()) -> str:
    """Return one row of the table, with the rays per second of every GPU that was measured."""
    rates = [column["rays_per_s"].get(row["workload"], {}).get(row["scheme"]) for column in accelerators]
    return (
        "| {workload} | {scheme} | {rays_per_s:.3g} | {ratio_to_published:.3g}× | {evaluations_per_ray:.3g} | "
        "{error_nats:.2g} | {peak_mib:.0f} | {share_of_matmul:.2f} |"
    ).format(**row) + "".join(f" {'—' if rate is None else f'{rate:.3g}'} |" for rate in rates)


NO_GPU = "On a GPU: not measured yet; `make bench DEVICE=cuda` (or mps) adds its column."
LIMIT = """The number of operations limits what any engine can gain. The published loop makes 100 full evaluations per
ray. The engine computes the product of the data with the first layer of each direction once, for all minima and
coefficients; it repeats the product in float64 for landscapes of few samples, and for the samples with the largest
losses otherwise. It computes the first layer of each minimum once per block. Then it evaluates the remaining layers
as often as the table counts, about three times per crossing: a secant step that starts a percent away needs three
evaluations to reach the relative accuracy of 10⁻⁸ in r that 0.01 nats of n·ln r require, and the first of them covers
only samples that the next smaller landscape lacks.

*Fewest* is a lower bound for any exact solver: that one product, and a single evaluation of every crossing to confirm
it. *Published over fewest* is therefore the largest possible ratio at equal speed per operation. If the ratio of
times is larger than the engine's own ratio of operations, the rest is what the published loop loses by updating all
weights at every point. All counts are in float32-equivalent Mflop. The last column is the share of the machine's
matrix-product rate that the engine would need to meet the target; the large products of the published loop and of
`load_state_dict` reach 0.7 to 0.9."""
# Target ratios of times.
TARGETS = {"Swiss x5": 60, "MNIST MLP, 60 ": 20, "MNIST MLP, 6000": 40, "MNIST MLP, nested": 100}


def _limits(content: dict[str, Any]) -> list[str]:
    """Return rows with the operations per ray of the published loop and of the engine, for each workload."""
    lines = []
    for name in dict.fromkeys(row["workload"] for row in content["rows"]):
        rows = {row["scheme"]: row for row in content["rows"] if row["workload"] == name}
        loop, engine = (rows[scheme]["mflop_per_ray"] for scheme in ("published loop", "engine"))
        ratio, fewest = rows["engine"]["ratio_to_published"], rows["engine"]["fewest_mflop"]
        lines.append(
            f"| {name} | {loop:,.1f} | {engine:,.1f} | {fewest:,.1f} | {loop / fewest:.0f}× | {loop / engine:.0f}× | "
            f"{ratio:.0f}× | {_target(name, rows['engine'])} |"
        )
    return lines


def _wanted(workload: str) -> str:
    """Return the target ratio of a workload as text."""
    return next((f"{target}×" for start, target in TARGETS.items() if workload.startswith(start)), "none")


def _target(name: str, engine: dict[str, Any]) -> str:
    """Return the target of a workload and the share of the matrix-product rate that it requires on one thread."""
    wanted = next((target for start, target in TARGETS.items() if name.startswith(start)), None)
    if wanted is None:
        return "none | "
    return f"{wanted}× | {engine['share_of_matmul'] * wanted / engine['ratio_to_published']:.2f}"


def page(content: dict[str, Any]) -> str:
    """Return the text of benchmarks/README.md."""
    accelerators = content.get("accelerators", [])
    lines = [
        HEAD,
        "{machine}; torch {versions[torch]}; matrix product {matmul_gflops:.0f} GFLOP/s.".format(**content),
        "",
        "| workload | scheme | solved rays/s | to published | evaluations/ray | error (nats) | peak MiB | share of matmul |"
        + "".join(f" rays/s on {column['name']} |" for column in accelerators),
        "|---" * (8 + len(accelerators)) + "|",
        *(line(row, accelerators) for row in content["rows"]),
        *([] if accelerators else ["", NO_GPU]),
        "",
        "## On all cores",
        "",
        f"The same with {content['cores']} threads each. The published loop uses them within torch, the engine as "
        "workers, as in stage 2.",
        "",
        "| workload | published loop, rays/s | engine, rays/s | ratio | target |",
        "|---|---|---|---|---|",
        *(
            f"| {row['workload']} | {row['published_per_s']:.3g} | {row['engine_per_s']:.3g} | {row['ratio']:.1f}× | "
            f"{_wanted(row['workload'])} |"
            for row in content["on_all_cores"]
        ),
        "",
        "## What limits the speed",
        "",
        LIMIT,
        "",
        "| workload | published | engine | fewest | published over fewest | published over engine | ratio of times "
        "| target | share required |",
        "|---|---|---|---|---|---|---|---|---|",
        *_limits(content),
        "",
        "## Cost as work grows",
        "",
        "| quantity | factor | time | new peak MiB |",
        "|---|---|---|---|",
        *(
            f"| {row['quantity']} | ×{row['factor']} | ×{row['seconds_ratio']:.2f} | {row['new_peak_mib']:.0f} |"
            for row in content["scaling"]
        ),
        "",
        "## Training side by side",
        "",
        "{networks:.0f} networks on two spirals (20 to 800 points, ten each), {epochs} epochs, trained side by side and, in "
        "a plain PyTorch loop, one after the other (target 10×). Side by side is {ratio:.1f}× faster on one thread, and "
        "{ratio_on_all_cores:.1f}× if both use {cores} cores, the loop as torch's threads, the package as workers. The "
        "final loss of a network trained in a group or alone differs by at most {largest_loss_difference:.1g}. The products "
        "of the hidden layers alone would be {bound:.0f}× faster than that loop on one thread; the remaining time goes to "
        "element-wise operations, the first and last layers, and AdamW.".format(**content["ensemble"]),
        *(["", *planes.lines(content["planes"])] if "planes" in content else []),
        *(["", *rendering.lines(content["rendering"])] if "rendering" in content else []),
    ]
    return "\n".join(lines) + "\n"
