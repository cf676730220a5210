"""Mistakes that a user can mend, told in one sentence each."""


class UserError(Exception):
    """What was expected, what was got, and what to do about it; shown to users of `make` without a traceback."""


class DataError(UserError):
    """A data set is missing, damaged or too small for what was asked of it."""


class ResultsError(UserError):
    """A file under `results/` is not what its name says."""


class NumericsError(UserError):
    """Training or measuring produced a number that cannot be used."""
