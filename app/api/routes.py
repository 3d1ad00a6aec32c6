"""`OPERATIONS` lists every call of the API."""

from typing import Final

from app.api.endpoints import builds, events, health, logs, metadata, runs
from app.api.operation import BUILD_TOKEN, Operation, for_user, for_worker
from app.contract import paths, prefer
from app.contract.builds import BuildPage, BuildView
from app.contract.problems import Code
from app.contract.runs import (
    LEASE_HEADER,
    Appended,
    Claim,
    ClaimRequest,
    Directive,
)
from app.contract.scopes import CREATE_BUILDS, READ_BUILDS, UPDATE_BUILDS
from app.contract.spec import BuildSpec

_KEY: Final = {"Idempotency-Key": "same key and same body: the same build; other body: 422"}
_LAST_EVENT: Final = {"Last-Event-ID": "the `id` of the last event: go on after it"}
_LEASE: Final = {LEASE_HEADER: "the lease id of the claim"}
_PREFER: Final = {prefer.PREFER: "wait=N: answer when there is an order, or after N seconds"}
_APPLIED: Final = {prefer.PREFERENCE_APPLIED: "wait=N: it was held, for N seconds at most"}
_DOCUMENT: Final = "application/json"
_SUBMITTED: Final = (Code.INVALID_BODY, Code.KEY_REUSED, Code.QUEUE_FULL)
_EXCHANGED: Final = (Code.NO_TOKEN, Code.TOKEN_REFUSED)
_HELD: Final = (Code.LEASE_LOST, Code.BUILD_FINAL)

OPERATIONS: Final = (
    Operation(
        method="POST",
        path=paths.BUILDS,
        summary="Submit a build",
        endpoint=for_user(CREATE_BUILDS, builds.submit),
        token=CREATE_BUILDS,
        request_model=BuildSpec,
        response_model=BuildView,
        status=202,
        optional_headers=_KEY,
        problems=(*_SUBMITTED, *_EXCHANGED),
    ),
    Operation(
        method="GET",
        path=paths.BUILDS,
        summary="List own builds, newest first",
        endpoint=for_user(READ_BUILDS, builds.page),
        token=READ_BUILDS,
        response_model=BuildPage,
        query={
            "status": "only builds in this state",
            "label": "only builds with this label, `name` or `name:value`; repeated: with each of "
            "them. Such a page may be short, or empty, and have a `next` one",
            "limit": "1 to 100, default 20",
            "cursor": "the `next` of the page before",
        },
    ),
    Operation(
        method="GET",
        path=paths.EVENTS,
        summary="Follow own builds as they change",
        endpoint=for_user(READ_BUILDS, events.builds),
        token=READ_BUILDS,
        response_model="text/event-stream",
        optional_headers=_LAST_EVENT,
        problems=(Code.TOO_MANY_STREAMS,),
    ),
    Operation(
        method="GET",
        path=paths.BUILD,
        summary="Show a build",
        endpoint=for_user(READ_BUILDS, builds.show),
        token=READ_BUILDS,
        response_model=BuildView,
    ),
    Operation(
        method="POST",
        path=paths.CANCEL,
        summary="Cancel a build",
        endpoint=for_user(UPDATE_BUILDS, builds.cancel),
        token=UPDATE_BUILDS,
        response_model=BuildView,
        extra_responses={202: "its worker was asked to end it"},
        problems=(Code.NOT_CANCELLABLE,),
    ),
    Operation(
        method="POST",
        path=paths.RETRY,
        summary="Build the same spec again",
        endpoint=for_user(CREATE_BUILDS, builds.retry),
        token=CREATE_BUILDS,
        response_model=BuildView,
        status=202,
        optional_headers=_KEY,
        problems=(*_SUBMITTED, *_EXCHANGED),
    ),
    Operation(
        method="GET",
        path=paths.LOG,
        summary="Read or follow a build's log",
        endpoint=for_user(READ_BUILDS, logs.read),
        token=READ_BUILDS,
        response_model="text/plain",
        extra_responses={206: "the range that was asked for"},
        query={"follow": "1: stream until the build ends"},
        optional_headers={"Range": "a single byte range"},
        problems=(Code.RANGE_NOT_SATISFIABLE, Code.TOO_MANY_STREAMS),
    ),
    Operation(
        method="GET",
        path=paths.BUILD_EVENTS,
        summary="Follow a build and its log",
        endpoint=for_user(READ_BUILDS, events.build),
        token=READ_BUILDS,
        response_model="text/event-stream",
        query={"log": "0: without the log"},
        optional_headers=_LAST_EVENT,
        problems=(Code.TOO_MANY_STREAMS,),
    ),
    Operation(
        method="POST",
        path=paths.CLAIM,
        summary="Claim a build (workers)",
        endpoint=for_worker(runs.claim),
        token=BUILD_TOKEN,
        request_model=ClaimRequest,
        response_model=Claim,
        problems=(Code.HELD_BY_ANOTHER, Code.LEASE_LOST, Code.BUILD_FINAL),
    ),
    Operation(
        method="POST",
        path=paths.HEARTBEAT,
        summary="Renew the lease, and hear orders (workers)",
        endpoint=for_worker(runs.heartbeat),
        token=BUILD_TOKEN,
        response_model=Directive,
        optional_headers=_PREFER,
        required_headers=_LEASE,
        response_headers=_APPLIED,
        problems=_HELD,
    ),
    Operation(
        method="PATCH",
        path=paths.LOG,
        summary="Append to the log (workers)",
        endpoint=for_worker(runs.append_log),
        token=BUILD_TOKEN,
        response_model=Appended,
        status=202,
        required_headers={**_LEASE, "Content-Range": "bytes first-last/*"},
        problems=(*_HELD, Code.LOG_CONFLICT, Code.TOO_LARGE, Code.LOG_FULL, Code.LOG_GAP),
    ),
    Operation(
        method="PUT",
        path=paths.BUILD,
        summary="Report progress or the result (workers)",
        endpoint=for_worker(runs.report),
        token=BUILD_TOKEN,
        request_model=runs.Report,
        response_model=Directive,
        required_headers=_LEASE,
        problems=(*_HELD, Code.RESULT_CONFLICT, Code.LOG_INCOMPLETE),
    ),
    Operation(
        method="POST",
        path=paths.BUILD,
        summary="The same as PUT (workers)",
        endpoint=for_worker(runs.report),
        token=BUILD_TOKEN,
        request_model=runs.Report,
        response_model=Directive,
        required_headers=_LEASE,
        problems=(*_HELD, Code.RESULT_CONFLICT, Code.LOG_INCOMPLETE),
    ),
    Operation(
        method="GET",
        path=paths.HEALTHZ,
        summary="Liveness",
        endpoint=health.healthz,
        response_model=_DOCUMENT,
        probe=True,
    ),
    Operation(
        method="GET",
        path=paths.READYZ,
        summary="Readiness",
        endpoint=health.readyz,
        response_model=_DOCUMENT,
        probe=True,
        extra_responses={503: "not ready; `checks` says what is missing"},
    ),
    Operation(
        method="GET",
        path=paths.METRICS,
        summary="Numbers for Prometheus",
        endpoint=health.metrics,
        response_model="text/plain",
        probe=True,
    ),
    Operation(
        method="GET",
        path=paths.OPENAPI,
        summary="This document",
        endpoint=metadata.openapi,
        response_model=_DOCUMENT,
    ),
    Operation(
        method="GET",
        path=paths.JWKS,
        summary="Keys of the local minter",
        endpoint=metadata.jwks,
        response_model=_DOCUMENT,
    ),
    Operation(
        method="GET",
        path=paths.PROTECTED_RESOURCE,
        summary="RFC 9728 metadata",
        endpoint=metadata.protected_resource,
        response_model=_DOCUMENT,
    ),
)
