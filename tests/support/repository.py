"""Real git repositories for tests."""

import subprocess
from pathlib import Path


class Repository:
    """A repository at `path`, readable by whoever builds run as."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o755, parents=True)
        for folder in path.parents:
            if not folder.stat().st_mode & 0o001 and folder.owner() == path.owner():
                folder.chmod(folder.stat().st_mode | 0o011)
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *args: str) -> str:
        identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
        done = subprocess.run(
            ["git", "-C", str(self.path), *identity, *args],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        """Commit files (`__` in a name stands for a dot); returns the commit's id."""
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")
        return self.git("rev-parse", "HEAD")
