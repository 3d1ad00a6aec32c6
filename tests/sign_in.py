def user_token(
    issuer: str, *, user: str, scope: str, audience: str, client_id: str = "baton-spa"
) -> str:
    raise RuntimeError
