"""The Redis of `BATON_REDIS_URL`; loaded only where it is set, as the client takes long to load."""

import redis


def answers(url: str) -> bool:
    """Whether a Redis answers at `url`, and has loaded its data."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except (redis.RedisError, ValueError):  # ValueError: it is no URL of a Redis
        return False
