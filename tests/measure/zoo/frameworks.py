"""Models of other packages, built from a small config without a download; they are left out where the package is missing."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.measure.zoo import ZOO, Built, seeded

KIND = "frameworks"
WORDS, LENGTH = 11, 6


def texts() -> dict[str, Tensor]:
    """Return a batch as tokenizers make it: padded tokens, their mask, and labels of -100 at the padding."""
    draw = torch.Generator().manual_seed(8)
    tokens = torch.randint(1, WORDS, (8, LENGTH), generator=draw)
    mask = torch.arange(LENGTH) < torch.randint(3, LENGTH + 1, (8, 1), generator=draw)
    return {
        "input_ids": tokens * mask,
        "attention_mask": mask.long(),
        "labels": tokens.where(mask, -100),
        "classes": tokens[:, 0] % 3,
    }


def inputs_of(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a model reads."""
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def next_words(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the losses of the next tokens, and weights that leave the padding out."""
    logits, labels = model(**inputs_of(batch)).logits[:, :-1], batch["labels"][:, 1:]
    losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return losses, (labels != -100).to(losses.dtype)


def masked_words(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the losses of all tokens, and weights that leave the padding out."""
    logits = model(**inputs_of(batch)).logits
    losses = functional.cross_entropy(logits.transpose(1, 2), batch["labels"], reduction="none")
    return losses, (batch["labels"] != -100).to(losses.dtype)


def whole_texts(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return one loss for each text."""
    return functional.cross_entropy(model(**inputs_of(batch)).logits, batch["classes"], reduction="none")


def own_mean(model: Any) -> Tensor:
    """Return the loss that the model itself returns when it is trained."""
    loss: Tensor = model(**inputs_of(texts()), labels=texts()["labels"]).loss
    return loss


def own_class_mean(model: Any) -> Tensor:
    """Return the loss that a classifier of texts returns when it is trained."""
    loss: Tensor = model(**inputs_of(texts()), labels=texts()["classes"]).loss
    return loss


def hidden(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the size of each text's first hidden state."""
    state: Tensor = model(**inputs_of(batch)).last_hidden_state
    return (state[:, 0] - 1).square().mean(dim=1)


def hidden_mean(model: Any) -> Tensor:
    """Return the mean of `hidden`."""
    return hidden(model, texts()).mean()


def language_model(name: str, **options: Any) -> Any:
    """Return a tiny model of transformers."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import transformers

    config = getattr(transformers, f"{name}Config")(**options)
    kind = options.pop("kind", None)
    return seeded(getattr(transformers, kind or f"{name}LMHeadModel")(config))


GPT2 = {
    "vocab_size": WORDS,
    "n_positions": LENGTH,
    "n_embd": 8,
    "n_layer": 1,
    "n_head": 2,
    "attn_implementation": "eager",
}
BERT = {
    "vocab_size": WORDS, "max_position_embeddings": LENGTH, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 12, "type_vocab_size": 1, "num_labels": 3, "attn_implementation": "eager",
}  # fmt: skip
LLAMA = {
    "vocab_size": WORDS, "max_position_embeddings": LENGTH, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 12, "attn_implementation": "eager",
}  # fmt: skip


def of_transformers(
    name: str, build: Callable[[], Any], closure: Any, height: Callable[[nn.Module], Tensor], factor: float = 1.05
) -> None:
    """Register a model of transformers whose closure gives the model's own mean."""

    @ZOO.measured(KIND, name, height=height)
    def made() -> Built:
        with torch.no_grad():
            at = float(height(build().double()))
        return build(), closure, [texts()], {"threshold": factor * at}


if find_spec("transformers"):
    of_transformers("GPT-2 with tied embeddings", lambda: language_model("GPT2", **GPT2), next_words, own_mean)
    of_transformers(
        "GPT-2 with sdpa attention",
        lambda: language_model("GPT2", **{**GPT2, "attn_implementation": "sdpa"}),
        next_words,
        own_mean,
    )
    of_transformers(
        "BERT that predicts masked words",
        lambda: language_model("Bert", kind="BertForMaskedLM", **BERT),
        masked_words,
        own_mean,
    )
    of_transformers(
        "BERT that classifies texts",
        lambda: language_model("Bert", kind="BertForSequenceClassification", **BERT),
        whole_texts,
        own_class_mean,
    )
    of_transformers(
        "Llama with rotary embeddings",
        lambda: language_model("Llama", kind="LlamaForCausalLM", **LLAMA),
        next_words,
        own_mean,
    )

    # The pooler is computed, but its result decides nothing.
    of_transformers(
        "BERT whose pooler decides nothing",
        lambda: language_model("Bert", kind="BertModel", **BERT),
        hidden,
        hidden_mean,
    )

    @ZOO.refused(KIND, "the loss that a language model itself returns", "one loss per sample")
    def own_loss() -> Built:
        model = language_model("GPT2", **GPT2)
        return model, lambda m, b: m(**inputs_of(b), labels=b["labels"]).loss, [texts()], {"threshold": 3.0}


if find_spec("torchvision"):

    @ZOO.measured(KIND, "a residual block of torchvision", height=lambda m: _pictures_mean(m))
    def residual() -> Built:
        from torchvision.models.resnet import BasicBlock

        model = seeded(nn.Sequential(BasicBlock(2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)))
        return model, nn.CrossEntropyLoss(), _pictures(), {"threshold": 2.0}

    def _pictures() -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(5)
        return torch.randn(12, 2, 5, 5, generator=draw), torch.randint(3, (12,), generator=draw)

    @torch.no_grad()
    def _pictures_mean(model: nn.Module) -> Tensor:
        return functional.cross_entropy(model(_pictures()[0].double()), _pictures()[1])
