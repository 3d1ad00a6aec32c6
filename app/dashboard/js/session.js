/**
 * Who is signed in, and the access token, which is in this page's memory and nowhere else.
 *
 * While a sign-in is on its way through the issuer's pages, what its answer is checked against stands
 * in sessionStorage; the answer takes it out. A sign-in that renews an old one happens in a window
 * of its own, so that nothing on the page is lost, and its answer comes back over a channel.
 */

import { Issuer, SignInError } from "./issuer.js";

const UNDERWAY = "baton.sign-in";
const CHANNEL = "baton.sign-in";
/** Seconds before a token's end in which it is not used any more, and for which a guess is right. */
const MARGIN = 20;

export class Session extends EventTarget {
  constructor() {
    super();
    /** @type {Issuer | null} */
    this.issuer = null;
    /** @type {string | null} */
    this.accessToken = null;
    /** @type {string | null} */
    this.refreshToken = null;
    this.endsAt = 0;
    /** @type {{name: string, hint: string, sub: string} | null} `hint`: what they sign in as */
    this.user = null;
    /** @type {Promise<string> | null} */
    this.renewing = null;
    /** Asks the person to sign in again; set by the page. @type {() => void} */
    this.ask = () => {};
    /** @type {((token: string) => void)[]} */
    this.waiting = [];
  }

  /**
   * Begin: take the answer of a sign-in, or try one that needs nobody.
   * @returns {Promise<"in" | "out" | "leaving" | "closing">} `leaving`: the page is about to go
   */
  async begin() {
    const answer = await fetch("dashboard-config.json", { credentials: "omit" });
    this.issuer = new Issuer(await answer.json());
    if (!this.issuer.config.client_id) {
      throw new SignInError("Nobody can sign in here yet: the operator has to set BATON_DASHBOARD_CLIENT_ID.");
    }
    const query = new URLSearchParams(location.search);
    if (query.has("state") && (query.has("code") || query.has("error"))) return this.answered(query);
    if (location.hash === "#/signed-out") return "out";
    await this.signIn({ silent: true });
    return "leaving";
  }

  /** @param {URLSearchParams} query @returns {Promise<"in" | "out" | "closing">} */
  async answered(query) {
    const kept = JSON.parse(sessionStorage.getItem(UNDERWAY) ?? "null");
    if (kept?.asked.state !== query.get("state")) {
      // Not of this window: another page of ours waits for it.
      history.replaceState(null, "", location.pathname);
      const channel = new BroadcastChannel(CHANNEL);
      channel.postMessage(query.toString());
      channel.close();
      window.close();
      return "closing";
    }
    sessionStorage.removeItem(UNDERWAY);
    history.replaceState(null, "", location.pathname + kept.route);
    try {
      this.take(await /** @type {Issuer} */ (this.issuer).redeem(query, kept.asked));
      return "in";
    } catch (error) {
      const quiet = ["login_required", "interaction_required", "consent_required", "account_selection_required"];
      if (kept.silent && error instanceof SignInError && quiet.includes(error.code)) return "out";
      throw error;
    }
  }

  /** Leave for the issuer, and come back to this very place. @param {{silent?: boolean, route?: string}} [how] */
  async signIn({ silent = false, route = location.hash } = {}) {
    const issuer = /** @type {Issuer} */ (this.issuer);
    const { url, asked } = await issuer.request(silent ? { prompt: "none" } : {});
    const back = route === "#/signed-out" ? "" : route;
    sessionStorage.setItem(UNDERWAY, JSON.stringify({ asked, silent, route: back }));
    location.replace(url);
  }

  /** Sign in again in a window of its own; resolves when it worked. Raises `SignInError`. */
  async signInBeside() {
    // Opened before anything is waited for: browsers take a window only straight after a click.
    const beside = window.open("about:blank", "baton-sign-in", "popup,width=480,height=640");
    if (!beside) return this.signIn();
    const issuer = /** @type {Issuer} */ (this.issuer);
    const { url, asked } = await issuer.request({ hint: this.user?.hint }).catch((error) => {
      beside.close();
      throw error;
    });
    beside.location.href = url;
    const channel = new BroadcastChannel(CHANNEL);
    try {
      await new Promise((resolve, reject) => {
        channel.addEventListener("message", ({ data }) => {
          const query = new URLSearchParams(data);
          if (query.get("state") !== asked.state) return;
          issuer.redeem(query, asked).then((tokens) => resolve(this.take(tokens)), reject);
        });
      });
    } finally {
      channel.close();
    }
  }

  /** @param {import("./issuer.js").Tokens} tokens */
  take(tokens) {
    const before = this.user?.sub;
    const claims = tokens.claims;
    if (before && claims && claims.sub !== before) {
      location.reload(); // somebody else: nothing of this page is theirs
      return;
    }
    this.accessToken = tokens.access_token;
    this.refreshToken = tokens.refresh_token ?? this.refreshToken;
    this.endsAt = Date.now() + (tokens.expires_in ?? 300) * 1000;
    if (claims) {
      const name = claims.name ?? claims.nickname ?? claims.email ?? claims.sub;
      this.user = { name, hint: claims.email ?? claims.preferred_username ?? name, sub: claims.sub };
    }
    for (const go of this.waiting.splice(0)) go(tokens.access_token);
    this.dispatchEvent(new Event("in"));
  }

  /** A token that is good now; waits for the person where it has to. @returns {Promise<string>} */
  token() {
    const left = this.endsAt - Date.now();
    if (this.accessToken && left > Math.min(MARGIN * 1000, 2000)) return Promise.resolve(this.accessToken);
    return this.renew(this.accessToken);
  }

  /** The token that was sent is refused, or old. @param {string | null} old @returns {Promise<string>} */
  renew(old) {
    if (this.accessToken && this.accessToken !== old) return Promise.resolve(this.accessToken);
    this.accessToken = null;
    this.renewing ??= this.renewed().finally(() => (this.renewing = null));
    return this.renewing;
  }

  /** @returns {Promise<string>} */
  async renewed() {
    if (this.refreshToken) {
      try {
        this.take(await /** @type {Issuer} */ (this.issuer).renew(this.refreshToken));
        if (this.accessToken) return this.accessToken;
      } catch (error) {
        // Only a refusal (RFC 6749 §5.2) ends it. An issuer that is away is asked again by whoever
        // needs the token, as the API is.
        if (!(error instanceof SignInError) || !error.code) throw error;
        this.refreshToken = null;
      }
    }
    const wanted = new Promise((/** @type {(token: string) => void} */ resolve) => this.waiting.push(resolve));
    this.ask();
    return wanted;
  }

  /** Forget everything, here and at the issuer. */
  signOut() {
    const url = this.issuer?.signOutUrl();
    this.accessToken = this.refreshToken = this.user = null;
    sessionStorage.removeItem(UNDERWAY);
    history.replaceState(null, "", `${location.pathname}#/signed-out`);
    if (url) location.replace(url);
    else location.reload();
  }
}
