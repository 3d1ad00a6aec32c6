"""This package is Baton's service and its command line."""

import os
import sys

# Two optional imports cost start-up time, and nothing here uses them: httpx's command line (with
# rich and pygments), and OpenTelemetry's metrics SDK in redis-py. Python raises ImportError for a
# module whose entry is None, and both libraries do without.
for _module in ("httpx._main", "opentelemetry.sdk.metrics"):
    sys.modules.setdefault(_module, None)  # type: ignore[arg-type]
# Without plugins, pydantic need not read the metadata of every installed package to find them.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
