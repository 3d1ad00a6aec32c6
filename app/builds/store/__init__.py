"""The store: records, indexes, queues and logs in Redis. Each change is one atomic script."""

from app.builds.store.connection import connect
from app.builds.store.store import BuildStore

__all__ = ["BuildStore", "connect"]
