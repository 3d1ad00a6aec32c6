"""The table of settings in docs/settings.md, made from the classes that read them.

`python -m tests.support.settings_table` prints it.
"""

from collections.abc import Iterator

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.config.environment import PREFIX, FromEnvironment
from app.config.issuer_settings import IssuerSettings
from app.config.settings import Settings
from worker.settings import WorkerSettings

#: Who reads what, in the order of the table.
READERS: dict[str, type[FromEnvironment]] = {
    "api": Settings,
    "worker": WorkerSettings,
    "issuer": IssuerSettings,
}


def rows() -> Iterator[str]:
    """A row for each variable: its name, who reads it, its default and its sentence."""
    readers: dict[str, list[str]] = {}
    fields: dict[str, FieldInfo] = {}
    for reader, settings in READERS.items():
        for name, field in settings.model_fields.items():
            readers.setdefault(name, []).append(reader)
            fields.setdefault(name, field)
    for name, field in fields.items():
        sentence = (field.description or "").replace("|", "\\|")  # else it would end the cell
        yield (
            f"| `{PREFIX}{name.upper()}` | {', '.join(readers[name])} | {_default(field)} "
            f"| {sentence} |"
        )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if field.default is None or field.default is PydanticUndefined:
        return ""
    if isinstance(field.default, tuple):
        return f"`{' '.join(field.default)}`" if field.default else ""
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    if isinstance(field.default, float | int):
        return f"`{field.default:g}`" if field.default < 10**6 else f"`{field.default:.0f}`"
    return f"`{field.default}`"


def table() -> str:
    return "\n".join(["| variable | read by | default | |", "|---|---|---|---|", *rows()])


if __name__ == "__main__":
    print(table())  # noqa: T201  what it is for
