"""When traces are sent: as the standard variables say, and not at all without them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.contract.sealing import new_key
from app.errors import SettingsError
from app.observability import tracing
from app.observability.tracing import OFF, Tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}

API = {
    "BATON_REDIS_URL": "redis://127.0.0.1:1/0",
    "BATON_ISSUER": "https://login.example.com/",
    "BATON_AUDIENCE": "https://builds.example.com/",
    "BATON_MINT_CLIENT_SECRET": "the-secret-of-the-tests",
}
WORKER = {"BATON_BROKER_URL": "redis://127.0.0.1:1/0", "BATON_SANDBOX": "process"}


def configured(environ: dict[str, str]) -> bool:
    return Tracing.from_env("baton-test", environ)._configured


def test_an_endpoint_of_either_kind_is_enough() -> None:
    assert configured(ENDPOINT)
    assert configured({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"})
    assert configured(ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "builds", "OTEL_TRACES_SAMPLER": "always_on"},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_one_or_switched_off_there_is_nothing(environ: dict[str, str]) -> None:
    assert not configured(environ)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
            r"OTEL_EXPORTER_OTLP_ENDPOINT: must be an http\(s\) URL",
        ),
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: Baton speaks http/protobuf",
        ),
    ],
)
def test_what_cannot_be_done_stops_the_start(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Tracing.from_env("baton-test", environ)


def test_what_is_off_costs_no_span_and_no_header() -> None:
    with OFF.span("x", parent={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}) as span:
        assert not span.is_recording()
        assert tracing.carrier() == tracing.ids() == tracing.environment() == {}
        assert tracing.to_json() == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "nonsense"},
        {"traceparent": f"00-{'0' * 32}-{'b' * 16}-01"},
        {"traceparent": 7, "tracestate": ["a=1"]},
        {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01" + "x" * 10_000},
    ],
)
def test_a_trace_that_makes_no_sense_is_none(headers: dict[str, object]) -> None:
    found = tracing.extract(headers)
    assert set(found) <= {"traceparent"}
    assert tracing._read(found) == {}


@pytest.mark.parametrize("written", ["", "nonsense", "[]", '"traceparent"', "{}", '{"x": 1}'])
def test_a_record_without_a_trace_that_makes_sense_has_none(written: str) -> None:
    assert not tracing.from_json(written)


def run(part: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "baton"), part],
        env={"PATH": os.environ["PATH"], "BATON_MESSAGE_KEYS": new_key(), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("part", ["api", "worker"])
def test_without_the_extra_the_start_is_refused(tmp_path: Path, part: str) -> None:
    """Python is told that the SDK is not there, which is what it finds where it is not."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.sdk'] = None\n"  # what Python does not look for
    )
    settings = API if part == "api" else WORKER | {"BATON_API_URL": "http://127.0.0.1:1"}
    done = run(part, PYTHONPATH=str(tmp_path), **settings, **ENDPOINT)
    assert done.returncode == 2
    assert "pip install 'baton[tracing]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set" in done.stderr


def test_the_sdk_is_not_loaded_where_nothing_is_configured() -> None:
    """Not by us: redis-py loads what the SDK has for metrics wherever it is installed."""
    code = (
        "import os, sys, app.bootstrap.api, worker.__main__\n"
        "from app.observability.tracing import Tracing\n"
        "traces = Tracing.from_env('x', os.environ)\n"
        "traces.start()\n"
        "with traces.span('x'): pass\n"
        "traces.flush(1); traces.stop(1)\n"
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'google', 'requests')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": os.environ["PATH"]}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stdout


def test_numbers_that_do_not_fit_are_said_and_builds_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "3")
    traces = Tracing.from_env("baton-test", ENDPOINT)
    traces.start()
    assert not traces.on
    assert "traces are not sent: max_export_batch_size" in caplog.text
