"""The scopes of the API. A build token's scope is exactly `DELEGATED`, nothing else."""

from typing import Final

READ_BUILDS: Final = "read:builds"
CREATE_BUILDS: Final = "create:builds"
UPDATE_BUILDS: Final = "update:builds"

#: What a build token may do, and so what a user must hold to have a build run.
DELEGATED: Final = frozenset({UPDATE_BUILDS})
