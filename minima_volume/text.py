"""Text for terminals that cannot show every letter: σ, ± and ⁿ get ASCII spellings where the encoding lacks them."""

import codecs
import os
import re
import sys
import unicodedata
from contextlib import suppress
from io import BufferedWriter, RawIOBase, TextIOWrapper
from typing import Any, TextIO

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


class _Lossy(RawIOBase):
    """A stream that takes everything, also if its reader has gone or its disk is full: a command goes on without it."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self.raw.fileno())

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return bool(self.raw.isatty())

    def write(self, content: Any) -> int:
        """Write what can be written; return the number of bytes that were given."""
        with suppress(OSError):
            written = self.raw.write(content)
            return len(content) if written is None else int(written)  # None: a full pipe that must not be waited for
        return len(content)


def _without_errors(stream: TextIO) -> TextIO:
    """Return a stream that spells the letters that its encoding lacks, and loses what cannot be written."""
    if stream not in (sys.__stdout__, sys.__stderr__) or not isinstance(stream, TextIOWrapper):
        return stream  # something has replaced it, such as a notebook
    buffer: Any = stream.buffer
    raw = BufferedWriter(_Lossy(getattr(buffer, "raw", buffer)))
    prompt = stream.line_buffering or stream.write_through
    return TextIOWrapper(raw, encoding=stream.encoding, errors=HANDLER, line_buffering=prompt)


def prepare_streams() -> None:
    """Let every print of this process succeed.

    A stream that was closed by whoever started the process, as by `>&-`, leads nowhere. Without that, a file would be opened
    at its number, and what libraries print would be written into the file. Of a stream whose reader has gone, as in
    `make figs | head`, or on a full disk, what cannot be written is lost. stdout and stderr spell the letters that their
    encodings lack.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= HIGHEST_STANDARD:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")
    sys.stdout, sys.stderr = _without_errors(sys.stdout), _without_errors(sys.stderr)
