/** What the API says of a build: the members of `BuildView` in its OpenAPI document. */

/** @typedef {"queued" | "running" | "succeeded" | "failed" | "errored" | "timed_out" | "cancelled"} Status */
/** @typedef {"pending" | "running" | "succeeded" | "failed" | "timed_out" | "cancelled" | "skipped"} StepStatus */

/**
 * @typedef {object} Source
 * @property {string} git
 * @property {string | null} ref
 * @property {string | null} sha
 */

/**
 * @typedef {object} SpecStep
 * @property {string} name
 * @property {string} run
 * @property {Record<string, string>} env
 * @property {number | null} timeout in seconds
 */

/**
 * @typedef {object} Spec
 * @property {Source | null} source
 * @property {SpecStep[]} steps
 * @property {Record<string, string>} env
 * @property {number | null} timeout in seconds
 * @property {Record<string, string>} labels
 */

/**
 * @typedef {object} StepReport
 * @property {string} name
 * @property {StepStatus} status
 * @property {string | null} started_at
 * @property {string | null} finished_at
 * @property {number | null} exit_code
 * @property {number | null} log_offset where its output begins
 */

/**
 * @typedef {object} Attempt that was lost
 * @property {number} attempt
 * @property {string} reason
 * @property {string} ended_at
 * @property {string | null} worker
 */

/**
 * @typedef {object} TokenFacts
 * @property {string} issuer
 * @property {string} audience
 * @property {string} scope
 * @property {string} client_id
 * @property {string} user_id
 * @property {string} build_id
 * @property {string} issued_at
 * @property {string} expires_at
 */

/**
 * @typedef {object} Queue
 * @property {string} why
 * @property {string} message
 * @property {number} position
 * @property {number} ahead_own
 * @property {number | null} estimate in seconds
 * @property {string | null} worker_seen_at
 * @property {string | null} next_try_at
 */

/**
 * @typedef {object} Build
 * @property {string} id
 * @property {string} owner
 * @property {Status} status
 * @property {string | null} reason
 * @property {string | null} message
 * @property {Spec} spec
 * @property {string | null} commit
 * @property {StepReport[]} steps
 * @property {number} attempt
 * @property {Attempt[]} attempts
 * @property {string | null} worker
 * @property {string} created_at
 * @property {string | null} started_at
 * @property {string | null} finished_at
 * @property {string | null} cancel_requested_at
 * @property {string | null} cancelled_by
 * @property {string | null} retry_of
 * @property {{length: number, sha256: string | null}} log
 * @property {TokenFacts | null} token
 * @property {Queue | null} queue only of one that is asked for by itself, queued
 */

/** @typedef {{builds: Build[], next: string | null}} Page */

export {};
