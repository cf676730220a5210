"""For each claim the sentence that a sceptical reader can accept, and why the tables disagree with the paper.

Sentences hold no numbers: those stand in the generated tables. Each was written for a verdict; a test fails if the computed
one has moved, so that no sentence outlives its numbers.
"""

from dataclasses import dataclass

from minima_volume.analysis.verdicts import CANNOT, FAILS, HOLDS, WEAKLY, Word


@dataclass(frozen=True)
class Remark:
    """What follows from a claim's evidence, in words.

    Attributes:
        verdict: The verdict that the sentences were written for.
        sentence: What a sceptical reader can accept.
        disagreement: Where the tables disagree with the paper, and the cause, or that it is unknown.
        next: What would change the verdict.
    """

    verdict: Word
    sentence: str
    disagreement: str
    next: str


REMARKS = {
    1: Remark(
        HOLDS,
        "On MNIST the minimum trained on all data has a smaller sampled volume in the landscape of few samples than the "
        "minimum trained on those alone, in every repeat, in its own filter norms and in common ones, and generalises "
        "better. The difference is a few nats, far from what rays in typical directions suggest, and most of it is due to "
        "the unit of length. On CIFAR-10 and modular addition typical directions say the same.",
        "On the two spirals the order differs between repeats, in the published numbers as well. Cause: unknown.",
        "Sampled volumes on CIFAR-10, or in the landscape of each minimum's own samples, with the other order.",
    ),
    2: Remark(
        WEAKLY,
        "At each data size of the image studies, the minimum trained on exactly that data reaches farthest in "
        "typical directions among those that still fit it. Where landscapes between the sizes are measured, curves cross as "
        "in the toy diagram: on digits in every repeat, and in the one repeat of MNIST, minima shrink beyond their own "
        "samples and are overtaken by the next one while they still fit. Those of least data leave the threshold within so "
        "few samples that this cannot be seen.",
        "On the two spirals minima of more data are larger than the one trained on exactly the data, and which minimum is "
        "the largest differs between repeats at every data size. Cause: unknown.",
        "Sampled volumes beyond the training sets; more repeats, directions and sizes on MNIST.",
    ),
    3: Remark(
        FAILS,
        "A straight line in ln D does not fit the volumes of most studies, MNIST and CIFAR-10 trained with AdamW "
        "included. It is not ruled out for the larger network on MNIST and for SAM on both image sets.",
        "The paper states the power law. A line explains most of the variance on MNIST too; only a test of "
        "curvature shows that it does not fit. On spirals and modular addition volumes fall and rise again.",
        "More sizes and repeats, and volumes from a sampler in each own landscape.",
    ),
    4: Remark(
        WEAKLY,
        "Minima of more mislabelled samples reach less far in typical directions of the clean landscape and "
        "generalise worse. On the smaller network of the two spirals sampled volumes confirm the order, for minima "
        "that come near the threshold.",
        "On CIFAR-10 the first step rises; the published values rise there as well if half of the directions count."
        " Cause: unknown; there is one repeat.",
        "Sampled volumes on MNIST and CIFAR-10.",
    ),
    5: Remark(
        HOLDS,
        "The minima of 1, 10 and 100 % of MNIST all fit the first 600 samples, and only the last fits all of them.",
        "None. The claim is about losses, and no volume enters.",
        "Nothing that these tables could show.",
    ),
    6: Remark(
        FAILS,
        "The sign depends on the criterion: along a run that groks, volume falls at a loss threshold close to that "
        "of answering zero, and rises at a smaller loss and at an accuracy.",
        "The paper looks at the largest threshold only. Its repository holds one run with an accuracy threshold, "
        "which rises as ours do.",
        "Sampled volumes at thresholds that most checkpoints meet.",
    ),
    7: Remark(
        WEAKLY,
        "On MNIST minima of SAM reach farther in typical directions than those of AdamW at each data size, at "
        "larger losses. On CIFAR-10 they do so except with most data, where SAM ends just below the threshold.",
        "CIFAR-10 with most data: the minimum of SAM lies near the threshold. Spirals: no trend with data, in the "
        "published runs as well. Cause: unknown.",
        "Both methods trained to the same loss.",
    ),
    8: Remark(
        WEAKLY,
        "From end to end larger batches find minima that reach less far in typical directions. They also take fewer"
        " steps and end at larger losses, so the cause is open.",
        "The published run shows no clear relation: six volumes take three values of its grid.",
        "Runs of equal steps, or of equal loss, and sampled volumes.",
    ),
    9: Remark(
        WEAKLY,
        "With imbalanced base or extra samples minima of more data reach less far in typical directions, as with "
        "balanced ones.",
        "Our volumes of the imbalanced base on CIFAR-10 lie above the published ones. The published run has the "
        "losses and volumes of a balanced base; how its samples were drawn is unknown.",
        "Sampled volumes, and more repeats on CIFAR-10.",
    ),
    10: Remark(
        HOLDS,
        "No value of ln E[rⁿ] at the size of the paper converges, and where ln γ from rays does not converge, most "
        "of it lies far below the value of a sampler.",
        "None; the paper's appendix says so for two dimensions.",
        "A ray volume of a network that converges.",
    ),
    11: Remark(
        FAILS,
        "Volume and test accuracy go together when labels are spoilt or the batch size changes, and against each "
        "other when data are added. So volume by itself does not predict generalisation.",
        "None: it is the paper's own point that more data reverse the sign.",
        "Minima of equal data and equal loss that differ in generalisation.",
    ),
    12: Remark(
        FAILS,
        "Training does not find the largest minimum: SAM finds larger ones of the same samples, and on the two "
        "spirals minima of more data are larger.",
        "The paper does not decide between the two readings.",
        "Nothing, for typical directions: one larger minimum refutes it. Volumes from a sampler could.",
    ),
    13: Remark(
        CANNOT,
        "Whether minima of more data shrink more slowly cannot be told: differences of differences are smaller than"
        " their errors on most studies.",
        "The paper does not decide between the two readings.",
        "Sampled volumes in several landscapes.",
    ),
}  # fmt: skip
