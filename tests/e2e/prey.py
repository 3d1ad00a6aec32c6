"""What thieves and liars are after: a build that runs, in a store where nothing else happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bad_requests import Bad
from tests.e2e.scene import QUIET, Scene
from tests.support.providers.authority import Authority
from tests.support.stack import Stack


@dataclass
class Prey:
    """A running build, and what its store looked like before anyone came."""

    scene: Scene
    build_id: str
    token: str
    lease: str
    before: dict[bytes, object]

    def send(self, bad: Bad) -> httpx.Response:
        headers = [(name.encode(), self._filled(value)) for name, value in bad.headers]
        tokens = {"user": self.scene.user(), "build": self.token}
        if bad.token:
            headers.append((b"Authorization", f"Bearer {tokens[bad.token]}".encode()))
        url = self.scene.stack.api_url + bad.path.replace("{build}", self.build_id)
        return self.scene.http.request(bad.method, url, headers=headers, content=bad.body)

    def check_nothing_changed(self, *, but: tuple[bytes, ...] = ()) -> None:
        """Nothing but the keys that end so, since the last look."""
        before, self.before = self.before, self.scene.records()
        changed = {name for name, value in self.before.items() if before.get(name) != value}
        assert not {name for name in changed if not name.endswith(but)}
        assert before.keys() == self.before.keys()

    def _filled(self, value: str | bytes) -> bytes:
        raw = value if isinstance(value, bytes) else value.encode()
        return raw.replace(b"{lease}", self.lease.encode())


@contextmanager
def hunted(folder: Path) -> Iterator[Prey]:
    with Authority() as authority:
        stack = Stack(folder, BATON_ISSUER=authority.issuer, **QUIET).without_issuer()
        with stack:
            scene = Scene(stack, authority)
            with scene.http:
                build_id, token, lease = scene.running()
                scene.message(scene.submit())  # a second one waits for a worker
                yield Prey(scene, build_id, token, lease, scene.records())
