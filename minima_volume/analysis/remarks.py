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
        "minimum trained on those alone, in every repeat, in its own filter norms and in those of the first minimum, "
        "and generalises better. The difference is a few nats, far less than that of n·E[ln r], and at equal width most "
        "of it is due to the unit of length. The verdict rests on this study. Elsewhere only typical directions in own "
        "norms agree: on CIFAR-10 and on the other networks for MNIST, with one repeat each, and on modular addition, "
        "where one repeat is sampled too.",
        "On both networks of the two spirals the sign of the difference varies between repeats, as in the published "
        "numbers. Cause: unknown.",
        "Sampled volumes on CIFAR-10, or in the landscape of each minimum's own samples, with the other order.",
    ),
    2: Remark(
        CANNOT,
        "At each data size of the image studies, the minimum trained on exactly that data reaches farthest in "
        "typical directions among those that still fit it. Where landscapes between the sizes are measured, curves cross as "
        "in the toy diagram for minima of middle sizes. On the digits in every repeat, on MNIST in five of six cases, they "
        "are overtaken by the next one while they still fit. On MNIST those of least data leave the threshold before, in "
        "both repeats in which it can be seen, and by the rules this check fails. On the digits a sampler finds the same "
        "signs as typical directions; three repeats do not decide it. As many checks hold as fail.",
        "On the two spirals minima of more data are larger than the one trained on exactly the data, and which minimum is "
        "the largest differs between repeats at every data size, also by the sampler. Cause: unknown.",
        "Sampled volumes on MNIST beyond the training sets; more repeats and directions there and on the digits.",
    ),
    3: Remark(
        FAILS,
        "A straight line in ln D does not fit the volumes of most studies, MNIST and CIFAR-10 trained with AdamW "
        "included. It is not ruled out for the larger network on MNIST, which has one repeat with few directions, nor "
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
        "The minima of 1, 10 and 100 % of MNIST all have a mean loss below the threshold on the first 600 samples, and "
        "only the last has one on all samples. The first half is expected: all three were trained on these 600 samples.",
        "None. The claim is about losses, and no volume enters. The planes of Figure 1 are not part of this check.",
        "Nothing that these tables could show.",
    ),
    6: Remark(
        FAILS,
        "The sign depends on the criterion. At a loss threshold close to the loss of answering zero n·E[ln r] falls "
        "along a run that groks, at every step of every repeat. Most of the fall comes before the accuracy on unseen "
        "pairs appears. At a smaller loss and at an accuracy it rises. There the first checkpoints have only just met "
        "the criterion, so that further training on the same pairs can enlarge the basin whether or not the network "
        "generalises.",
        "None at the largest threshold, the only one whose published volumes we have: they fall as ours do. The paper's "
        "repository holds one run with an accuracy threshold, which rises as ours do. So the claim fails by criteria "
        "other than that of the published volumes.",
        "Sampled volumes at thresholds that all checkpoints meet by the same margin.",
    ),
    7: Remark(
        WEAKLY,
        "On MNIST minima of SAM reach farther in typical directions than those of AdamW at each data size, in every "
        "repeat. Except with least data they have larger losses, which by itself would make them smaller. On CIFAR-10, "
        "with one repeat and with other epochs and batches, they do so except with most data, where SAM ends just below "
        "the threshold. So the first half of the claim has one study for it and one against. The second half holds "
        "weakly on both image sets and cannot be told on the spirals.",
        "CIFAR-10 with most data: the minimum of SAM is the smaller one. Likely cause: its loss lies just below the "
        "threshold. Spirals: no trend with data, in the published runs as well. Cause: unknown.",
        "Both methods trained to the same loss with the same epochs and batches, and sampled volumes.",
    ),
    8: Remark(
        WEAKLY,
        "From the smallest to the largest batch, minima reach less far in typical directions. Not at each step: from "
        "batches of 100 to 200 n·E[ln r] rises in every repeat, clearly in two of three. Larger batches also take fewer "
        "steps, and from 200 on they end at larger losses, so the cause is open.",
        "The published run, of one repeat, shows no clear relation: its six volumes take three values of its grid. "
        "Cause: a step of this grid is as large as most differences between neighbouring batch sizes.",
        "Runs of equal steps, or of equal loss, and sampled volumes.",
    ),
    9: Remark(
        WEAKLY,
        "With imbalanced base or extra samples minima of more data reach less far in typical directions, as with "
        "balanced ones. On CIFAR-10, with one repeat, extra samples mostly of one class lower n·E[ln r] as much as the "
        "balanced ones of the control, although they hardly raise the test accuracy. Here volume follows the number of "
        "samples rather than generalisation.",
        "Our volumes of the imbalanced base on CIFAR-10 lie above the published ones. The published run has the losses "
        "and volumes of a balanced base; how its samples were drawn is unknown. We chose how imbalanced extras are "
        "drawn after we had seen the published losses, so that their agreement is no test.",
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
        "Over the levels of a study, a larger volume goes with a higher test accuracy when labels are wrong, and with a "
        "lower one when data are added, except on the spirals, where no relation is seen. With the batch size the sign "
        "depends on the measure: a larger volume goes with a higher test accuracy, but also with a larger test loss. So "
        "volume by itself does not predict generalisation. In all these studies the level changes both. The verdict "
        "counts studies, and more of them add data than change labels.",
        "None: it is the paper's own point that more data reverse the sign.",
        "Minima of equal data and equal loss that differ in generalisation. Between seeds on the same data the page on "
        "sharpness finds no relation.",
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
        "their errors. On CIFAR-10, with one repeat, one gain is negative for certain and the next is clearly positive. "
        "The errors take the volumes as independent; they share their directions, so that the errors may be too large.",
        "The paper does not decide between the two readings.",
        "Sampled volumes in several landscapes, and errors of differences along the same directions.",
    ),
}  # fmt: skip
