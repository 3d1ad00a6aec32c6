"""Whether a token that a provider gave lasts for its build, and what is said when it does not."""

import pytest

from app.minting import BuildPrincipal, MintRequest, TooShort
from app.tokens.minting.fit import check_fit

NEEDED = 3600


def lasting(seconds: int, *, issued_at: int) -> BuildPrincipal:
    return BuildPrincipal(
        user_id="auth0|ann",
        build_id="bld_1",
        client_id="baton-api",
        issuer="https://issuer.example.com/",
        audience="https://builds.example.com/",
        scope="update:builds",
        issued_at=issued_at,
        expires_at=issued_at + seconds,
        token_id="1",
    )


@pytest.mark.parametrize("issued_at", [999, 1000, 1001], ids=["a clock behind", "same", "turned"])
def test_its_lifetime_counts_in_whole_seconds(issued_at: int) -> None:
    """It was asked for at the very end of a second, and issued by a clock that says another one."""
    request = MintRequest(user_id="auth0|ann", build_id="bld_1", lifetime=NEEDED)
    lacking = max(0, 1000 - issued_at)  # by our clock, it began earlier

    check_fit(lasting(NEEDED + lacking, issued_at=issued_at), request, asked_at=1000.999)
    with pytest.raises(TooShort, match=f"the token lasts {NEEDED - 1} s but .* {NEEDED} s"):
        check_fit(lasting(NEEDED + lacking - 1, issued_at=issued_at), request, asked_at=1000.999)
