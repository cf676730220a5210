"""The benchmark's numbers as a page."""

from typing import Any

HEAD = """# What a solved ray costs

`make bench` measures this page on one machine in one run: medians, one thread per scheme, everything in the same process
tree. A *solved ray* is one crossing of one minimum in one landscape at loss threshold 0.1. *Error* is of n·ln r in nats
against a plain float64 solve; for the three grid schemes it is what rounding up to the grid leaves. *Share of matmul* is
float32-equivalent operations per second over the machine's own rate in a 1024³ matrix product (float64 counts twice).
"""


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    return (
        "| {workload} | {scheme} | {rays_per_s:.3g} | {ratio_to_published:.3g}× | {evaluations_per_ray:.3g} | "
        "{error_nats:.2g} | {peak_mib:.0f} | {share_of_matmul:.2f} |"
    ).format(**row)


def page(content: dict[str, Any]) -> str:
    """The whole of benchmarks/README.md."""
    lines = [
        HEAD,
        "{machine}; torch {versions[torch]}; matrix product {matmul_gflops:.0f} GFLOP/s.".format(**content),
        "",
        "| workload | scheme | solved rays/s | to published | evaluations/ray | error (nats) | peak MiB | share of matmul |",
        "|---|---|---|---|---|---|---|---|",
        *(line(row) for row in content["rows"]),
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
        "{networks:.0f} Swiss networks, {epochs} epochs: {ratio:.1f}× faster side by side than one after the other; largest "
        "difference of any weight {largest_weight_difference:.1g}.".format(**content["ensemble"]),
    ]
    return "\n".join(lines) + "\n"
