"""What can go wrong for a user, and with which exit code does a program end?

Every class names the object and its problem; the message says what was found,
where, what is allowed and what to do.
"""


class CodesignError(Exception):
    """An error that a user can mend; printed without a traceback."""

    exit_code = 2


class InputError(CodesignError):
    """A file, flag or argument holds something that cannot be used."""


class UnknownNameError(InputError):
    """A preset, metric or command of that name does not exist."""


class UnknownKeyError(InputError):
    """A key or dotted path is not part of the record it names."""


class UnitError(InputError):
    """A quantity has no unit, an unknown one, or one of the wrong dimension."""


class BoundsError(InputError):
    """Bounds or choices of a variable contradict each other."""


class Float64DisabledError(CodesignError):
    """64-bit floats are off; derivatives of FLOP over peak would be wrong."""


class DoesNotFitError(CodesignError):
    """A model needs more memory than the system has."""

    exit_code = 3


class InfeasibleError(CodesignError):
    """No design meets all limits; carries the binding one and its relaxation."""

    exit_code = 3


class InterruptedRunError(CodesignError):
    """A run was stopped before its end; what it computed is kept."""

    exit_code = 4
