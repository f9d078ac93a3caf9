// Runs as a table shows them, and what they ask, out of their events. Pure.
import { said } from "./format.js";
import { Spans } from "./spans.js";

export const RUN_TYPES = [
  "run_submitted", "run_started", "run_waiting", "run_resumed", "run_requeued",
  "run_cancel_requested", "run_completed", "run_failed", "run_cancelled", "run_timed_out",
  "run_interrupted",
];
export const QUESTION_TYPES = ["run_waiting", "run_asked", "run_answered", "run_resumed"];
const APPROVAL = "approval:";

const STATES = {
  run_submitted: "queued", run_started: "running", run_waiting: "waiting", run_resumed: "queued",
  run_requeued: "queued", run_cancel_requested: "cancelling", run_completed: "completed",
  run_failed: "failed", run_cancelled: "cancelled", run_timed_out: "timed_out",
  run_interrupted: "interrupted",
};
export const ENDED = new Set(["completed", "failed", "cancelled", "timed_out", "interrupted"]);

/**
 * @typedef {{id: string, state: string, input: string, agent: string|null, attempt: number,
 *   submitted: any, spans: Spans, error: object|null}} Run  `submitted` in nanoseconds
 * @param {object[]} events ascending
 * @returns {Run[]} the newest first
 */
export function runsOf(events) {
  const runs = new Map();
  for (const event of events) {
    const state = STATES[event.type];
    if (!state || event.run_id === null) continue;
    let run = runs.get(event.run_id);
    if (run === undefined) {
      run = {
        id: event.run_id, state, input: "", agent: null, attempt: 0,
        submitted: event.data?.submitted_at_ns ?? null, spans: new Spans(), error: null,
      };
      runs.set(run.id, run);
    }
    run.state = state;
    run.spans.add(event);
    if (event.type === "run_submitted") {
      run.submitted = event.time_ns;
      run.input = said(event.data.input);
      run.agent = event.data.agent ?? null;
    } else if (event.type === "run_started") {
      run.attempt = event.data.attempt;
    } else if (ENDED.has(state)) {
      run.submitted ??= event.data?.submitted_at_ns ?? null;
      run.attempt = event.data?.attempt ?? run.attempt;
      run.error = event.data?.error ?? null;
    }
  }
  return [...runs.values()].reverse();
}

/** What runs ask and nobody has answered yet. */
export class Questions {
  #open = new Map();

  /** @param {object} event of any type; those of one run have to come in order */
  add(event) {
    const run = event.run_id;
    if (event.type === "run_waiting" || event.type === "run_asked") {
      const { name, data } = event.data;
      this.#open.set(`${run} ${name}`, {
        key: `${run} ${name}`, runId: run, name, data, time: event.time_ns,
        approval: name.startsWith(APPROVAL) && typeof data?.request_id === "string",
      });
    } else if (event.type === "run_answered" || event.type === "run_resumed")
      this.#open.delete(`${run} ${event.data.name}`);
    else if (ENDED.has(STATES[event.type]))
      for (const [key, question] of this.#open) if (question.runId === run) this.#open.delete(key);
  }

  /** @returns {{key: string, runId: string, name: string, data: any, approval: boolean}[]} */
  list() {
    return [...this.#open.values()];
  }
}
