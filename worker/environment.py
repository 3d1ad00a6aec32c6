"""`environment` builds a step's environment, which has nothing of the worker's own."""

from typing import Final

from app.contract.runs import Claim
from app.contract.spec import Step
from app.observability import tracing
from worker.sandbox import Workspace

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(
    claim: Claim, step: Step, workspace: Workspace, commit: str | None
) -> dict[str, str]:
    """Return a step's variables: defaults, the spec's own, then those that it may not change."""
    source = claim.spec.source
    return {
        "PATH": PATH,
        "HOME": str(workspace.home),
        "TMPDIR": str(workspace.tmp),
        "LANG": "C.UTF-8",
        "USER": "build",
        "LOGNAME": "build",
        "SHELL": "/bin/sh",
        **tracing.environment(),  # a build's own tools can join the trace
        **claim.spec.env,
        **step.env,
        "CI": "true",
        "BATON": "true",
        "BATON_BUILD_ID": claim.build_id,
        "BATON_ATTEMPT": str(claim.attempt),
        "BATON_COMMIT": commit or "",
        "BATON_REF": (source.ref if source else None) or "",
    }
