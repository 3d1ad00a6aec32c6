/** Proof Key for Code Exchange (RFC 7636), and other unguessable words. */

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** 256 random bits. */
export function secret() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** The S256 challenge (§4.2). @param {string} verifier */
export async function challengeOf(verifier) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  return base64url(new Uint8Array(digest));
}

/** The claims of an ID token that came from the token endpoint itself, over TLS (OIDC Core §3.1.3.7: its
 * signature need not be checked then). @param {string} token */
export function claimsOf(token) {
  const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}
