"""`answers` checks the Redis of `BATON_REDIS_URL`.

This module is imported only where that is set, as the Redis client takes long to import.
"""

import redis


def answers(url: str) -> bool:
    """Whether a Redis answers at `url` within 2 s, and has loaded its data."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except (redis.RedisError, ValueError):  # ValueError: it is no URL of a Redis
        return False
