"""`EgressProxy` connects a checkout to the addresses that sources may be at, and to no others.

Git uses it as its SOCKS5 proxy (RFC 1928). The proxy resolves names itself and connects to the very
address that it has checked, so that neither a redirect, nor a submodule, nor a name whose address
changes (DNS rebinding) leads to this machine, to its neighbours, or to a cloud's metadata. ssh,
which speaks no SOCKS, reaches its one host through a second port.

In the `bubblewrap` sandbox, the proxy listens in the checkout's own, otherwise empty network.
"""

import ipaddress
import logging
import select
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final

from app.observability.log_context import with_context

log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The ports that the proxy listens on in a network of its own.
SOCKS_PORT: Final = 1080
SSH_PORT: Final = 1022

_MAX_CONNECTIONS: Final = 32  #: at once; git opens a few
_CONNECT_TIMEOUT: Final = 15.0  #: seconds for each address
_HANDSHAKE_TIMEOUT: Final = 15.0  #: seconds for the whole SOCKS request
_CHUNK_BYTES: Final = 64 * 1024

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  #: RFC 6052

#: RFC 1928 §6.
_GRANTED, _REFUSED, _UNREACHABLE, _NO_SUCH_COMMAND = b"\x00", b"\x02", b"\x04", b"\x07"


class NotAllowed(Exception):
    """A source has an address that the `AddressPolicy` forbids."""


class AddressPolicy:
    """An `AddressPolicy` allows sources on the public Internet, and in the networks named."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        """Parse `networks` like `10.1.0.0/16`. Raises `ValueError`."""
        self._networks: list[Network] = [ipaddress.ip_network(each) for each in networks]

    def permit(self, address: Address) -> bool:
        """Whether a source may be at `address`; an IPv6 address that wraps an IPv4 one counts as
        that."""
        inner = _unwrapped(address)
        if any(inner in network for network in self._networks):
            return True
        return inner.is_global and not inner.is_multicast and not inner.is_reserved

    def addresses(self, host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
        """Resolve `host` to its addresses.

        Raises `OSError`, and `NotAllowed` when even one of the addresses is forbidden.
        """
        found: list[tuple[socket.AddressFamily, str]] = []
        for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            text = str(where[0]).partition("%")[0]
            if not self.permit(ipaddress.ip_address(text)):
                named = host if host == text else f"{host} ({text})"
                raise NotAllowed(
                    f"{named} is where sources may not be; BATON_GIT_NETWORKS of the worker names "
                    "the networks besides the public Internet where they may"
                )
            found.append((family, text))
        return found


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address wraps, else `address` itself.

    Mapped, 6to4, Teredo and NAT64 addresses wrap one.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address
    wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if wrapped is None and address in _NAT64:
        wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return wrapped or address


class EgressProxy:
    """An `EgressProxy` serves one checkout, from threads of its own, until `close`.

    Call `listen_here` or `adopt` once. At most 32 connections go through it at a time.
    """

    def __init__(self, policy: AddressPolicy, *, ssh: tuple[str, int] | None) -> None:
        """Lead the second port to the host and port of `ssh`; None: there is no second port."""
        self._policy = policy
        self._ssh = ssh
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._refused: str | None = None

    @property
    def refused(self) -> str | None:
        """Why the policy refused a connection, the last time that it did."""
        return self._refused

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports to listen on in a network of the checkout's own."""
        return (SOCKS_PORT, SSH_PORT) if self._ssh else (SOCKS_PORT,)

    def listen_here(self) -> tuple[int, ...]:
        """Listen on this machine's loopback, for a checkout that shares it; return the ports."""
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in self.ports]
        self.adopt(listeners)
        return tuple(each.getsockname()[1] for each in listeners)

    def adopt(self, listeners: Sequence[socket.socket]) -> None:
        """Serve on sockets that listen, one for each of `ports`; the proxy closes them."""
        for listener, serve in zip(listeners, (self._socks, self._direct), strict=False):
            self._register(listener)
            threading.Thread(
                target=with_context(self._accept), args=(listener, serve), daemon=True
            ).start()

    def close(self) -> None:
        """Stop listening and end every connection; safe to call twice, from any thread."""
        with self._lock:
            self._closed = True
            for each in self._open:
                _shut_down(each)
            self._open.clear()

    def _register(self, one: socket.socket) -> bool:
        """Register a socket for `close`; close it at once, and return False, when there are too
        many or the proxy is closed."""
        with self._lock:
            if not self._closed and len(self._open) < 2 * _MAX_CONNECTIONS:
                self._open.add(one)
                return True
        one.close()
        return False

    def _drop(self, one: socket.socket) -> None:
        with self._lock:
            self._open.discard(one)
        one.close()

    def _accept(
        self, listener: socket.socket, serve: Callable[[socket.socket], socket.socket | None]
    ) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            if self._register(client):
                threading.Thread(
                    target=with_context(self._serve), args=(client, serve), daemon=True
                ).start()

    def _serve(
        self, client: socket.socket, serve: Callable[[socket.socket], socket.socket | None]
    ) -> None:
        try:
            client.settimeout(_HANDSHAKE_TIMEOUT)
            server = serve(client)
            if server is None:
                return
            try:
                if self._register(server):
                    _relay(client, server)
            finally:
                self._drop(server)
        except OSError as error:  # of either side, or closed by us
            log.debug("a checkout's connection ended: %s", error)
        finally:
            self._drop(client)

    def _direct(self, client: socket.socket) -> socket.socket | None:
        del client
        host, port = self._ssh or ("", 0)
        try:
            return self._connect(host, port)
        except NotAllowed:
            return None

    def _socks(self, client: socket.socket) -> socket.socket | None:
        """Do the SOCKS5 handshake; return the connected server, None for a refused request."""
        version, count = _read_exactly(client, 2)
        methods = _read_exactly(client, count)
        if version != 5 or 0 not in methods:  # noqa: PLR2004  RFC 1928 §3: no authentication
            client.sendall(b"\x05\xff")
            return None
        client.sendall(b"\x05\x00")
        _, command, _, kind = _read_exactly(client, 4)
        host = _host(client, kind)
        port = int.from_bytes(_read_exactly(client, 2), "big")
        if command != 1 or host is None:
            _reply(client, _NO_SUCH_COMMAND)
            return None
        try:
            server = self._connect(host, port)
        except NotAllowed:
            _reply(client, _REFUSED)
            return None
        except (OSError, UnicodeError):
            _reply(client, _UNREACHABLE)
            return None
        try:
            _reply(client, _GRANTED)
        except OSError:
            server.close()
            raise
        return server

    def _connect(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of `host` that accepts. Raises `OSError`, `NotAllowed`."""
        try:
            addresses = self._policy.addresses(host, port)
        except NotAllowed as error:
            self._refused = str(error)
            raise
        last: OSError = OSError(f"{host} has no address")
        for family, address in addresses:
            server = socket.socket(family, socket.SOCK_STREAM)
            try:
                server.settimeout(_CONNECT_TIMEOUT)
                server.connect((address, port))
            except OSError as error:
                server.close()
                last = error
            else:
                return server
        raise last


def _read_exactly(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = client.recv(count - len(found))
        if not more:
            raise ConnectionResetError("the client hung up")
        found += more
    return found


def _host(client: socket.socket, kind: int) -> str | None:
    """Read the address of a request (RFC 1928 §5); None for an address type that is unknown."""
    match kind:
        case 1:
            return str(ipaddress.IPv4Address(_read_exactly(client, 4)))
        case 3:
            return _read_exactly(client, _read_exactly(client, 1)[0]).decode("ascii", "replace")
        case 4:
            return str(ipaddress.IPv6Address(_read_exactly(client, 16)))
        case _:
            return None


def _reply(client: socket.socket, code: bytes) -> None:
    """Send a SOCKS5 reply with a `code` of RFC 1928 §6, and 0.0.0.0:0 as the bound address."""
    client.sendall(b"\x05" + code + b"\x00\x01" + bytes(6))


def _relay(client: socket.socket, server: socket.socket) -> None:
    """Copy bytes both ways until both sides have ended. Raises `OSError` when either is closed."""
    other = {client: server, server: client}
    for each in other:
        each.settimeout(None)
    reading = set(other)
    while reading:
        ready, _, _ = select.select(list(reading), [], [])
        for each in ready:
            piece = each.recv(_CHUNK_BYTES)
            if piece:
                other[each].sendall(piece)
            else:
                reading.discard(each)
                other[each].shutdown(socket.SHUT_WR)


def _shut_down(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)  # wakes a thread that is blocked on it
    except OSError:
        pass
    finally:
        one.close()
