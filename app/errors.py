"""A `BatonError` has a message that is shown to a person as it is."""

from typing import ClassVar


class BatonError(Exception):
    """An error says in a sentence what went wrong.

    The `baton` command prints that sentence without a traceback, and exits with `exit_code`.
    """

    exit_code: ClassVar[int] = 1

    def format_message(self) -> str:
        """Return the sentence, followed by the lines that are to be printed below it."""
        return str(self)


class SettingsError(BatonError, ValueError):
    """A setting is wrong or missing; the message names it and says what to do."""

    exit_code = 2

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences  #: one for each setting
        super().__init__("; ".join(sentences))
