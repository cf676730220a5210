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
        "included. It is not ruled out for the larger network on MNIST, which has one repeat with few directions, and "
        "for SAM on both image sets. For SAM this is so at the largest threshold only: at smaller ones n·E[ln r] rules "
        "it out. On CIFAR-10 that line rests on one minimum of SAM whose loss nearly reaches the threshold.",
        "The paper states the power law. A line explains most of the variance on MNIST and CIFAR-10 too; only a test of "
        "curvature shows that it does not fit. Cause of the curvature: unknown; the losses of these minima lie far "
        "below the threshold. On spirals volumes fall and rise again; cause: unknown. On modular addition they fall, "
        "rise and fall again; minima of middle sizes come near the threshold there, which makes them smaller.",
        "More sizes and repeats, training to equal loss, and volumes from a sampler in each own landscape.",
    ),
    4: Remark(
        WEAKLY,
        "Minima of more mislabelled samples reach less far in typical directions of the clean landscape and have a "
        "lower test accuracy. The number of training samples alone does not explain it: on MNIST, in the same "
        "landscape, a hundred mislabelled samples lower n·E[ln r] as much as thousands of clean ones. On the smaller "
        "network of the two spirals sampled volumes confirm the two ends: the clean minimum is the largest, and the "
        "last one below the threshold, which comes near it, the smallest. The order of the two between differs between "
        "repeats. The minima of most mislabelled points lie above the threshold and have no volume.",
        "On CIFAR-10 n·E[ln r] rises at the first step, while test accuracy falls. The published values rise there in "
        "the one run that counts half of its directions; in the two that count all of them they fall or stay. Cause: "
        "unknown; there is one repeat.",
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
        "On MNIST minima of SAM reach farther in typical directions than those of AdamW at each data size, in every "
        "repeat. Except with least data they have larger losses, which by itself would make them smaller. On CIFAR-10, "
        "with one repeat and with other epochs and batches, they do so except with most data, where SAM ends just below "
        "the threshold. So the first half of the claim has one study for it and one against. The second half holds "
        "weakly on both image sets and fails on the spirals.",
        "CIFAR-10 with most data: the minimum of SAM is the smaller one. Likely cause: its loss lies just below the "
        "threshold. Spirals: no trend with data, in the published runs as well. Cause: unknown.",
        "Both methods trained to the same loss with the same epochs and batches, and sampled volumes.",
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
        "No value of ln E[rⁿ] of any study converges. Values of ln γ from rays that have not converged can be right or "
        "far too low. On two spirals with mislabelled points most lie below the sampler, by up to thousands of nats. "
        "With clean points they lie close to the sampler at the same widths. On MNIST, at the largest width that both "
        "have, most lie far below subset simulation of networks with the same seeds, except with least data.",
        "None; the paper's appendix says so for two dimensions.",
        "A ray volume of a network that converges, or more studies in which values that have not converged agree with a "
        "sampler.",
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
        "AdamW does not find the largest minimum that fits the data: in typical directions those of SAM on the same "
        "samples reach farther, on MNIST at each size and on CIFAR-10 at all but the largest, and on the two spirals, "
        "and at some sizes of modular addition, those of more data do. Only minima that some training found are "
        "compared, each in its own filter norms; on CIFAR-10 the two methods also differ in epochs and batches.",
        "The paper does not decide between the two readings.",
        "Nothing, for typical directions: one larger minimum refutes it. Volumes from a sampler could.",
    ),
    13: Remark(
        CANNOT,
        "Whether minima of more data shrink more slowly cannot be told. In every study the mean gain is smaller than "
        "its error, and in the studies with several repeats single gains differ in sign between repeats by more than "
        "their errors. On CIFAR-10, with one repeat, one gain is negative for certain and the next is positive by "
        "almost as much. The errors take the volumes as independent; they share their directions, so that the errors "
        "may be too large.",
        "The paper does not decide between the two readings.",
        "Sampled volumes in several landscapes, and errors of differences along the same directions.",
    ),
}  # fmt: skip
