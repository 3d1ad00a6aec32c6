"""Baton's service and its command line."""

import sys

# httpx imports its own command line, if it can, and with it what draws on terminals (rich,
# pygments). Python does not look for a module that stands here as None, and httpx does without.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
