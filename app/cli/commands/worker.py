"""`baton worker`: a worker, in this process."""

import gc
import runpy

import click


@click.command("worker")
def worker_command() -> None:
    """Run a worker until it is told to stop: the same as `python -m worker`.

    Its settings are BATON_* variables; a wrong or missing one stops the start.
    """
    gc.disable()  # until everything is imported: the worker goes on with it
    # By its name alone: what is installed beside us knows nothing of us, nor we of it.
    runpy.run_module("worker", run_name="__main__", alter_sys=True)
