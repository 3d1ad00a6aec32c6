"""The store: records, indexes, queues and logs in Redis. Each change is one atomic script."""

from app.builds.store.connection import connect
from app.builds.store.prefetched_tokens import PrefetchedTokenStore
from app.builds.store.queue_reader import QueueReader
from app.builds.store.redis import BuildStore

__all__ = ["BuildStore", "PrefetchedTokenStore", "QueueReader", "connect"]
