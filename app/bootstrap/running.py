"""`running` makes the parts of the API that live as long as it serves, and runs those that work."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from limits.aio.storage import RedisStorage
from redis.asyncio import Redis
from starlette.applications import Starlette

from app.api.auth import Authenticator
from app.api.endpoints.health import CachedCheck
from app.api.limits import Limits, Quota
from app.api.metrics.metrics import Metrics
from app.api.problems import Problems
from app.api.state import AppState
from app.api.stream_limit import StreamLimit
from app.bootstrap.tokens import OwnKeys, Tokens, make_tokens
from app.builds.dispatch import DRAIN_TIMEOUT, Dispatcher, DispatchRules
from app.builds.held_heartbeats import HeldHeartbeats
from app.builds.pubsub import PubSub
from app.builds.queue import BuildQueue, CeleryQueue
from app.builds.queue_position import QueuePositions, QueueRules
from app.builds.reaper import Reaper, ReaperRules
from app.builds.service import BuildRules, BuildService
from app.builds.store import BuildStore, connect
from app.builds.store.keys import RATES
from app.builds.streams import BuildStreams
from app.config.lifetime import DISPATCH_MARGIN, redelivery_after
from app.config.rates import parse_rate
from app.config.settings import Settings
from app.contract import dpop, scopes
from app.minting import TokenMinter
from app.observability.tracing import Tracing
from app.tls import context_for
from app.tokens.dpop import ProofChecker

log = logging.getLogger(__name__)

#: Connections to the provider are kept open for the next build: a TLS handshake costs more than the
#: rest of minting. The expiry is in seconds.
_MINTING_CONNECTIONS: Final = httpx.Limits(max_keepalive_connections=16, keepalive_expiry=60)

#: Seconds before a background task that failed is started again.
_RESTART_INTERVAL: Final = 1.0

#: Seconds after which a background task that has not ended is cancelled again. The dispatcher may
#: finish what it has begun.
_STOP_TIMEOUT: Final = DRAIN_TIMEOUT + 1

#: Seconds for sending the last spans.
_TRACE_FLUSH_TIMEOUT: Final = 2.0


@asynccontextmanager
async def running(
    app: Starlette, settings: Settings, problems: Problems, keys: OwnKeys, traces: Tracing
) -> AsyncIterator[None]:
    traces.start()
    redis = connect(settings.redis_url.get_secret_value())
    store = BuildStore(redis)
    subscription = Redis.from_url(settings.redis_url.get_secret_value())
    metrics = Metrics(store.counts, provider=settings.minter)
    queue = CeleryQueue(
        settings.broker,
        redelivery_after=redelivery_after(settings.timing, settings.max_build_timeout),
        seal=settings.seal,
    )
    trusted = context_for(settings.keys_url, settings.token_url)
    async with httpx.AsyncClient(
        timeout=10, trust_env=True, verify=trusted, limits=_MINTING_CONNECTIONS
    ) as http:
        tokens = make_tokens(
            settings, http, keys, store.prefetched_tokens, on_exchange=metrics.exchanged
        )
        pubsub = PubSub(subscription)
        app.state.end_streams = pubsub.stop
        app.state.baton = _state(settings, problems, redis, store, pubsub, queue, tokens, metrics)
        background = [
            asyncio.create_task(_keep_running(run), name=name)
            for name, run in {
                "pubsub": pubsub.run,
                "dispatch": _dispatcher(
                    settings, store, queue, tokens.minter, pubsub, metrics, traces
                ).run,
                "reaper": _reaper(settings, store).run,
            }.items()
        ]
        try:
            yield
        finally:
            await stop(background)
            await tokens.minter.close()
            await tokens.keys.close()
            await queue.close()
            await subscription.aclose()
            await store.close()
            await asyncio.to_thread(traces.stop, _TRACE_FLUSH_TIMEOUT)


def _state(
    settings: Settings,
    problems: Problems,
    redis: "Redis",
    store: BuildStore,
    pubsub: PubSub,
    queue: BuildQueue,
    tokens: Tokens,
    metrics: Metrics,
) -> AppState:
    async def keys_ready() -> None:
        if not await tokens.keys.ready():
            raise ConnectionError(f"no keys from {settings.keys_url}")

    stream_limit = StreamLimit(settings.user_streams)
    metrics.count_streams(lambda: stream_limit.open)
    limits = _limits(settings, redis)
    service = BuildService(store=store, rules=_build_rules(settings))
    proofs = ProofChecker([settings.api_url, *settings.dpop_urls], store.first_use)
    return AppState(
        service=service,
        streams=BuildStreams(store, pubsub),
        held_heartbeats=HeldHeartbeats(service, pubsub, lease=settings.lease),
        queue_positions=QueuePositions(store.queue, _queue_rules(settings)),
        auth=Authenticator(tokens.verifier, proofs, limits, tokens.exchanged),
        limits=limits,
        stream_limit=stream_limit,
        metrics=metrics,
        exchange=tokens.exchange,
        problems=problems,
        max_body=settings.max_body,
        root=settings.root_path,
        checks={
            "store": CachedCheck("store", store.ping),
            "broker": CachedCheck("broker", queue.ping),
            "issuer": CachedCheck("issuer", keys_ready),
        },
        jwks=tokens.published,
        resource_metadata=_resource_metadata(settings),
        openid_configuration=settings.discovery_url,
    )


def _build_rules(settings: Settings) -> BuildRules:
    return BuildRules(
        max_build_timeout=settings.max_build_timeout,
        max_queue_wait=settings.max_queue_wait,
        lease=settings.lease,
        kill_grace=settings.kill_grace,
        report_window=settings.report_window,
        after_timeout=settings.timers(0).run_limit,
        log_limit=settings.log_limit,
        idempotency_ttl=settings.idempotency_ttl,
        user_queue=settings.user_queue,
    )


def _resource_metadata(settings: Settings) -> dict[str, Any]:
    """Return the metadata of RFC 9728 §2, with the client and audience that `baton login` needs."""
    metadata: dict[str, Any] = {
        "resource": settings.api_url,
        "authorization_servers": [settings.issuer],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": [dpop.ALGORITHM],
        "scopes_supported": [scopes.READ_BUILDS, scopes.CREATE_BUILDS, scopes.UPDATE_BUILDS],
        "resource_name": "Baton",
        "baton_audience": settings.audience,
    }
    if settings.cli_client_id:
        metadata["baton_cli_client_id"] = settings.cli_client_id
    return metadata


def _limits(settings: Settings, redis: "Redis") -> Limits:
    """Make the quotas, which count in the store and share its connections."""
    pool: Any = redis.connection_pool  # documented, but missing in its type
    storage = RedisStorage(
        "async+redis://",  # not used: the pool knows the address
        implementation="redispy",
        key_prefix=RATES,
        connection_pool=pool,
    )
    users, addresses = parse_rate(settings.rate_per_user), parse_rate(settings.rate_per_address)
    return Limits(
        users=Quota("user", users, storage) if users else None,
        addresses=Quota("address", addresses, storage) if addresses else None,
    )


def _dispatcher(
    settings: Settings,
    store: BuildStore,
    queue: BuildQueue,
    minter: TokenMinter,
    pubsub: PubSub,
    metrics: Metrics,
    traces: Tracing,
) -> Dispatcher:
    return Dispatcher(
        store=store.dispatching,
        queue=queue,
        minter=minter,
        timers=settings.timers,
        rules=DispatchRules(
            provider=settings.minter,
            window=settings.dispatch_window,
            user_limit=settings.user_concurrency,
            hold=DISPATCH_MARGIN,
            leeway=settings.leeway,
        ),
        work=pubsub.work,
        observer=metrics,
        traces=traces,
    )


def _queue_rules(settings: Settings) -> QueueRules:
    return QueueRules(
        user_limit=settings.user_concurrency,
        window=settings.dispatch_window,
        queue_ttl=settings.queue_ttl,
    )


def _reaper(settings: Settings, store: BuildStore) -> Reaper:
    return Reaper(
        store.dispatching,
        ReaperRules(
            lease=settings.lease,
            max_attempts=settings.max_attempts,
            max_wait=settings.max_queue_wait,
            retention=settings.retention,
        ),
    )


async def stop(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks until all have ended.

    One cancel may not be enough: before Python 3.12, `asyncio.wait_for`, which redis-py uses,
    swallows a cancel that arrives as its own wait ends.
    """
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=_STOP_TIMEOUT)


async def _keep_running(run: Callable[[], Awaitable[None]]) -> None:
    """Error boundary: a failed background task is logged and restarted, so builds always end."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("a background task failed; starting it again")
        await asyncio.sleep(_RESTART_INTERVAL)
