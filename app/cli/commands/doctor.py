"""`baton doctor` says what is wrong with the service, and what to do about it."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from app.cli.local.dev_settings import NoSettings, read_settings
from app.contract.doctor import Finding, Mark
from app.doctor.checks import examine, examine_worker
from app.errors import SettingsError

_SHOWN: Final[Mapping[Mark, tuple[str, str]]] = {
    Mark.OK: ("✓", "green"),
    Mark.WRONG: ("✗", "red"),
    Mark.UNTRIED: ("\N{EN DASH}", "yellow"),
}
#: What stands for these signs where the output's encoding lacks them.
_ASCII: Final[Mapping[str, str]] = {"✓": "+", "✗": "x", "\N{EN DASH}": "-", "→": ">"}


@click.command("doctor")
@click.option("--worker", is_flag=True, help="Look at this machine as a worker's instead.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="The data directory of a running `baton dev`: look at that one.",
)
@click.option(
    "--token",
    envvar="BATON_TOKEN",
    show_envvar=True,
    metavar="TOKEN",
    help="A user's access token, to be looked at, and exchanged where BATON_MINTER says so; others "
    "can see an option, so the variable is better.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def doctor_command(
    ctx: click.Context, *, worker: bool, data: Path | None, token: str | None, as_json: bool
) -> None:
    """Look at store, broker, issuer, token provider, clocks, API and sandbox.

    Uses the API's own settings (BATON_* variables), and mints one build token, which is thrown
    away. Says of whatever is wrong what to do. Changes nothing but that it declares the queue, as
    the API does.

    \b
    Where the API's settings are:  baton doctor
    On a worker's machine:         baton doctor --worker
    With `baton dev` running:      baton doctor --data .baton
    With Docker Compose:           docker compose exec api baton doctor
                                   docker compose exec worker baton doctor --worker

    Exit code: 0 nothing is wrong, 1 something is, 2 the settings or the command are.
    """
    logging.disable(logging.CRITICAL)  # what matters is among the findings
    if worker and data:
        raise click.UsageError("--worker looks at this machine's settings, --data at others")
    code = 0
    try:
        environ: Mapping[str, str] = os.environ
        if data:
            environ = read_settings(data)
            _reach_directly()
        found = asyncio.run(
            examine_worker(_ours(environ))
            if worker
            else examine(_ours(environ), token.strip() if token else None)
        )
    except NoSettings as error:
        raise click.UsageError(str(error)) from None
    except SettingsError as error:
        code = 2
        found = [
            Finding.wrong("settings", sentence, "docs/settings.md has all of them")
            for sentence in error.sentences
        ]
        found.append(
            Finding.untried(
                "everything else",
                "not looked at without the API's settings",
                "on a worker's machine: --worker; with `baton dev` running: --data .baton",
            )
        )
    if any(each.check == "worker settings" for each in found):
        code = 2
    wrong = sum(each.mark is Mark.WRONG for each in found)
    _json(found) if as_json else _lines(found, wrong)
    ctx.exit(code or int(wrong > 0))


def _reach_directly() -> None:
    """Bypass any proxy for loopback, where the parts of a `baton dev` are."""
    near = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = near


def _ours(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith("BATON_")}


def _json(found: Sequence[Finding]) -> None:
    report = {
        "ok": all(each.mark is not Mark.WRONG for each in found),
        "findings": [each.model_dump(mode="json") for each in found],
    }
    click.echo(json.dumps(report, indent=2))


def _lines(found: Sequence[Finding], wrong: int) -> None:
    width = max(len(each.check) for each in found)
    for each in found:
        mark, colour = _SHOWN[each.mark]
        sign = click.style(_encodable(mark), fg=colour, bold=True)
        click.echo(f"{sign} {each.check:{width}}  {_encodable(each.sentence)}")
        if each.advice and each.mark is not Mark.OK:
            click.echo(f"  {'':{width}}  {_encodable('→ ' + each.advice)}")
    things = "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong"
    click.echo(f"\n{things if wrong else 'nothing is wrong'}")


def _encodable(text: str) -> str:
    """Replace the characters that the output's encoding lacks."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, plain in _ASCII.items():
            text = text.replace(sign, plain)
        return text.encode(encoding, "replace").decode(encoding)
    return text
