"""The store: records, indexes, queues and logs in Redis. Each change is one atomic script."""

from app.builds.store.connection import connect
from app.builds.store.kept import KeptStore
from app.builds.store.redis import BuildStore
from app.builds.store.waits import WaitReader

__all__ = ["BuildStore", "KeptStore", "WaitReader", "connect"]
