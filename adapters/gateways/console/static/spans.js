// Where the time of a run went: into the queue, into waiting for somebody, into running. Pure.
import { milliseconds } from "./format.js";

const INTO = {
  run_submitted: "queued", run_started: "ran", run_waiting: "waited", run_resumed: "queued",
  run_requeued: "queued", run_completed: "over", run_failed: "over", run_cancelled: "over",
  run_timed_out: "over", run_interrupted: "over",
};
export const SPAN_TYPES = Object.keys(INTO);

/** What its events say about one run; they have to come in order. */
export class Spans {
  #spent = { queued: 0, waited: null, ran: null, over: 0 };
  #in = null;
  #since = null;
  #whole = false;

  /** @param {object} event of any type */
  add({ type, time_ns: time }) {
    const next = INTO[type];
    if (next === undefined) return;
    const at = milliseconds(time);
    if (this.#in === null) this.#whole = type === "run_submitted";
    // nobody knows when an attempt was interrupted that a killed server left behind
    else if (type !== "run_requeued" || this.#in !== "ran") this.#spent[this.#in] += this.#passed(at);
    this.#spent[next] ??= 0;
    [this.#in, this.#since] = [next, at];
  }

  #passed(at) {
    return Math.max(0, at - this.#since);
  }

  get over() {
    return this.#in === "over";
  }

  /**
   * In milliseconds: all the time without a slot that was not its own doing, all that it waited
   * for an answer, and the rest. Null: never; or not known, as its first events are not here.
   * @param {number} now milliseconds since 1970
   * @returns {{queued: number|null, waited: number|null, ran: number|null}}
   */
  times(now) {
    const spent = { ...this.#spent };
    if (this.#in !== null) spent[this.#in] += this.#passed(now);
    const { queued, waited, ran } = spent;
    return this.#whole ? { queued, waited, ran } : { queued: null, waited: null, ran };
  }
}
