"""What a checkout may reach, and what a proxy answers to rubbish."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from worker.egress_proxy import AddressPolicy, EgressProxy, NotAllowed


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.170", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "192.0.2.1",
        "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_this_machine_its_neighbours_and_what_is_nobodys_are_out_of_reach(address: str) -> None:
    assert not AddressPolicy().permit(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["140.82.121.4", "1.1.1.1", "2606:50c0:8000::153", "64:ff9b::8c52:7904"]
)
def test_the_public_internet_is_within_reach(address: str) -> None:
    assert AddressPolicy().permit(ipaddress.ip_address(address))


def test_networks_that_are_named_are_within_reach_and_no_others() -> None:
    policy = AddressPolicy(["10.1.0.0/16", "fd12::/16"])
    for address, within in {
        "10.1.2.3": True,
        "::ffff:10.1.2.3": True,
        "fd12::1": True,
        "10.2.0.1": False,
        "fd13::1": False,
        "127.0.0.1": False,
    }.items():
        assert policy.permit(ipaddress.ip_address(address)) == within, address


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.1"):
        AddressPolicy(["10.1"])


def test_a_name_for_this_machine_is_this_machine() -> None:
    with pytest.raises(NotAllowed, match=r"localhost \((127.0.0.1|::1)\) is where sources may not"):
        AddressPolicy().addresses("localhost", 80)


# ── the port itself ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def proxy() -> Iterator[EgressProxy]:
    with closing(EgressProxy(AddressPolicy(["127.0.0.1/32"]), ssh=None)) as proxy:
        yield proxy


def connected(proxy: EgressProxy) -> socket.socket:
    (port,) = proxy.listen_here()
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def everything(client: socket.socket) -> bytes:
    found = b""
    try:
        while more := client.recv(4096):
            found += more
    except ConnectionResetError:
        pass
    return found


def request(host: bytes, port: int, command: int = 1) -> bytes:
    return b"\x05\x01\x00\x05" + bytes([command]) + b"\x00" + host + port.to_bytes(2, "big")


V4 = b"\x01\x7f\x00\x00\x01"
NAME = b"\x03\x09localhost"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b"\x05\xff"),  # SOCKS4
        (b"\x05\x01\x02", b"\x05\xff"),  # with a password alone
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(100), b"\x05\xff"),
        (request(V4, 80, command=2), b"\x05\x00\x05\x07"),  # BIND
        (request(b"\x09", 80), b"\x05\x00\x05\x07"),  # no such kind of address
        (request(b"\x01\x7f\x00\x00\x02", 80), b"\x05\x00\x05\x02"),
        (request(b"\x04" + ipaddress.IPv6Address("::1").packed, 80), b"\x05\x00\x05\x02"),
        (request(b"\x03\x0bno.invalid.", 80), b"\x05\x00\x05\x04"),
        (request(b"\x03\x04\xff\xfe..", 80), b"\x05\x00\x05\x04"),
        (request(b"\x03\x00", 80), b"\x05\x00\x05"),
        (request(V4, 1), b"\x05\x00\x05\x04"),  # nobody listens
    ],
)
def test_what_is_not_let_through_is_told_so(proxy: EgressProxy, sent: bytes, answer: bytes) -> None:
    with connected(proxy) as client:
        # Who is hung up on with words still unread may not hear the answer.
        with contextlib.suppress(OSError):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        found = everything(client)
        assert found.startswith(answer) or answer.startswith(found)


def test_what_is_let_through_is_carried_both_ways_to_its_end(proxy: EgressProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, connected(proxy) as client:
        client.sendall(request(V4, listener.getsockname()[1]) + b"question")
        server, _ = listener.accept()
        with server:
            server.settimeout(20)
            assert server.recv(100) == b"question"
            client.shutdown(socket.SHUT_WR)
            assert server.recv(100) == b""
            server.sendall(b"answer" * 100_000)
            server.shutdown(socket.SHUT_RDWR)
        assert everything(client) == b"\x05\x00\x05\x00\x00\x01" + bytes(6) + b"answer" * 100_000
    assert proxy.refused is None


def test_a_proxy_that_closes_ends_what_goes_through_it(proxy: EgressProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, connected(proxy) as client:
        client.sendall(request(V4, listener.getsockname()[1]))
        server, _ = listener.accept()
        with server:
            proxy.close()
            server.settimeout(20)
            assert everything(server) == b""
        assert everything(client).startswith(b"\x05\x00")
