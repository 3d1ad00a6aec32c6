"""Whom a client trusts, by the URLs that it calls."""

import ssl

import pytest

from app.tls import context_for


@pytest.mark.parametrize(
    ("urls", "trusts"),
    [
        (["https://api.example.com"], True),
        (["http://127.0.0.1:8081/keys", "HTTPS://issuer.example.com/token"], True),
        (["http://127.0.0.1:8080"], False),
        ([], False),
    ],
)
def test_authorities_are_known_where_https_is_spoken(urls: list[str], trusts: bool) -> None:
    context = context_for(*urls)

    assert (context.cert_store_stats()["x509_ca"] > 0) is trusts


def test_a_context_without_authorities_lets_nobody_in() -> None:
    context = context_for("http://127.0.0.1")

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
