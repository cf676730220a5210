"""The benchmark's numbers as a page."""

from collections.abc import Sequence
from typing import Any

from benchmarks import rendering

HEAD = """# What a solved ray costs

`make bench` measures this page on one machine in one run: medians, one thread per scheme, everything in the same process
tree. Workloads have the sizes of the paper's studies; those of MNIST's shape hold Gaussian clusters instead of digits. A
*solved ray* is one crossing of one minimum in one landscape at loss threshold 0.1. Schemes that evaluate the whole grid are
timed on 1 (nested), 10 (6000) or 20 (CNN) of its 100 points where that takes long, and multiplied. *Error* is of n·ln r in
nats on one ray of each minimum: the engine's largest against a plain float64 solve; of the three grid schemes the mean that
rounding up to the grid leaves. *Share of matmul* is float32-equivalent operations per second over the machine's rate in a
1024³ matrix product (float64 counts twice), measured beside each row: shares of different rows scatter with it.
"""


def line(row: dict[str, Any], accelerators: Sequence[dict[str, Any]] = ()) -> str:
    """One row of the table, with the rays per second of every GPU that was measured."""
    rates = [column["rays_per_s"].get(row["workload"], {}).get(row["scheme"]) for column in accelerators]
    return (
        "| {workload} | {scheme} | {rays_per_s:.3g} | {ratio_to_published:.3g}× | {evaluations_per_ray:.3g} | "
        "{error_nats:.2g} | {peak_mib:.0f} | {share_of_matmul:.2f} |"
    ).format(**row) + "".join(f" {'—' if rate is None else f'{rate:.3g}'} |" for rate in rates)


NO_GPU = "On a GPU: not measured yet; `make bench DEVICE=cuda` (or mps) adds its column."
LIMIT = """The fewest operations bound what any engine can gain. The published loop pays 100 full evaluations
per ray. The engine pays the first layer's product with the direction once, shared by all minima and
coefficients (again in float64 where few samples are averaged, and of the hardest where many are), each
minimum's own first layer once per block, and then the evaluations of the layers behind it that the table
counts: about three heights per crossing, because a secant from a percent away needs three to reach the 10⁻⁸ of
r that 0.01 nats of n·ln r ask for, the first of them only over the samples that the next smaller landscape
lacks. *Fewest* is what no exact solver goes below: that one product, and a single evaluation of every crossing
to see that it is one. Published over fewest is therefore the largest ratio that equal speed per operation
allows; a ratio of times above the engine's own ratio of operations is what the published loop loses by updating
all weights at every point. All in float32-equivalent Mflop. The last column is the share of the machine's
matrix-product rate that the engine, with its operations, would have to keep up to meet the target; the
large products of the published loop and of `load_state_dict` keep up 0.7 to 0.9."""
# Ratios of times that were aimed at.
TARGETS = {"Swiss x5": 60, "MNIST MLP, 60 ": 20, "MNIST MLP, 6000": 40, "MNIST MLP, nested": 100}


def _limits(content: dict[str, Any]) -> list[str]:
    """Operations per ray of the first and the last scheme of each workload."""
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
    """The ratio aimed at."""
    return next((f"{target}×" for start, target in TARGETS.items() if workload.startswith(start)), "none")


def _target(name: str, engine: dict[str, Any]) -> str:
    """The target of a workload and the share of the matrix product that it asks for on one thread."""
    wanted = next((target for start, target in TARGETS.items() if name.startswith(start)), None)
    if wanted is None:
        return "none | "
    return f"{wanted}× | {engine['share_of_matmul'] * wanted / engine['ratio_to_published']:.2f}"


def page(content: dict[str, Any]) -> str:
    """The whole of benchmarks/README.md."""
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
        f"The same with {content['cores']} threads each: torch's for the published loop, workers for the engine, as stage 2 "
        "has them.",
        "",
        "| workload | published loop, rays/s | engine, rays/s | ratio | target |",
        "|---|---|---|---|---|",
        *(
            f"| {row['workload']} | {row['published_per_s']:.3g} | {row['engine_per_s']:.3g} | {row['ratio']:.1f}× | "
            f"{_wanted(row['workload'])} |"
            for row in content["on_all_cores"]
        ),
        "",
        "## Where the limit is",
        "",
        LIMIT,
        "",
        "| workload | published | engine | fewest | published over fewest | published over engine | ratio of times "
        "| target | share it asks for |",
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
        "{networks:.0f} Swiss networks (20 to 800 points, ten each), {epochs} epochs, side by side against one after the "
        "other in a plain PyTorch loop (target 10×): {ratio:.1f}× faster on one thread, {ratio_on_all_cores:.1f}× where "
        "both have {cores} cores, the loop for torch's threads, the package for its workers. The final loss of a network "
        "trained in company or alone differs by at most {largest_loss_difference:.1g}. The bare hidden-layer products of "
        "these steps would be {bound:.0f}× faster than that loop on one thread; the rest is element-wise passes, the thin "
        "first and last layers, and AdamW.".format(**content["ensemble"]),
        *(["", *rendering.lines(content["rendering"])] if "rendering" in content else []),
    ]
    return "\n".join(lines) + "\n"
