"""The claims of the paper and of the literature as data, with the checks that decide each and the verdict that follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minima_volume.analysis import evidence, tables, verdicts
from minima_volume.analysis.checks import Accuracy, Check
from minima_volume.analysis.evidence import Evidence
from minima_volume.analysis.verdicts import Quantifier, Word
from minima_volume.storage import archives, layout


@dataclass(frozen=True)
class Claim:
    """A statement that the tables can test.

    Attributes:
        number: Number in tables and links.
        name: A short name.
        statement: The claim in one sentence.
        source: Where it is made.
        test: How it is tested, in words.
        checks: The checks that decide it.
        figure: Name of the picture that shows it best.
        quantifier: Whether it is about most studies, about every study, or says that some study exists.
    """

    number: int
    name: str
    statement: str
    source: str
    test: str
    checks: tuple[Check, ...]
    figure: str
    quantifier: Quantifier = "most"


def _checks(kind: str, studies: dict[str, float], accuracy: Accuracy = "") -> tuple[Check, ...]:
    """The same check on several studies, each at its own threshold."""
    return tuple(Check(kind, study, threshold, accuracy=accuracy) for study, threshold in studies.items())


NESTED = {
    "mnist_data": 0.1, "mnist_data_large": 0.1, "cifar_data": 0.1, "modulo_data": 0.01, "swiss_data_x5": 0.1,
    "swiss_data_x6": 0.1,
}  # fmt: skip
DATA = NESTED | {"mnist_cnn_data": 0.1, "cifar_cnn_data": 0.1}
BEYOND = {"mnist_data_beyond": 0.1, "digits_data_beyond": 0.1, "swiss_data_x5_beyond": 0.1}
SHARP = {"mnist_sam": 0.1, "cifar_sam": 0.1, "swiss_sam": 0.1}
POISON = {"mnist_poison": 0.1, "cifar_poison": 0.1, "swiss_poison_x5": 0.1, "swiss_poison_x6": 0.1}
IMBALANCED = {
    "mnist_imbalanced": 0.1, "mnist_imbalanced_extra": 0.1, "cifar_imbalanced": 0.1, "cifar_imbalanced_extra": 0.1,
}  # fmt: skip
# The paper says it in its text.
TEXT = "the paper's text"

CLAIMS = (
    Claim(
        1, "Sharp minima that generalise",
        "Minima exist that generalise better than others and yet have a smaller volume in the same landscape.",
        f"{TEXT}; Figure 4, top",
        "The minimum of most data is smaller than that of least data in the base landscape, and its test accuracy higher.",
        _checks("ends", DATA, accuracy="rises"), "mnist_data_generalisation", quantifier="some",
    ),
    Claim(
        2, "More data re-rank minima",
        "With more data, minima that were small become the largest of those that fit the data.",
        f"{TEXT}; Figure 4, bottom",
        "In each landscape, the minimum trained on exactly its samples is the largest that is measured, and the minima of "
        "fewer samples have left the threshold. Where landscapes between the sizes are measured: each minimum is larger "
        "than the next of more data at its own size, and smaller in the last landscape that it fits.",
        (*_checks("leads", NESTED), *_checks("overtakes", BEYOND)), "beyond",
    ),
    Claim(
        3, "Power law",
        "The volume of the minimum that training finds follows a power law in the number of samples.",
        TEXT,
        "ln V / n of minima in their own landscapes falls along a straight line in ln D: a parabola does not fit better. "
        "The effect is how far ln V / n falls for each factor e in D; a bend is the coefficient of (ln D)² over its error.",
        _checks("line", NESTED | SHARP), "mnist_data_power_law",
    ),
    Claim(
        4, "Wrong labels",
        "Minima of more mislabelled samples are smaller in the landscape of the clean samples, and generalise worse.",
        TEXT,
        "In the clean landscape the volume falls at every step, and test accuracy falls from the first to the last.",
        _checks("falls", POISON, accuracy="falls"), "mnist_poison",
    ),
    Claim(
        5, "Three models on one plane",
        "Models trained on 1, 10 and 100 % of MNIST all fit the 1 %; only the last fits all of MNIST.",
        "Figure 1",
        "Mean losses of the minima of 600, 6,000 and 60,000 samples against the threshold τ, on 600 and on 60,000 samples. "
        "The effect is the smallest |ln(loss/τ)|, negative if a loss is on the wrong side.",
        (Check("viable", "mnist_data", 0.1),), "mnist_data_cutoffs",
    ),
    Claim(
        6, "Grokking",
        "Along a run that groks, volume falls while generalisation appears.",
        "the paper's text, as a connection; figures of its repository",
        "In the landscape of the training pairs the volume falls from each checkpoint to the next, for two losses and one "
        "accuracy.",
        (
            Check("falls", "modulo_grokking", 0.01), Check("falls", "modulo_grokking", 0.005),
            Check("falls", "modulo_grokking", 0.95, "accuracy"),
        ), "modulo_grokking",
    ),
    Claim(
        7, "Sharpness-aware training",
        "SAM finds larger minima than AdamW, and with more data they still get smaller.",
        "the paper's text, as a connection; figures of its repository",
        "In the base landscape, minima of SAM are larger at every level, and fall along the levels.",
        (
            Check("larger", "mnist_sam", 0.1, partner="mnist_data"), Check("larger", "cifar_sam", 0.1, partner="cifar_data"),
            *_checks("falls", SHARP),
        ), "mnist_sam_methods",
    ),
    Claim(
        8, "Batch size",
        "Larger batches find smaller minima.",
        "our reading of the paper's repository",
        "In the landscape of the training samples the volume falls at every step of the batch size.",
        (Check("falls", "mnist_batch_size", 0.01),), "mnist_batch_size",
    ),
    Claim(
        9, "Class imbalance",
        "Volume falls with added data also where base or extra samples are mostly of one class.",
        "our reading of the paper's repository",
        "In the base landscape the volume falls at every step.",
        _checks("falls", IMBALANCED), "mnist_imbalanced",
    ),
    Claim(
        10, "Limits of ray volumes",
        "Volumes from random rays miss most of a basin: they are lower bounds, made by few directions.",
        "the paper's appendix",
        "Most values of ln E[rⁿ] do not converge. For most minima ln γ from rays that has not converged lies below that of "
        "a sampler, at the largest width that both have.",
        (Check("unconverged", ""), Check("below", "swiss_poison_x5")), "swiss_poison_x5_trust",
    ),
    Claim(
        11, "Flatness predicts generalisation",
        "Minima of a larger volume have a higher test accuracy.",
        "literature (Hochreiter and Schmidhuber 1997; Keskar and others 2017)",
        "Spearman's rank correlation of volume and test accuracy over the levels, in the base landscape.",
        (*_checks("predicts", DATA | POISON), Check("predicts", "mnist_batch_size", 0.01)), "mnist_data_generalisation",
    ),
    Claim(
        12, "Volume hypothesis, strong",
        "At every data size training finds the largest of the minima that fit the data.",
        "literature; the paper's toy diagrams",
        "In its own landscape, each minimum is larger than every other that was measured there, those of another optimiser "
        "included. One size at which the minimum of SAM is larger for certain refutes it, whatever the mean.",
        (
            Check("unbeaten", "mnist_data", partner="mnist_sam"), Check("unbeaten", "cifar_data", partner="cifar_sam"),
            *_checks("leads", NESTED),
        ), "swiss_data_x5_varying_landscape", quantifier="every",
    ),
    Claim(
        13, "Volume hypothesis, weak",
        "Minima of more data shrink more slowly, so that each gains on those of less data up to its own size.",
        "literature; the paper's toy diagrams",
        "From the base landscape to that of a minimum, the next minimum of more data gains on it.",
        _checks("gains", NESTED), "mnist_data_varying_landscape",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """A claim with its evidence.

    Attributes:
        claim: The claim.
        evidence: The evidence of each check whose study was run.
        not_run: Studies of the other checks.
        verdict: What the rules of `verdicts` make of it.
    """

    claim: Claim
    evidence: tuple[Evidence, ...]
    not_run: tuple[str, ...]

    @property
    def verdict(self) -> Word:
        """Return the verdict on the claim."""
        return verdicts.claim_verdict([found.verdict for found in self.evidence], self.claim.quantifier)


def judge(scale: str, claim: Claim) -> Judgement:
    """Return a claim with the evidence of all its checks whose studies have tables.

    Args:
        scale: `quick` or `paper`.
        claim: The claim.

    Raises:
        ResultsError: A table is damaged.
    """
    have = {"", *tables.studies(scale)} if tables.studies(scale) else set()
    run = [check for check in claim.checks if {check.study, check.partner} <= have]
    left = dict.fromkeys(name for check in claim.checks for name in studies_of(check) if name not in have)
    found = tuple(evidence.gather(scale, check) for check in run)
    return Judgement(claim, tuple(each for each in found if each.findings), tuple(left))


def judge_all(scale: str) -> list[Judgement]:
    """Return all claims with their evidence; see `judge`."""
    return [judge(scale, claim) for claim in CLAIMS]


def studies_of(check: Check) -> list[str]:
    """Return the studies that a check reads, without the empty name of a check that reads all."""
    return [name for name in (check.study, check.partner) if name]


def studies_in(claim: Claim, scale: str) -> list[str]:
    """Return the studies that a claim reads: those of its checks, or all that were run if a check reads all."""
    names = dict.fromkeys(name for check in claim.checks for name in studies_of(check))
    every = any(not check.study for check in claim.checks)
    return [*names, *(name for name in tables.studies(scale) if every and name not in names)]


def commands(claim: Claim, scale: str) -> list[str]:
    """Return the make commands that make the tables of a claim as they are, one for each set of options.

    Args:
        claim: The claim.
        scale: `quick` or `paper`. A study without a record has no options.
    """
    groups: dict[str, list[str]] = {}
    for name in studies_in(claim, scale):
        record = _record(scale, name)
        given = str(record.get("command", f"make {name} SCALE={scale}")).split()[2:]
        options = " ".join(option for option in given if option != "SCALE=paper")
        groups.setdefault(options, []).append(name)
    return [" ".join(["make", *names, options]).strip() for options, names in groups.items()]


def seconds(claim: Claim, scale: str) -> float:
    """Return how long the studies of a claim took, by their records: training and rays, on the machine that they name."""
    records = [_record(scale, name) for name in studies_in(claim, scale)]
    return float(sum(sum(record.get("task_seconds", {}).values()) for record in records))


def disk(claim: Claim, scale: str) -> float:
    """Return the MiB that the minima of a claim's studies take, four bytes a parameter; rays and tables add little."""
    total = 0
    for name in set(studies_in(claim, scale)) & set(tables.studies(scale)):
        minima = tables.volumes(scale, name).drop_duplicates(["repeat", "level"])
        total += 4 * int(minima["n_params"].sum())
    return total / 2**20


def _record(scale: str, study: str) -> Mapping[str, Any]:
    """The run.json of a study; empty if it was not run."""
    path = layout.study_folder(scale, study) / layout.RUN_RECORD
    return archives.read_json(path) if path.exists() else {}
