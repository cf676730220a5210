"""Text for terminals that cannot show every letter: σ, ± and ⁿ get ASCII spellings where the encoding lacks them."""

import codecs
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

# Marks without a name of their own in ASCII. Greek letters are named, powers are marked, accents are dropped.
SPELLINGS = {
    "±": "+-", "×": "x", "·": "*", "÷": "/", "−": "-", "–": "-", "—": "-", "‖": "||", "≤": "<=", "≥": ">=", "≈": "~",
    "∝": "~", "√": "sqrt", "∞": "inf", "∂": "d", "∇": "grad", "∫": "int", "∘": "o", "½": "1/2", "…": "...", "→": "->",
    "’": "'", "‘": "'", "“": '"', "”": '"', "′": "'", "⟨": "<", "⟩": ">", "✓": "+", "✗": "x", "∈": "in",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^", "█": "#",
}  # fmt: skip
HIGHEST_STANDARD = 2  # descriptor of stderr; the lower ones are stdin and stdout
HANDLER = "minima_volume.spell"  # name of the error handler that Python's encoders know


def spell(error: UnicodeError) -> tuple[str, int]:
    """Spell letters that an encoding lacks. Python's encoders call this as the error handler `HANDLER`.

    Args:
        error: What the encoder reports.

    Returns:
        The spelling of the letters, and where to continue.

    Raises:
        UnicodeError: If the error is not one of encoding.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    spelled, power = "", False
    for letter in error.object[error.start : error.end]:
        raised = unicodedata.decomposition(letter).startswith("<super>")
        spelled += "^" * (raised and not power) + _spelled(letter)
        power = raised
    return spelled, error.end


def _spelled(letter: str) -> str:
    """Return an ASCII spelling of one letter; its number in Unicode if there is none."""
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(letter, ""))
    if greek:
        return greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize()
    plain = "".join(SPELLINGS.get(part, part) for part in unicodedata.normalize("NFKD", SPELLINGS.get(letter, letter)))
    return plain.encode("ascii", "ignore").decode() or letter.encode("ascii", "backslashreplace").decode()


codecs.register_error(HANDLER, spell)


def encodable(text: str, stream: TextIO | None) -> str:
    """Return a text as a stream can write it.

    Args:
        text: Any text.
        stream: Where it will be printed; None, as in a program without a terminal, takes everything.

    Returns:
        The text, with ASCII spellings of the letters that the encoding of the stream lacks.

    Example:
        >>> from io import BytesIO, TextIOWrapper
        >>> encodable("ln E[rⁿ] = 3.1 ± 0.2", TextIOWrapper(BytesIO(), encoding="ascii"))
        'ln E[r^n] = 3.1 +- 0.2'
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, HANDLER).decode(encoding)


def prepare_streams() -> None:
    """Let every print of this process succeed.

    A stream that was closed by whoever started the process, as by `>&-`, leads nowhere. Without that, a file would be opened
    at its number, and what libraries print would be written into the file. stdout and stderr spell the letters that their
    encodings lack.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= HIGHEST_STANDARD:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        # Streams that something has replaced, such as a notebook's, have no encoder of their own.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=HANDLER)


@contextmanager
def no_reader_needed() -> Iterator[None]:
    """Print what may be lost: a command goes on if the reader of its output has gone, as in `make figs | head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout again at its end, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
