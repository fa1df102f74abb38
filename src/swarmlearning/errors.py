"""The one base of errors whose message is for the person in front of the program, and how it is found."""


class UserError(Exception):
    """Something that a user or operator can do something about: the message contains what, where and what to do.

    A command prints it and ends with 1; anything else is a defect and shows its traceback.
    """


def first_cause(error: BaseException) -> BaseException:
    """The error inside (nested) exception groups that came first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
