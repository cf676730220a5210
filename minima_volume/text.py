"""Text as a terminal can show it."""

from typing import IO

# Spellings of letters that some encodings lack.
SPELLINGS = {
    "ⁿ": "^n", "±": "+-", "σ": "sigma", "γ": "gamma", "τ": "tau", "θ": "theta", "ρ": "rho", "−": "-", "·": "*", "×": "x",
    "≥": ">=", "≤": "<=", "…": "...", "‖": "|", "–": "-", "—": "-", "“": '"', "”": '"', "’": "'", "²": "^2", "√": "sqrt ",
    "Σ": "sum ", "∞": "inf", "→": "->", "Δ": "delta ", "χ": "chi", "λ": "lambda", "η": "eta", "α": "alpha", "½": "1/2",
}  # fmt: skip


def encodable(text: str, stream: IO[str] | None) -> str:
    """Return a text that a stream can encode, with Greek letters and signs spelled out where it cannot.

    Args:
        text: The text.
        stream: Where it will be printed; None and streams without an encoding take everything.

    Example:
        >>> import io
        >>> encodable("ln γ = −1 ± 0.1", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        'ln gamma = -1 +- 0.1'
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = "".join(_spelled(letter, encoding) for letter in text)
    except LookupError:
        return text
    return text


def _spelled(letter: str, encoding: str) -> str:
    """Return a letter, or its spelling if an encoding lacks it."""
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        return SPELLINGS.get(letter, "?")
    return letter
