"""The base of the errors that are told to a person as they are."""

from typing import ClassVar


class BatonError(Exception):
    """What went wrong, as a sentence; a command that it ends prints it, without a traceback."""

    exit_code: ClassVar[int] = 1  #: of that command

    def format_message(self) -> str:
        """The sentence, and what else is to be printed below it."""
        return str(self)
