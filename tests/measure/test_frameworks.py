"""Models of Hugging Face's transformers, built from a configuration without a download."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from minima_volume import measure_volume
from tests.measure.zoo import plain_radii

transformers = pytest.importorskip("transformers", reason="needs transformers, which is no dependency")


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    return transformers.GPT2LMHeadModel(config).eval()


def bert() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3,
        max_position_embeddings=8,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).eval()


def batches(labels: int) -> list[dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    shape = (5, 6) if labels == 11 else (5,)
    return [
        {"input_ids": torch.randint(11, (5, 6), generator=draw), "labels": torch.randint(labels, shape, generator=draw)}
        for _ in range(2)
    ]


def language(model: Any, batch: Any) -> Any:
    logits = model(input_ids=batch["input_ids"]).logits[:, :-1]
    losses = functional.cross_entropy(logits.transpose(1, 2), batch["labels"][:, 1:], reduction="none")
    return losses, (batch["labels"][:, 1:] > 1).to(losses)  # two of the tokens are padding


def sentences(model: Any, batch: Any) -> Any:
    return functional.cross_entropy(model(input_ids=batch["input_ids"]).logits, batch["labels"], reduction="none")


@pytest.mark.parametrize(
    ("build", "closure", "labels"), [(gpt2, language, 11), (bert, sentences, 3)], ids=["GPT-2", "BERT"]
)
def test_a_model_from_a_configuration(build: Any, closure: Any, labels: int) -> None:
    data = batches(labels)

    def height(model: nn.Module) -> Tensor:
        found = [closure(model, batch) for batch in data]
        pairs = [each if isinstance(each, tuple) else (each, torch.ones_like(each)) for each in found]
        return sum((l * w).sum() for l, w in pairs) / sum(w.sum() for _, w in pairs)

    model = build()
    threshold = 1.1 * float(height(model).detach())
    found = measure_volume(model, closure, data, threshold=threshold, n_directions=2, progress=False)
    n, wanted = plain_radii(model, height, threshold, rays=2)
    np.testing.assert_allclose(n * found.log_radii, n * np.array(wanted), atol=0.01)  # the promise
