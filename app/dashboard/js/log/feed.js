/** Brings a log's bytes into the model: all that there is, then what comes, over every interruption. */

import { back, isAway, whileHere } from "../attention.js";
import { backoff, pause } from "../stream.js";

/** Bytes in the worker's hands at most, so that a fast network does not outrun it. */
const AHEAD = 4;
/** Milliseconds without one of the bytes that are known to be there, after which a stream is dead: its
 * other end went away without a word, as over a night's sleep. */
const PATIENCE = 8000;

export class LogFeed {
  /**
   * @param {import("../api.js").Api} api
   * @param {string} id of the build
   * @param {import("./model.js").LogModel} model
   * @param {{ended: () => void, state: (words: string) => void, final: () => boolean}} told
   *   `final`: whether the build is known to have ended
   */
  constructor(api, id, model, told) {
    this.api = api;
    this.id = id;
    this.model = model;
    this.told = told;
    this.stop = new AbortController();
    this.attempt = new AbortController();
    this.sent = 0;
    this.timer = 0;
  }

  close() {
    clearTimeout(this.timer);
    this.stop.abort();
  }

  /** There are so many bytes: a stream that brings none of them is begun anew. @param {number} length */
  expect(length) {
    if (length <= this.sent || this.timer) return;
    const before = this.sent;
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      if (this.sent === before) this.attempt.abort();
    }, PATIENCE);
  }

  /** Runs until the log is complete or `close`. */
  async run() {
    let failures = 0;
    while (!this.stop.signal.aborted) {
      const before = this.sent;
      try {
        await back(this.stop.signal);
        // Asked before the stream: one that ended since has its last byte in this very stream.
        const final = this.told.final();
        await this.once();
        if (final) break;
        failures = 0;
        this.told.state("");
        await pause(250, this.stop.signal);
      } catch (error) {
        if (this.stop.signal.aborted) return;
        if (isAway()) continue;
        if (/** @type {any} */ (error).status === 404) return;
        failures = this.sent > before ? 1 : failures + 1;
        this.told.state("The connection is gone; trying again…");
        await pause(backoff(failures), this.stop.signal).catch(() => {});
      }
    }
    if (!this.stop.signal.aborted) {
      this.told.state("");
      this.told.ended();
    }
  }

  /** One stream, from the first byte that is missing. */
  async once() {
    /** @type {Record<string, string>} */
    const headers = this.sent ? { Range: `bytes=${this.sent}-` } : {};
    const path = `builds/${this.id}/log?follow=1`;
    this.attempt = new AbortController();
    const signal = AbortSignal.any([whileHere(this.stop.signal), this.attempt.signal]);
    const answer = await this.api.send("GET", path, { headers, signal });
    if (this.sent && answer.status !== 206) throw new Error("the log came from its beginning");
    this.told.state("");
    const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
    /** @type {Promise<any>[]} */
    const under = [];
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        this.sent += value.length;
        under.push(this.model.append(value));
        if (under.length > AHEAD) await under.shift();
      }
    } finally {
      await Promise.all(under);
      reader.cancel().catch(() => {});
    }
  }
}
