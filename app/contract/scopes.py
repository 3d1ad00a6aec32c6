"""The API has three scopes; a build token's scope is exactly `DELEGATED`."""

from typing import Final

READ_BUILDS: Final = "read:builds"
CREATE_BUILDS: Final = "create:builds"
UPDATE_BUILDS: Final = "update:builds"

#: The scopes of a build token. A user must hold them, too, to have a build run.
DELEGATED: Final = frozenset({UPDATE_BUILDS})
