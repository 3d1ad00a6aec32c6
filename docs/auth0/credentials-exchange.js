/**
 * Auth0 Action for the trigger credentials-exchange (Machine to Machine): turns the `user_id` and
 * `build_id` that the build service sends with its token request into claims of the build token.
 *
 * Secrets of the Action:
 *   BUILD_AUDIENCE    identifier of the API that build tokens are for (BATON_MINT_AUDIENCE)
 *   BUILD_CLIENT_ID   client id of the build service's application (BATON_MINT_CLIENT_ID)
 *   CLAIM_NAMESPACE   optional, default https://example.com/ (BATON_CLAIM_NAMESPACE)
 *
 * The Action runs for every client credentials exchange of the tenant, so it first makes sure that
 * the exchange is its business. Both values are only as true as the client is honest: hence the
 * check that it is the one client that may say them.
 */

// `auth0|…`, `google-oauth2|…`, `samlp|connection|name@host`: a provider, then whatever it calls the
// user, in printable characters. The `|` is what no client's own subject (`…@clients`) has.
const USER_ID = /^[A-Za-z0-9_-]{1,64}\|(?:[^\p{C}\p{Z}]| ){1,190}$/u;
const BUILD_ID = /^bld_[0-9A-HJKMNP-TV-Z]{26}$/;

const isLike = (pattern, value) => typeof value === 'string' && pattern.test(value);

exports.onExecuteCredentialsExchange = async (event, api) => {
  const { BUILD_AUDIENCE, BUILD_CLIENT_ID, CLAIM_NAMESPACE } = event.secrets;
  if (event.resource_server?.identifier !== BUILD_AUDIENCE) return;

  const body = event.request.body ?? {};
  if (event.client.client_id !== BUILD_CLIENT_ID) {
    // Whoever else is granted on this API must never be able to say for whom it acts.
    if ('user_id' in body || 'build_id' in body) {
      api.access.deny('invalid_request', 'this client may not send user_id or build_id for this API');
    }
    return;
  }
  if (!isLike(USER_ID, body.user_id)) {
    api.access.deny('invalid_request', 'user_id is missing or not like provider|id');
    return;
  }
  if (!isLike(BUILD_ID, body.build_id)) {
    api.access.deny('invalid_request', 'build_id is missing or malformed');
    return;
  }
  const namespace = CLAIM_NAMESPACE || 'https://example.com/';
  api.accessToken.setCustomClaim(`${namespace}user_id`, body.user_id);
  api.accessToken.setCustomClaim(`${namespace}build_id`, body.build_id);
};
