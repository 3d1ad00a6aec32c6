"""A spec says what a user asks to be built.

A request with unknown fields is refused, and the error names them. The worker gets the same models
in the response to its claim.
"""

import re
from typing import Annotated, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

MAX_STEPS = 100
MAX_SCRIPT = 64 * 1024  #: characters of one step's `run`; longer scripts belong in the repository
MAX_ENV = 200  #: variables in one `env`
MAX_ENV_VALUE = 32 * 1024  #: bytes; the kernel refuses single strings above 128 KiB
#: Bytes of one `env`, names and values. The kernel refuses environment and arguments above 2 MiB,
#: or less where a stack is small, and a build is given two of these.
MAX_ENV_TOTAL = 128 * 1024
#: Bytes of a spec. A claim's answer carries it, and a worker reads at most 4 MiB of an answer.
MAX_SPEC = 3 * 1024 * 1024
MAX_LABELS = 32
DEFAULT_TIMEOUT = 3600  #: seconds
MAX_TIMEOUT = 7 * 24 * 3600  #: seconds; the service's own limit is a setting, at most this

#: Variables that tell tools that they run in a build of Baton; a spec that set them would mislead
#: its own tools.
RESERVED_ENV = ("CI", "BATON")

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NO_CONTROL = re.compile(r"[^\x00-\x1f\x7f]*\Z")
#: What `git check-ref-format` accepts, narrowed to characters that no tool reads as an option.
_REF = re.compile(r"(?!-)(?!.*(?:\.\.|@\{|//|\.lock(?:/|\Z)))[\w./+@#-]{1,255}(?<![./])\Z")
_SCP_LIKE = re.compile(r"(?!-)[\w.-]+@(?!-)[\w.-]+:(?!//|-)[^\s]+\Z")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?!-)[^\s]+\Z")

#: The rules above, for readers of the JSON Schema.
_ENV_SCHEMA: Final[JsonDict] = {
    "maxProperties": MAX_ENV,
    "propertyNames": {"pattern": "^(?!CI$|BATON$|BATON_)[A-Za-z_][A-Za-z0-9_]*$"},
    "additionalProperties": {"type": "string", "pattern": r"^[^\u0000]*$"},
}
_GIT_SCHEMA: Final[JsonDict] = {
    "pattern": r"^(?:[a-z][a-z0-9+.-]*://(?!-)[^\s\u0000-\u001f\u007f]+"
    r"|(?!-)[\w.-]+@(?!-)[\w.-]+:(?!//|-)[^\s\u0000-\u001f\u007f]+)$"
}
_REF_SCHEMA: Final[JsonDict] = {
    "anyOf": [
        {
            "type": "string",
            "pattern": r"^(?!-)(?!.*(?:\.\.|@\{|//|\.lock(?:/|$)))[\w./+@#-]{1,255}(?<![./])$",
        },
        {"type": "null"},
    ]
}

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
]


def number(value: object) -> object:
    """Refuse text and booleans, which pydantic would take for a number; 60.0 is the same as 60."""
    if isinstance(value, bool | str):
        raise ValueError("must be a whole number")  # noqa: TRY004  pydantic's way to say it
    return value


Seconds = Annotated[int, Field(gt=0, le=MAX_TIMEOUT), BeforeValidator(number)]


class Wire(BaseModel):
    """A model of a request refuses unknown fields, and names them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _checked_env(env: dict[str, str]) -> dict[str, str]:
    if len(env) > MAX_ENV:
        raise ValueError(f"at most {MAX_ENV} variables")
    for name, value in env.items():
        if not _ENV_NAME.match(name):
            raise ValueError(f"{name!r} is not a variable name: letters, digits and _ only")
        if name in RESERVED_ENV or name.startswith("BATON_"):
            raise ValueError(f"{name} is set by Baton and cannot be set by a build")
        if "\0" in value or len(value.encode()) > MAX_ENV_VALUE:
            raise ValueError(f"the value of {name} has a NUL or over {MAX_ENV_VALUE} bytes")
    if sum(len(name) + len(value.encode()) for name, value in env.items()) > MAX_ENV_TOTAL:
        raise ValueError(f"at most {MAX_ENV_TOTAL} bytes, names and values together")
    return env


class Source(Wire):
    """A source is a ref or a commit of a git repository; without either, its default branch."""

    git: Annotated[
        str,
        StringConstraints(min_length=1, max_length=2048),
        Field(json_schema_extra=_GIT_SCHEMA),
    ]
    ref: str | None = Field(default=None, json_schema_extra=_REF_SCHEMA)
    sha: str | None = Field(default=None, pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")

    @field_validator("git")
    @classmethod
    def _git_is_a_url(cls, git: str) -> str:
        if not _NO_CONTROL.match(git) or not (_URL.match(git) or _SCP_LIKE.match(git)):
            raise ValueError("must be a URL like https://host/path.git or git@host:path.git")
        return git

    @field_validator("ref")
    @classmethod
    def _ref_is_a_ref(cls, ref: str | None) -> str | None:
        if ref is not None and not _REF.match(ref):
            raise ValueError("is not a git branch, tag or ref name")
        return ref

    @property
    def protocol(self) -> str:
        """Return the scheme of the URL, in lower case; `ssh` for the form `git@host:path`."""
        found = _URL.match(self.git)
        return found["scheme"] if found else "ssh"


class Step(Wire):
    """A step runs one shell script (`sh -e`)."""

    name: Annotated[Name, Field(examples=["test"])]
    run: Annotated[
        str,
        StringConstraints(min_length=1, max_length=MAX_SCRIPT),
        Field(examples=["make test"], json_schema_extra={"pattern": r"^[^\u0000]*$"}),
    ]
    env: dict[str, str] = Field(default_factory=dict, json_schema_extra=_ENV_SCHEMA)
    timeout: Seconds | None = Field(default=None, description="seconds; at most the build's own")

    _env = field_validator("env")(_checked_env)

    @field_validator("run")
    @classmethod
    def _run_is_text(cls, run: str) -> str:
        if "\0" in run:
            raise ValueError("contains a NUL character")
        return run


class BuildSpec(Wire):
    """A `BuildSpec` is the body of `POST /builds`."""

    source: Source | None = Field(default=None, description="left out: an empty workspace")
    steps: Annotated[list[Step], Field(min_length=1, max_length=MAX_STEPS)]
    env: dict[str, str] = Field(default_factory=dict, json_schema_extra=_ENV_SCHEMA)
    timeout: Seconds | None = Field(
        default=None,
        description="seconds, checkout and all steps together; default: 3600, or the service's "
        "limit where that is less",
    )
    labels: dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=256)],
    ] = Field(default_factory=dict, max_length=MAX_LABELS)

    _env = field_validator("env")(_checked_env)

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        names = [step.name for step in self.steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"step names must differ; twice: {', '.join(twice)}")
        return self
