/** The authorization server, as its own metadata describes it: the requests of the code flow. */

import { challengeOf, claimsOf, secret } from "./pkce.js";

/** Something about signing in did not work; the message is for the person. */
export class SignInError extends Error {
  /** @param {string} message @param {string} [code] of OAuth */
  constructor(message, code = "") {
    super(message);
    this.code = code;
  }
}

/** Where the issuer sends people back to: this page, without a fragment. */
export function redirectUri() {
  return location.origin + location.pathname;
}

/** @typedef {{state: string, verifier: string, nonce: string}} Asked */
/** @typedef {{issuer: string, authorization_endpoint: string, token_endpoint: string, end_session_endpoint?: string,
 *   authorization_response_iss_parameter_supported?: boolean}} Metadata of RFC 8414 and OpenID Connect */
/** @typedef {{access_token: string, refresh_token?: string, expires_in?: number, id_token?: string,
 *   claims?: Record<string, any> | null}} Tokens `claims`: of the ID token */

export class Issuer {
  /** @param {{issuer: string, client_id: string | null, audience: string, scope: string}} config */
  constructor(config) {
    this.config = config;
    /** @type {Metadata | null} */
    this.metadata = null;
  }

  /** Its metadata (OpenID Connect Discovery §4, else RFC 8414 §3). @returns {Promise<Metadata>} */
  async discover() {
    if (this.metadata) return this.metadata;
    const { issuer } = this.config;
    const { origin, pathname } = new URL(issuer);
    const path = pathname.replace(/\/$/, "");
    const metadata =
      (await found(`${origin}${path}/.well-known/openid-configuration`)) ??
      (await found(`${origin}/.well-known/oauth-authorization-server${path}`));
    if (!metadata) throw new SignInError(`The identity provider at ${issuer} does not answer.`);
    if (metadata.issuer !== issuer) {
      throw new SignInError(`${issuer} calls itself ${metadata.issuer}: this must be the same, to the letter.`);
    }
    this.metadata = metadata;
    return metadata;
  }

  /**
   * The request for a code (RFC 6749 §4.1.1), and what has to be kept until its answer.
   * @param {{prompt?: string, hint?: string}} [more]
   * @returns {Promise<{url: string, asked: Asked}>}
   */
  async request({ prompt, hint } = {}) {
    const metadata = await this.discover();
    const asked = { state: secret(), verifier: secret(), nonce: secret() };
    const url = new URL(metadata.authorization_endpoint);
    const parameters = {
      response_type: "code",
      client_id: this.config.client_id ?? "",
      redirect_uri: redirectUri(),
      scope: this.config.scope,
      audience: this.config.audience,
      state: asked.state,
      nonce: asked.nonce,
      code_challenge: await challengeOf(asked.verifier),
      code_challenge_method: "S256",
      ...(prompt ? { prompt } : {}),
      ...(hint ? { login_hint: hint } : {}),
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    return { url: url.href, asked };
  }

  /**
   * The answer of the authorization endpoint, turned into tokens.
   * @param {URLSearchParams} answer
   * @param {Asked} asked
   */
  async redeem(answer, asked) {
    const metadata = await this.discover();
    if (answer.get("state") !== asked.state) throw new SignInError("This answer belongs to another sign-in.");
    const iss = answer.get("iss"); // RFC 9207 §2.4
    if (iss === null ? metadata.authorization_response_iss_parameter_supported : iss !== metadata.issuer) {
      throw new SignInError("The answer to the sign-in is not from the identity provider that was asked.");
    }
    const error = answer.get("error");
    if (error) throw new SignInError(answer.get("error_description") ?? error, error);
    const tokens = await this.token({
      grant_type: "authorization_code",
      code: answer.get("code") ?? "",
      redirect_uri: redirectUri(),
      code_verifier: asked.verifier,
    });
    const claims = tokens.id_token ? claimsOf(tokens.id_token) : null;
    if (claims && (claims.nonce !== asked.nonce || claims.iss !== metadata.issuer)) {
      throw new SignInError("The ID token is not the answer to this sign-in.");
    }
    return { ...tokens, claims };
  }

  /** New tokens for a refresh token (RFC 6749 §6). @param {string} refreshToken @returns {Promise<Tokens>} */
  renew(refreshToken) {
    return this.token({ grant_type: "refresh_token", refresh_token: refreshToken });
  }

  /** @param {Record<string, string>} parameters @returns {Promise<Tokens>} */
  async token(parameters) {
    const { token_endpoint: url } = await this.discover();
    const body = new URLSearchParams({ ...parameters, client_id: this.config.client_id ?? "" });
    let answer;
    try {
      answer = await fetch(url, { method: "POST", body, credentials: "omit", referrerPolicy: "no-referrer" });
    } catch {
      throw new SignInError("The identity provider does not answer.");
    }
    const tokens = await answer.json().catch(() => ({}));
    if (!answer.ok || !tokens.access_token) {
      // Without a word of OAuth's, a 4xx is a refusal, too; anything else may be another matter in a moment.
      const refused = answer.status >= 400 && answer.status < 500 && answer.status !== 429;
      const code = tokens.error ?? (refused ? "invalid_request" : "");
      throw new SignInError(tokens.error_description ?? "The identity provider gave no token.", code);
    }
    return tokens;
  }

  /** Where a person signs out of the issuer itself (OpenID Connect RP-Initiated Logout §2); null where
   * it offers that nowhere. */
  signOutUrl() {
    const { origin, hostname } = new URL(this.config.issuer);
    const endpoint = this.metadata?.end_session_endpoint;
    // Auth0's older tenants have a way of their own, and do not tell of it.
    const auth0 = !endpoint && hostname.endsWith(".auth0.com");
    if (!endpoint && !auth0) return null;
    const url = new URL(endpoint ?? `${origin}/v2/logout`);
    url.searchParams.set("client_id", this.config.client_id ?? "");
    url.searchParams.set(auth0 ? "returnTo" : "post_logout_redirect_uri", redirectUri());
    return url.href;
  }
}

/** A document of metadata; null where there is none. @param {string} url @returns {Promise<Metadata | null>} */
async function found(url) {
  try {
    const answer = await fetch(url, { credentials: "omit", referrerPolicy: "no-referrer" });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
