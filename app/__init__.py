"""Baton's service and its command line."""

import os
import sys

# What libraries bring along if they can, and nothing here uses: httpx its own command line (with
# rich and pygments), redis-py the metrics of OpenTelemetry's SDK. Python does not look for a module
# that stands here as None, and they do without.
for _module in ("httpx._main", "opentelemetry.sdk.metrics"):
    sys.modules.setdefault(_module, None)  # type: ignore[arg-type]
# Nor has pydantic to read what all other packages say of themselves, in search of plugins.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
