/** The builds that a list shows: pages of old ones, and news of all. */

import { Problem } from "./api.js";
import { follow } from "./live.js";
import { isFinal } from "./status.js";

/** @typedef {import("./build.js").Build} Build */

/** Builds asked for at once. */
const PAGE = 30;
/** Pages in a row that may be empty, where a label is rare, before somebody is asked to go on. */
const PATIENCE = 5;
/** Builds under way that a look asks for one by one, since they may have left the page. */
const AGAIN = 10;

export class BuildList {
  /**
   * @param {import("./api.js").Api} api
   * @param {{status: string | null, labels: string[]}} filter `labels`: `name` or `name:value`
   * @param {() => void} changed
   */
  constructor(api, filter, changed) {
    this.api = api;
    this.filter = filter;
    this.changed = changed;
    /** @type {Build[]} newest first */
    this.builds = [];
    /** @type {Build[]} newer ones that are not shown yet */
    this.fresh = [];
    this.state = "loading";
    this.error = "";
    /** @type {string | null} */
    this.next = null;
    this.stop = new AbortController();
  }

  start() {
    this.more();
    follow(this.api, "builds/events", {
      signal: this.stop.signal,
      poll: () => this.look(),
      build: (build) => this.heard(build),
    });
  }

  close() {
    this.stop.abort();
  }

  /** The newest ones, and those under way that are not among them: they may not fit any more. */
  async look() {
    const { signal } = this.stop;
    const page = await this.api.builds({ ...this.filter, limit: PAGE, signal });
    const seen = new Set(page.builds.map((build) => build.id));
    const rest = this.builds.filter((build) => !isFinal(build) && !seen.has(build.id)).slice(0, AGAIN);
    const others = await Promise.allSettled(rest.map((build) => this.api.build(build.id, signal)));
    for (const build of page.builds.toReversed()) this.heard(build);
    for (const other of others) if (other.status === "fulfilled") this.heard(other.value);
  }

  /** The next page, or several where a label is rare. */
  async more() {
    this.state = "loading";
    this.changed();
    try {
      let found = 0;
      for (let pages = 0; pages < PATIENCE && found === 0; pages += 1) {
        const page = await this.api.builds({ ...this.filter, cursor: this.next, limit: PAGE, signal: this.stop.signal });
        const known = new Set(this.builds.map((build) => build.id));
        const others = page.builds.filter((build) => !known.has(build.id));
        this.builds.push(...others);
        this.next = page.next;
        found += others.length;
        if (!this.next) break;
      }
      this.state = "ready";
    } catch (error) {
      if (this.stop.signal.aborted) return;
      this.state = "failed";
      this.error = error instanceof Problem ? error.message : "The server cannot be reached.";
    }
    this.changed();
  }

  /** A build as it is now. @param {Build} build */
  heard(build) {
    if (this.state === "loading" && !this.builds.length) return;
    for (const list of [this.builds, this.fresh]) {
      const at = list.findIndex((known) => known.id === build.id);
      if (at < 0) continue;
      if (this.fits(build)) list[at] = build;
      else list.splice(at, 1);
      return this.changed();
    }
    const newest = [...this.fresh, ...this.builds][0];
    if (!this.fits(build) || (newest && build.id < newest.id)) {
      // One that came to fit just now, like a build that failed, among those that are shown.
      const oldest = this.builds.at(-1);
      if (!this.fits(build) || (this.next && oldest && build.id < oldest.id)) return;
      this.builds.push(build);
      this.builds.sort((a, b) => (a.id < b.id ? 1 : -1));
    } else this.fresh.unshift(build);
    this.changed();
  }

  takeFresh() {
    const count = this.fresh.length;
    this.builds.unshift(...this.fresh.splice(0));
    return count;
  }

  /** What the API means by the same filter. @param {Build} build */
  fits(build) {
    const { status, labels } = this.filter;
    if (status && build.status !== status) return false;
    const has = Object.entries(build.spec.labels);
    return labels.every((label) => has.some(([name, value]) => label === name || label === `${name}:${value}`));
  }
}
