"""The base of the errors that are told to a person as they are."""

from typing import ClassVar


class BatonError(Exception):
    """What went wrong, as a sentence; a command that it ends prints it, without a traceback."""

    exit_code: ClassVar[int] = 1  #: of that command

    def format_message(self) -> str:
        """The sentence, and what else is to be printed below it."""
        return str(self)


class SettingsError(BatonError, ValueError):
    """A setting is wrong or missing; the message names it and says what to do."""

    exit_code = 2

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences  #: one for each setting
        super().__init__("; ".join(sentences))
