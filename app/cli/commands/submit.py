"""`baton submit` submits a build from options, or from a file."""

import click

from app.cli import spec_input
from app.cli.client_options import (
    as_json_option,
    follow_option,
    idempotency_key_option,
    with_client,
)
from app.cli.display.submitted import submitted
from app.client import BatonClient


@click.command("submit")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--git", metavar="URL", help="Repository to check out; a local path for baton dev.")
@click.option("--ref", help="Branch, tag or ref; default: the repository's default branch.")
@click.option("--sha", help="The commit that must be built.")
@click.option("--run", "scripts", multiple=True, metavar="SCRIPT", help="A step; repeatable.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Repeatable.")
@click.option("--timeout", type=int, metavar="SECONDS", help="Of the whole build; default 3600.")
@idempotency_key_option
@follow_option
@as_json_option
@with_client
def submit_command(
    client: BatonClient,
    file: str | None,
    git: str | None,
    ref: str | None,
    sha: str | None,
    scripts: tuple[str, ...],
    env: tuple[str, ...],
    labels: tuple[str, ...],
    timeout: int | None,
    idempotency_key: str | None,
    following: bool,
    as_json: bool,
) -> int:
    """Submit a build: from options, or from FILE, a JSON spec (- for stdin).

    Prints the build's id. With --follow, streams the log instead and exits with 0 when the build
    succeeded and 1 when it did not.

    \b
    Examples:
      baton submit --git https://github.com/org/site.git --ref main --run 'make test' -f
      baton submit --git . --run 'pip install .' --run 'pytest -q' --env X=1 --label pr=17
      baton submit build.json --follow
    """
    if following and as_json:
        raise click.UsageError("--follow writes the log to stdout, --json the build: choose one")
    if file is None:
        spec = spec_input.from_options(
            git=git, ref=ref, sha=sha, scripts=scripts, env=env, labels=labels, timeout=timeout
        )
    elif git or ref or sha or scripts or env or labels or timeout is not None:
        raise click.UsageError("a spec file says it all: no --git, --run, --env … beside it")
    else:
        spec = spec_input.from_file(file)
    build = client.submit(spec, idempotency_key=idempotency_key)
    return submitted(client, build, following=following, as_json=as_json)
