"""`baton worker` runs a worker in this process."""

import gc
import runpy

import click


@click.command("worker")
def worker_command() -> None:
    """Run a worker until it is told to stop: the same as `python -m worker`.

    Its settings are BATON_* variables; a wrong or missing one stops the start.
    """
    gc.disable()  # until everything is imported; the worker enables it again
    # By its name alone, since `app` never imports `worker`.
    runpy.run_module("worker", run_name="__main__", alter_sys=True)
