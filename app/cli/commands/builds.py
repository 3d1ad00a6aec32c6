"""The commands of those who have things built."""

import sys

import click
from rich.console import Console

from app.cli import spec_input as specs
from app.cli.client_options import with_client
from app.cli.display.follow import follow, notice, show_log
from app.cli.display.listing import listing
from app.cli.display.views import details, outcome
from app.client import BatonClient
from app.contract.builds import BuildPage, BuildView
from app.contract.status import Status

_PAGE_SIZE = 100  #: builds asked for at a time, the most that the API gives

as_json = click.option("--json", "as_json", is_flag=True, help="JSON on stdout, for programs.")
following = click.option(
    "--follow", "-f", "following", is_flag=True, help="Stream the log and wait for the end."
)
key = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="The same key and the same spec give the same build, however often they are sent.",
)


@click.command("submit")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--git", metavar="URL", help="Repository to check out; a local path for baton dev.")
@click.option("--ref", help="Branch, tag or ref; default: the repository's default branch.")
@click.option("--sha", help="The commit that must be built.")
@click.option("--run", "scripts", multiple=True, metavar="SCRIPT", help="A step; repeatable.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Repeatable.")
@click.option("--timeout", type=int, metavar="SECONDS", help="Of the whole build; default 3600.")
@key
@following
@as_json
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
        spec = specs.from_options(
            git=git, ref=ref, sha=sha, scripts=scripts, env=env, labels=labels, timeout=timeout
        )
    elif git or ref or sha or scripts or env or labels or timeout is not None:
        raise click.UsageError("a spec file says it all: no --git, --run, --env … beside it")
    else:
        spec = specs.from_file(file)
    build = client.submit(spec, idempotency_key=idempotency_key)
    return _submitted(client, build, following=following, as_json=as_json)


@click.command("retry")
@click.argument("build_id", metavar="BUILD")
@key
@following
@as_json
@with_client
def retry_command(
    client: BatonClient,
    build_id: str,
    idempotency_key: str | None,
    following: bool,
    as_json: bool,
) -> int:
    """Submit a new build with the spec of BUILD."""
    if following and as_json:
        raise click.UsageError("--follow writes the log to stdout, --json the build: choose one")
    build = client.retry(build_id, idempotency_key=idempotency_key)
    return _submitted(client, build, following=following, as_json=as_json)


def _submitted(client: BatonClient, build: BuildView, *, following: bool, as_json: bool) -> int:
    if following:
        return follow(client, build)
    if as_json:
        click.echo(build.model_dump_json(indent=2))
        return 0
    click.echo(build.id)
    if sys.stdout.isatty():
        notice(f"{build.status}; follow it with: baton logs --follow {build.id}")
    return 0


@click.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]))
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME[:VALUE]",
    help="Only builds with this label; repeatable, and then with all of them.",
)
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, metavar="N"
)
@as_json
@with_client
def list_command(
    client: BatonClient, status: str | None, labels: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """List your builds, newest first.

    In a pipe: one line per build with id, status, time of creation, seconds taken and what was
    built, tabs between.
    """
    builds: list[BuildView] = []
    cursor: str | None = None
    while len(builds) < limit:
        page = client.list(
            status=Status(status) if status else None,
            labels=labels,
            limit=min(_PAGE_SIZE, limit - len(builds)),
            cursor=cursor,
        )
        builds += page.builds
        cursor = page.next
        if cursor is None:
            break
    if as_json:
        click.echo(BuildPage(builds=builds, next=cursor).model_dump_json(indent=2))
    else:
        listing(builds, Console(highlight=False))


@click.command("show")
@click.argument("build_id", metavar="BUILD")
@as_json
@with_client
def show_command(client: BatonClient, build_id: str, as_json: bool) -> None:
    """Show a build: its status, steps and times, and what its token allowed."""
    build = client.show(build_id)
    if as_json:
        click.echo(build.model_dump_json(indent=2))
    else:
        details(build, Console(highlight=False, soft_wrap=True))


@click.command("logs")
@click.argument("build_id", metavar="BUILD")
@following
@click.option(
    "--offset", type=click.IntRange(min=0), default=0, metavar="BYTE", help="Begin at this byte."
)
@with_client
def logs_command(client: BatonClient, build_id: str, following: bool, offset: int) -> int:
    """Print the log of BUILD.

    With --follow, streams it until the build ends and exits with 0 when it succeeded, 1 when it
    did not. In a pipe the log is passed on byte by byte; on a terminal, colours are kept and
    other control sequences are taken out.
    """
    if following:
        return follow(client, client.show(build_id), start=offset)
    show_log(client, build_id, start=offset)
    return 0


@click.command("cancel")
@click.argument("build_ids", metavar="BUILD...", nargs=-1, required=True)
@with_client
def cancel_command(client: BatonClient, build_ids: tuple[str, ...]) -> None:
    """Cancel builds: a queued one at once, a running one as soon as its worker has stopped it."""
    for build_id in build_ids:
        build = client.cancel(build_id)
        notice(outcome(build) if build.status.final else f"{build.id} is being cancelled")
