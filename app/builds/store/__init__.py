"""The store keeps records, indexes, queues and logs in Redis; each change is one atomic script."""

from app.builds.store.connection import connect
from app.builds.store.store import BuildStore

__all__ = ["BuildStore", "connect"]
