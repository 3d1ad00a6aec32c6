/** The builds that a list shows: pages of old ones, and news of all. */

import { Problem } from "./api.js";
import { follow } from "./live.js";

/** Builds asked for at once: more where most are not what is looked for. */
const PAGE = 30;
const PAGE_FILTERED = 100;
/** Pages that are looked through for a label before somebody is asked to go on. */
const PATIENCE = 5;

export class BuildList {
  /**
   * @param {import("./api.js").Api} api
   * @param {{status: string | null, label: string}} filter
   * @param {() => void} changed
   */
  constructor(api, filter, changed) {
    this.api = api;
    this.filter = filter;
    this.changed = changed;
    /** @type {any[]} newest first */
    this.builds = [];
    /** @type {any[]} newer ones that are not shown yet */
    this.fresh = [];
    this.state = "loading";
    this.error = "";
    /** @type {string | null} */
    this.next = null;
    this.looked = 0;
    this.stop = new AbortController();
  }

  start() {
    this.more();
    follow(this.api, "builds/events", {
      signal: this.stop.signal,
      poll: async () => {
        const page = await this.api.builds({ status: this.filter.status ?? undefined, limit: PAGE, signal: this.stop.signal });
        for (const build of page.builds.toReversed()) this.heard(build);
      },
      build: (build) => this.heard(build),
    });
  }

  close() {
    this.stop.abort();
  }

  /** The next page, or several where a label is looked for. */
  async more() {
    this.state = "loading";
    this.changed();
    try {
      let found = 0;
      for (let pages = 0; pages < PATIENCE && found === 0; pages += 1) {
        const page = await this.api.builds({
          status: this.filter.status ?? undefined,
          cursor: this.next ?? undefined,
          limit: this.filter.label ? PAGE_FILTERED : PAGE,
          signal: this.stop.signal,
        });
        const known = new Set(this.builds.map((build) => build.id));
        const fitting = page.builds.filter((/** @type {any} */ build) => this.fits(build) && !known.has(build.id));
        this.builds.push(...fitting);
        this.looked += page.builds.length;
        this.next = page.next;
        found += fitting.length;
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

  /** A build as it is now. @param {any} build */
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

  /** @param {any} build */
  fits(build) {
    const { status, label } = this.filter;
    if (status && build.status !== status) return false;
    if (!label) return true;
    const [name, value] = label.split(/[:=](.*)/s).map((part) => part.trim().toLowerCase());
    return Object.entries(build.spec.labels).some(([key, said]) => {
      const [k, v] = [key.toLowerCase(), String(said).toLowerCase()];
      return value ? k === name && v === value : k === name || v === name;
    });
  }
}
