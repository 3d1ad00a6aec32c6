/** Calls of the API, with the token of whoever is signed in. */

import { learnClock } from "./format.js";

/** An answer that is not what was hoped for, as problem details (RFC 9457) where they are ours. */
export class Problem extends Error {
  /** @param {number} status @param {any} details */
  constructor(status, details) {
    super(details?.detail ?? `The server answered ${status}.`);
    this.status = status;
    /** @type {string} the last word of our problem types */
    this.code = String(details?.type ?? "").split(":").pop() ?? "";
    /** @type {{pointer: string, detail: string}[]} */
    this.errors = details?.errors ?? [];
  }
}

/** Nothing came back. */
export class Unreachable extends Error {
  constructor() {
    super("The server cannot be reached.");
  }
}

export class Api {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
  }

  /**
   * One call; a token that is refused is renewed once.
   * @param {string} method
   * @param {string} path relative to this page
   * @param {{body?: any, headers?: Record<string, string>, signal?: AbortSignal}} [more]
   * @returns {Promise<Response>}
   */
  async send(method, path, more = {}) {
    let token = await this.session.token();
    let answer = await this.once(method, path, token, more);
    if (answer.status === 401) {
      token = await this.session.renew(token);
      answer = await this.once(method, path, token, more);
    }
    learnClock(answer.headers.get("date"));
    if (answer.ok) return answer;
    const ours = answer.headers.get("content-type")?.includes("json");
    throw new Problem(answer.status, ours ? await answer.json().catch(() => null) : null);
  }

  /** @param {string} method @param {string} path @param {string} token @param {any} more */
  async once(method, path, token, { body, headers = {}, signal }) {
    const json = body === undefined ? {} : { "Content-Type": "application/json" };
    try {
      return await fetch(path, {
        method,
        signal,
        body,
        headers: { Authorization: `Bearer ${token}`, ...json, ...headers },
        credentials: "omit",
        cache: "no-store",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Unreachable();
    }
  }

  /** @param {string} method @param {string} path @param {any} [more] */
  async json(method, path, more) {
    return (await this.send(method, path, more)).json();
  }

  /** @param {{status?: string | null, labels?: string[], cursor?: string | null, limit?: number, signal?: AbortSignal}} query
   * @returns {Promise<import("./build.js").Page>} */
  builds({ status, labels = [], cursor, limit = 30, signal }) {
    const asked = new URLSearchParams({ limit: String(limit) });
    if (status) asked.set("status", status);
    for (const label of labels) asked.append("label", label);
    if (cursor) asked.set("cursor", cursor);
    return this.json("GET", `builds?${asked}`, { signal });
  }

  /** @param {string} id @param {AbortSignal} [signal] @returns {Promise<import("./build.js").Build>} */
  build(id, signal) {
    return this.json("GET", `builds/${id}`, { signal });
  }

  /** @param {string} text the spec as JSON @param {string} key that makes a repeat harmless
   * @returns {Promise<import("./build.js").Build>} */
  submit(text, key) {
    return this.json("POST", "builds", { body: text, headers: { "Idempotency-Key": key } });
  }

  /** @param {string} id @returns {Promise<import("./build.js").Build>} */
  cancel(id) {
    return this.json("POST", `builds/${id}/cancel`);
  }

  /** @param {string} id @param {string} key that makes a repeat harmless
   * @returns {Promise<import("./build.js").Build>} */
  retry(id, key) {
    return this.json("POST", `builds/${id}/retry`, { headers: { "Idempotency-Key": key } });
  }
}
