"""What holds for every test: which run where and in what order, and what each file has cost."""

import signal
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import certifi
import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.support.servers.certificates import Certificate, certificate_for
from tests.support.servers.rabbitmq_process import CONSUMER_TIMEOUT, RabbitProcess

# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine takes its time for an example; how long says nothing.
settings.register_profile("baton", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("baton")

#: Run by one process, which starts one browser and signs in once.
_BROWSER: Final = "tests/browser/"

#: Run by one process, which starts one RabbitMQ.
_RABBITMQ: Final = ("tests/e2e/test_rabbitmq.py", "tests/seams/test_queue.py")

#: Begun first, so that none of them is waited for alone; the rest follow by their names, which
#: ends with the units.
_LONGEST_FIRST: Final = (
    _BROWSER,
    "tests/e2e/test_storm.py",
    *_RABBITMQ,
    "tests/seams/test_protocol_model.py",  # by chance one minute or four
)

_SLOWEST: Final = 10


class _ByFile(LoadFileScheduling):
    """A file's tests share what is made for them, so they run in one process."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_BROWSER):
            return _BROWSER
        file = nodeid.partition("::")[0]
        return _RABBITMQ[0] if file in _RABBITMQ else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByFile:
    config.option.loadscopereorder = False  # the order is that of the collection
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next(
            (n for n, start in enumerate(_LONGEST_FIRST) if item.nodeid.startswith(start)),
            len(_LONGEST_FIRST),
        )

    items.sort(key=place)


#: Seconds of each file's tests, with what was started and stopped for them.
_cost: defaultdict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _cost[report.nodeid.partition("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if len(_cost) > 1:
        terminalreporter.section(f"the {_SLOWEST} slowest files, in seconds; see docs/testing.md")
        for file, seconds in sorted(_cost.items(), key=lambda each: -each[1])[:_SLOWEST]:
            terminalreporter.write_line(f"{seconds:6.1f}  {file}")


@pytest.fixture(scope="session", autouse=True)
def _few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test speaks to the Internet; to read its authorities takes each client of ours 20 ms."""
    one = tmp_path_factory.mktemp("authorities") / "one.pem"
    first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
    one.write_text(first + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(one))
        yield


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of `localhost`, and of an authority that nobody trusts."""
    return certificate_for("localhost", tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def rabbit(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitProcess]:
    """One for all tests that a process runs; its start costs ten seconds of CPU."""
    folder = tmp_path_factory.mktemp("rabbit")
    with RabbitProcess(folder, consumer_timeout=CONSUMER_TIMEOUT, tls=certificate) as process:
        yield process
