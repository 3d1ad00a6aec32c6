// An OpenID provider for tests: oidc-provider as it comes, configured as an operator would for Baton.
//
// Its configuration is the first line of stdin, orders are the lines after it; each is answered by a
// line on stdout. It keeps nothing: keys and clients come from the test, so a restart is a restart.
// It ends with its stdin.
import crypto from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { createLocalJWKSet, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

// Node 18, which is what Debian 12 has, lacks these two, and `crypto.hash`: see `build`.
globalThis.crypto ??= crypto.webcrypto;
URL.parse ??= (...url) => { try { return new URL(...url); } catch { return null; } };

console.info = () => {}; // stdout is for answers, and its advice is for production
console.warn = () => {};

let config;
let provider;
let handle;
let throttled = { times: 0 };
const asked = { token: 0, jwks: 0 };

// ── the provider ─────────────────────────────────────────────────────────────────────────────────

function resourceServer(identifier) {
  const known = config.resources[identifier];
  if (!known) throw new errors.InvalidTarget();
  const key = config.jwks.keys.find((each) => each.alg === config.alg); // the first one signs
  return {
    audience: identifier,
    scope: known.scope,
    accessTokenFormat: 'jwt',
    accessTokenTTL: known.lifetime,
    jwt: { sign: { alg: config.alg, kid: key.kid } },
  };
}

function configuration() {
  return {
    clients: config.clients,
    jwks: config.jwks,
    clientDefaults: { id_token_signed_response_alg: config.alg },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    scopes: ['openid', 'offline_access'],
    extraParams: ['audience'],
    routes: { token: '/token', jwks: '/jwks' },
    features: {
      devInteractions: { enabled: config.signsIn }, // its pages take any name and any password
      deviceFlow: { enabled: config.signsIn },
      revocation: { enabled: config.signsIn },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // Auth0's `audience` is RFC 8707's `resource`; and a machine that asks for no scope gets
        // what it was granted, as there.
        defaultResource: (ctx, client, granted) => (
          granted ?? ctx.oidc.params?.audience ?? ctx.oidc.body?.audience),
        useGrantedResource: () => true,
        getResourceServerInfo(ctx, identifier) {
          const { grant_type: grant } = ctx.oidc.body ?? {};
          if (grant === 'client_credentials') ctx.oidc.params.scope ??= config.machineScope;
          return resourceServer(identifier);
        },
      },
    },
    extraTokenClaims(ctx, token) {
      const { user_id: user, build_id: build } = ctx?.oidc?.body ?? {};
      const wanted = token.kind === 'ClientCredentials' || config.exchangedNamesBuild;
      if (!wanted || build === undefined) return undefined;
      const claims = { [`${config.namespace}build_id`]: build };
      if (user !== undefined) claims[`${config.namespace}user_id`] = user;
      return claims;
    },
    formats: {
      customizers: {
        jwt(ctx, token, parts) {
          const { payload } = parts;
          if (token.kind === 'ClientCredentials') payload.sub = `${token.clientId}@clients`;
          if (config.dialect !== 'auth0') return;
          payload.azp = payload.client_id;
          delete payload.client_id;
          if (token.kind === 'ClientCredentials') payload.gty = 'client-credentials';
          parts.header = { typ: 'JWT' };
        },
      },
    },
  };
}

// ── RFC 8693, which oidc-provider does not have ──────────────────────────────────────────────────

async function exchange(ctx) {
  const { params, client } = ctx.oidc;
  if (params.subject_token_type !== ACCESS_TOKEN) {
    throw new errors.InvalidRequest('subject_token_type must be that of an access token');
  }
  if ((params.requested_token_type ?? ACCESS_TOKEN) !== ACCESS_TOKEN) {
    throw new errors.InvalidRequest('requested_token_type must be that of an access token');
  }
  let subject;
  try {
    const published = config.jwks.keys.map(({ kty, kid, alg, n, e, crv, x, y }) => (
      kty === 'RSA' ? { kty, kid, alg, n, e } : { kty, kid, alg, crv, x, y }));
    const keys = createLocalJWKSet({ keys: published });
    const { payload } = await jwtVerify(params.subject_token, keys, {
      issuer: provider.issuer,
      audience: config.subjectAudience,
    });
    subject = payload;
  } catch {
    throw new errors.InvalidGrant('the subject token is not good'); // §2.2.2
  }
  const target = params.resource ?? params.audience;
  const resource = new provider.ResourceServer(target, resourceServer(target));
  const held = new Set((subject.scope ?? '').split(' '));
  let scopes = (params.scope ?? '').split(' ').filter((scope) => resource.scopes.has(scope));
  if (config.widens) {
    scopes = [...resource.scopes]; // as Keycloak does with a client's default scopes
  } else if (!scopes.every((scope) => held.has(scope))) {
    throw new errors.InvalidScope('the subject does not hold this scope', params.scope);
  }
  const token = new provider.AccessToken({
    accountId: subject.sub,
    client,
    gty: 'token_exchange',
    scope: scopes.join(' '),
    extra: config.actor ? { act: { sub: client.clientId } } : undefined,
  });
  token.resourceServer = resource;
  ctx.oidc.entity('AccessToken', token);
  const value = await token.save();
  ctx.body = {
    access_token: value,
    issued_token_type: ACCESS_TOKEN,
    token_type: 'Bearer',
    expires_in: token.expiration,
    scope: token.scope,
    ...config.answer,
  };
}

function build() {
  provider = new Provider(config.issuer, configuration());
  provider.registerGrantType(
    EXCHANGE,
    exchange,
    [
      'subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope',
    ],
    ['audience', 'resource'],
  );
  if (!crypto.hash) {
    provider.ReplayDetection.unique = async function unique(iss, jti, exp) { // the same, but for hash
      const id = crypto.createHash('sha256').update(`${iss}${jti}`).digest('base64url');
      if (await this.find(id)) return false;
      await this.instantiate({ jti: id, iss }).save(exp - Math.floor(Date.now() / 1000));
      return true;
    };
  }
  handle = provider.callback();
}

// ── orders ───────────────────────────────────────────────────────────────────────────────────────

/** A user's token, as a sign-in would have issued it. */
async function userToken({ sub, client_id: id, scope, audience }) {
  const token = new provider.AccessToken({
    accountId: sub,
    client: await provider.Client.find(id),
    gty: 'authorization_code',
    scope,
  });
  token.resourceServer = new provider.ResourceServer(audience, resourceServer(audience));
  return token.save();
}

async function obey({ order, ...rest }) {
  switch (order) {
    case 'configure': // keys, clients, misbehaviour; requests under way finish with what they began
      Object.assign(config, rest.changes);
      build();
      return null;
    case 'throttle':
      throttled = rest;
      return null;
    case 'user token':
      return userToken(rest);
    case 'asked':
      return asked;
    default:
      throw new Error(`unknown order ${order}`);
  }
}

function serve(request, response) {
  const kind = request.url.slice(1);
  if (kind in asked) asked[kind] += 1;
  if (kind === 'token' && throttled.times > 0) {
    throttled.times -= 1;
    response.writeHead(429, {
      'Content-Type': 'application/json',
      'Retry-After': String(throttled.retry_after),
    });
    response.end('{"error":"too_many_requests","error_description":"Global limit has been reached"}');
    return;
  }
  handle(request, response);
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let answer;
  if (config) {
    try {
      answer = { ok: await obey(order) };
    } catch (error) {
      answer = { failed: String(error.stack ?? error) };
    }
  } else {
    config = order;
    build();
    const server = createServer(serve);
    await new Promise((resolve) => server.listen(config.port, '127.0.0.1', resolve));
    answer = { ok: server.address().port };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
