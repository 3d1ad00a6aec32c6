"""Letting a terminal act for a user, as the user does it: the verification page, filled in."""

import httpx

from tests.support.signing_in.code_flow import transaction_of


def review(http: httpx.Client, user_code: str) -> httpx.Response:
    """The page on which a code, as it is typed, is allowed or denied."""
    return http.get("/activate", params={"user_code": user_code})


def decide(
    http: httpx.Client, page: httpx.Response, *, user: str = "ann", decision: str = "allow"
) -> httpx.Response:
    """What a click on that page does."""
    form = {"transaction": transaction_of(page), "username": user, "decision": decision}
    return http.post("/activate", data=form)
