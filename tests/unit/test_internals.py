"""What Baton overrides and uses inside the libraries below it is there, and as it was.

Nobody promises these parts: any release of a library may change them. pyproject.toml keeps out the
releases that may, and who lets one in hears here which file of ours to look at.
"""

import inspect
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import amqp
import billiard.util
import celery.apps.worker
import celery.signals
import fakeredis
import httptools
import pytest
import uvicorn
from celery import Celery, Task
from celery.app.amqp import AMQP
from celery.app.defaults import SETTING_KEYS
from celery.concurrency.base import BasePool
from celery.worker import loops, state, strategy
from celery.worker.consumer import Consumer
from celery.worker.consumer.connection import Connection as ConnectionStep
from celery.worker.consumer.consumer import Evloop
from celery.worker.consumer.tasks import Tasks
from celery.worker.request import Request
from kombu import Connection, Consumer as Subscription, Message, Producer
from kombu.asynchronous import Hub
from kombu.transport.redis import Channel as RedisChannel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

import worker.__main__ as worker_main
from app.builds import pubsub, queue
from app.builds.store import pipelined
from app.cli.local import fake_store
from app.cli.serving import http_protocol, server
from worker import celery_app, consumer, rabbitmq, request, tasks
from worker.settings import WorkerSettings

ROOT: Final = Path(__file__).parents[2]

#: The class that a `TcpFakeServer` gives its connections to.
FakeHandler: Final[Any] = vars(sys.modules[fakeredis.TcpFakeServer.__module__])[
    "TCPFakeRequestHandler"
]

celery_program: Final[Any] = celery.apps.worker

#: The methods that a class of ours has in place of its base's.
OVERRIDDEN: Final[dict[type, str]] = {
    http_protocol.HttpProtocol: "connection_made connection_lost data_received on_message_begin"
    " on_headers_complete on_body on_message_complete send_400_response pause_writing"
    " resume_writing",
    server._Server: "startup shutdown",
    consumer.BuildConsumer: "create_task_handler",
    rabbitmq.SlotConsumer: "consume",
    rabbitmq.SlotTasks: "name start stop",
    rabbitmq.RabbitSteps: "default_steps name",
    rabbitmq.RabbitConsumer: "Blueprint",
    request.BuildRequest: "on_accepted on_timeout on_failure",
}

#: Whose file of ours uses which names of a library's class, module or object.
USED: Final[list[tuple[ModuleType, object, str]]] = [
    (http_protocol, HttpToolsProtocol, "connections transport cycle loop parser headers"),
    (http_protocol, RequestResponseCycle, "response_started response_complete"),
    (http_protocol, httptools.HttpRequestParser, "get_http_version"),
    (server, uvicorn.Server, "started config"),
    (rabbitmq, Consumer, "app pool hub connection_errors initial_prefetch_count"),
    (rabbitmq, BasePool, "num_processes"),
    (rabbitmq, Subscription, "queues consuming_from cancel"),
    (rabbitmq, AMQP, "Consumer TaskConsumer"),
    (rabbitmq, amqp.Connection, "sock"),
    (rabbitmq, state, "reserved_requests"),
    (rabbitmq, Hub, "on_tick call_repeatedly"),
    (rabbitmq, Connection, "collect"),
    (consumer, Consumer, "loop"),
    (consumer, Message, "acknowledged reject headers content_type"),
    (request, Message, "payload"),
    (request, Request, "args"),
    (tasks, Task, "Request"),
    (worker_main, celery_program, "safe_say"),
    (worker_main, billiard.util, "get_logger"),
    (worker_main, celery.apps.worker.Worker, "start exitcode"),
    (queue, Connection, "connection default_channel connection_errors channel_errors collect"),
    (queue, AMQP, "queues"),
    (pipelined, ConnectionPool, "make_connection"),
    (pipelined, AbstractConnection, "socket_timeout connect"),
    (pubsub, AbstractConnection, "connect send_command"),
    (fake_store, FakeHandler, "setup"),
]

#: Code of a library that reads or calls what a file of ours puts in that place.
READ_BY: Final[list[tuple[ModuleType, Any, str]]] = [
    (http_protocol, HttpToolsProtocol.data_received, "send_400_response"),
    (http_protocol, HttpToolsProtocol.__init__, "HttpRequestParser"),
    (server, uvicorn.Server._serve, "startup shutdown"),
    (consumer, loops.asynloop, "create_task_handler"),
    (consumer, Consumer.__init__, "loop Blueprint"),
    (consumer, Evloop.start, "loop"),
    (rabbitmq, AMQP.TaskConsumer, "Consumer"),
    (rabbitmq, ConnectionStep.start, "connection"),
    (rabbitmq, Tasks.start, "TaskConsumer task_consumer initial_prefetch_count"),
    (rabbitmq, Consumer.register_with_event_loop, "register_with_event_loop"),
    (rabbitmq, Consumer.shutdown, "shutdown"),
    (rabbitmq, Hub.create_loop, "on_tick"),
    (request, strategy.default, "Request"),
    (worker_main, celery_program._shutdown_handler, "safe_say"),
    (worker_main, celery_program.on_cold_shutdown, "safe_say"),
    (fake_store, FakeHandler.setup, "current_client"),
    (fake_store, FakeHandler.handle, "current_client read_response"),
]

#: The arguments that a file of ours gives by name, and that nobody would miss who swallows others.
TAKES: Final[list[tuple[ModuleType, Any, str]]] = [
    (queue, Celery.send_task, "producer expires time_limit"),
    (queue, Producer.publish, "mandatory confirm_timeout expiration headers"),
    (queue, Connection._ensure_connection, "max_retries interval_start timeout"),
    (queue, amqp.Connection.__init__, "confirm_publish"),
    (rabbitmq, Hub.call_repeatedly, "delay callback"),
    (pipelined, AbstractConnection.send_packed_command, "check_health"),
    (pipelined, AbstractConnection.disconnect, "nowait"),
    (pubsub, AbstractConnection.read_response, "timeout push_request"),
]

#: Libraries of which a part is used that they do not promise, and by whose next release it may go.
PACKAGES: Final = ("billiard", "celery", "fakeredis", "kombu", "redis", "uvicorn")


def place(thing: object) -> str:
    """A class or module of ours, as the file that it is in."""
    found = inspect.getsourcefile(thing)  # type: ignore[arg-type]
    assert found
    return str(Path(found).relative_to(ROOT))


def called(thing: object) -> str:
    """A class, method or module of a library, with the library's version."""
    module = thing if isinstance(thing, ModuleType) else inspect.getmodule(thing)
    assert module
    [package, *_] = packages_distributions()[module.__name__.partition(".")[0]]
    name = getattr(thing, "__qualname__", module.__name__)
    return f"{name} of {package} {version(package)}"


def words(code: CodeType) -> set[str]:
    """All names and texts that a piece of code, and what is defined in it, speaks of."""
    found = {*code.co_names, *(each for each in code.co_consts if isinstance(each, str))}
    return found.union(*(words(each) for each in code.co_consts if isinstance(each, CodeType)))


def code_of(function: Any) -> CodeType:
    code = inspect.unwrap(function).__code__
    assert isinstance(code, CodeType)
    return code


def has(owner: object, name: str) -> bool:
    """Whether `owner` has it, or its instances get it in `__init__`."""
    if hasattr(owner, name):
        return True
    bases = owner.__mro__ if isinstance(owner, type) else ()
    makers = [vars(each).get("__init__") for each in bases]
    return any(inspect.isfunction(each) and name in words(each.__code__) for each in makers)


def theirs(ours: type) -> tuple[type, ...]:
    """The bases of a class of ours that a library brought."""
    own = ("app.", "worker.")
    return tuple(
        each
        for each in ours.__mro__
        if not each.__module__.startswith(own) and each.__module__ != "builtins"
    )


def spread(
    rows: list[tuple[ModuleType, Any, str]],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One case for each name of each row."""
    cases = [
        pytest.param(ours, owner, name, id=f"{getattr(owner, '__qualname__', owner)}.{name}")
        for ours, owner, names in rows
        for name in names.split()
    ]
    return pytest.mark.parametrize(("ours", "owner", "name"), cases)


@pytest.mark.parametrize(
    ("ours", "name"), [(ours, name) for ours, names in OVERRIDDEN.items() for name in names.split()]
)
def test_what_we_override_is_there_and_takes_what_ours_takes(ours: type, name: str) -> None:
    base = next((each for each in theirs(ours) if name in vars(each)), None)
    assert base, (
        f"{called(theirs(ours)[0])} has no {name} any more: look at {place(ours)}, whose own is "
        "called by nobody"
    )
    method = vars(ours)[name]
    if not inspect.isfunction(method):
        return
    parameters = inspect.signature(method).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    expected, found = list(parameters), list(inspect.signature(vars(base)[name]).parameters)
    assert len(found) == len(expected), (
        f"{called(vars(base)[name])} takes {found}: look at {place(ours)}, whose own takes "
        f"{expected}"
    )


@pytest.mark.parametrize("ours", OVERRIDDEN)
def test_all_that_we_override_is_named_here(ours: type) -> None:
    both = {
        name
        for name in vars(ours)
        if not name.startswith("__") and any(name in vars(each) for each in theirs(ours))
    }
    assert both == set(OVERRIDDEN[ours].split())


@spread(USED)
def test_what_we_use_is_there(ours: ModuleType, owner: object, name: str) -> None:
    assert has(owner, name), (
        f"{called(owner)} has no {name} any more: look at {place(ours)}, which uses it"
    )


@spread(READ_BY)
def test_what_we_put_in_place_is_asked_for(ours: ModuleType, owner: Any, name: str) -> None:
    assert name in words(code_of(owner)), (
        f"{called(owner)} does not ask for {name} any more: look at {place(ours)}, whose own it "
        "was to find there"
    )


@spread(TAKES)
def test_what_we_call_takes_our_arguments(ours: ModuleType, owner: Any, name: str) -> None:
    assert name in inspect.signature(owner).parameters, (
        f"{called(owner)} takes no {name} any more: look at {place(ours)}, which gives it"
    )


def test_a_refused_head_is_a_parsers_error() -> None:
    assert issubclass(httptools.HttpParserCallbackError, httptools.HttpParserError), (
        f"uvicorn would not answer what {place(http_protocol)} refuses"
    )


def test_uvicorn_takes_a_protocol_of_ours() -> None:
    config = uvicorn.Config(lambda: None, http=http_protocol.bounded(1), log_config=None, ws="none")
    config.load()
    assert issubclass(config.http_protocol_class, http_protocol.HttpProtocol), (
        f"uvicorn {version('uvicorn')} chooses another protocol than that of {place(http_protocol)}"
    )


@pytest.mark.parametrize("broker", ["redis://localhost", "amqp://localhost"])
def test_celery_knows_each_setting_that_it_is_given(broker: str) -> None:
    """It takes any name, and does nothing with one that it does not know."""
    settings = WorkerSettings.from_env(
        {
            "BATON_BROKER_URL": broker,
            "BATON_API_URL": "https://builds.example.com",
            "BATON_MESSAGE_KEYS": "A" * 43 + "=",
        }
    )
    for ours, app in (
        (celery_app, celery_app.create_celery(settings)),
        (queue, queue.CeleryQueue(broker, redelivery_after=60)._celery),
    ):
        unknown = set(app.conf.changes or {}) - SETTING_KEYS - {"deprecated_settings"}
        assert not unknown, (
            f"{called(Celery)} has no setting {', '.join(unknown)} any more: look at {place(ours)}"
        )
        options = set(app.conf.broker_transport_options) - {"confirm_publish"}
        assert options <= set(RedisChannel.from_transport_options), (
            f"{called(RedisChannel)} has no option {options} any more: look at {place(ours)}"
        )


@pytest.mark.parametrize(
    ("ours", "names"),
    [
        (worker_main, "setup_logging worker_process_shutdown worker_shutting_down"),
        (celery_app, "worker_process_init"),
        (tasks, "task_prerun task_postrun"),
    ],
)
def test_celery_sends_the_signals_that_we_answer(ours: ModuleType, names: str) -> None:
    for name in names.split():
        signal = getattr(celery.signals, name, None)
        assert signal, f"{called(celery)} sends no {name} any more: look at {place(ours)}"
        assert not name.startswith("task_") or "args" in signal.providing_args, place(ours)


def test_the_steps_of_a_worker_on_rabbitmq_are_celerys() -> None:
    names = [each for each in rabbitmq.RabbitSteps.default_steps if isinstance(each, str)]
    assert len(names) == 2
    for name in names:
        assert name in Consumer.Blueprint.default_steps, (
            f"{called(Consumer)} has no step {name} any more: look at {place(rabbitmq)}"
        )


@pytest.mark.parametrize("package", PACKAGES)
def test_the_next_release_that_may_change_them_is_kept_out(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = map(Requirement, project["dependencies"] + project["optional-dependencies"]["dev"])
    [found] = [each for each in asked if canonicalize_name(each.name) == package]
    assert any(each.operator == "<" for each in found.specifier), f"{found} has no upper bound"
    assert found.specifier.contains(version(package))
