// Throughput and latency: what listings of sessions and of runs show from one look to the next.
import { get, sessionPath } from "./api.js";
import { milliseconds } from "./format.js";
import { Model, Poller } from "./model.js";
import { occupancy } from "./sessions.js";
import { SPAN_TYPES, Spans } from "./spans.js";

const LOOK_MS = 3_000;
const LISTED = 200;
const SAMPLES_MAX = 400; // 20 minutes
const RUNS_LISTED = 200;
const RUNS_MAX = 4_000;
// a run that took longer may have waited for somebody, which only its events tell
const WAITED_MS = 500;
const ASKED = 12; // runs at a time whose events are read
const BUCKETS = 60;
const WIDTHS_MS = [1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000];

const NOTHING = { sessions: 0, more: false, running: 0, queued: 0, waiting: 0, slots: 0 };

/** @param {number[]} sorted ascending  @param {number} share 0.5 for the median */
export function quantile(sorted, share) {
  if (!sorted.length) return null;
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

/** Totals over all sessions that were seen, so that two looks make a rate. Pure. */
export class Totals {
  #seen = new Map();
  events = 0;
  ended = 0;

  /** @param {object[]} sessions as listed, those that changed last at least */
  look(sessions, sinceMs) {
    for (const session of sessions) {
      const now = { head: Number(session.head_seq), ended: occupancy(session).ended };
      const before = this.#seen.get(session.id);
      const fresh = before === undefined && milliseconds(session.created_at_ns) >= sinceMs;
      if (before !== undefined || fresh) {
        this.events += Math.max(0, now.head - (before?.head ?? 0));
        this.ended += Math.max(0, now.ended - (before?.ended ?? 0));
      }
      this.#seen.set(session.id, now);
    }
  }
}

/** The median and the 99th percentile of one of the times of runs. */
export function halves(runs, name) {
  const sorted = runs.map((run) => run[name]).filter((ms) => ms !== null).sort((a, b) => a - b);
  return [quantile(sorted, 0.5), quantile(sorted, 0.99)];
}

/**
 * Ended runs in equal spans of time: how many a second, and how long they stood in the
 * queue, waited and ran.
 * The spans begin at round times, so that they are the same ones the next time, and the one that
 * has not passed yet is left out.
 * @param {{ended: number, queued: number, waited: number|null, ran: number|null}[]} runs  ms
 */
export function buckets(runs, begin, end) {
  const width = WIDTHS_MS.find((ms) => ms * BUCKETS >= end - begin) ?? WIDTHS_MS.at(-1);
  const from = Math.ceil(begin / width) * width;
  const number = Math.max(0, Math.floor((end - from) / width));
  const sorted = Array.from({ length: number }, () => []);
  for (const run of runs) {
    const index = Math.floor((run.ended - from) / width);
    if (index >= 0 && index < number) sorted[index].push(run);
  }
  return sorted.map((list, index) => {
    const [[queued50, queued99], [waited50, waited99], [ran50, ran99]] =
      ["queued", "waited", "ran"].map((name) => halves(list, name));
    return {
      time: from + (index + 0.5) * width,
      rate: (list.length * 1000) / width,
      queued50, queued99, waited50, waited99, ran50, ran99,
    };
  });
}

export class Activity extends Model {
  /** @type {{time: number, events: number, runs: number, running: number, queued: number}[]} */
  samples = [];
  statistics = null; // only operators are told
  runs = new Map();
  /** Why runs cannot be listed, if they cannot. */
  runsProblem = null;
  problem = null;
  counts = NOTHING;
  #totals = new Totals();
  #looked = null;
  #operates = true;
  #detailed = false;
  #poller = new Poller(() => this.#look(), LOOK_MS);

  start() {
    this.#poller.start();
  }

  stop() {
    this.#poller.stop();
  }

  /** Whether times of runs are shown, so that it is worth asking what they were made of. */
  detail(wanted) {
    this.#detailed = wanted;
    if (wanted) this.#poller.now();
  }

  async #look() {
    try {
      const now = Date.now();
      const page = await get("v1/sessions", { limit: LISTED });
      this.#sample(page, now);
      await Promise.all([this.#readStatistics(), this.#readRuns()]);
      this.problem = null;
    } catch (problem) {
      this.problem = problem;
      this.#looked = null; // a rate over a time in which nothing was seen would be wrong
    }
    this.changed();
  }

  #sample({ sessions, next_cursor: next }, now) {
    const { events, ended } = this.#totals;
    this.#totals.look(sessions, this.#looked ?? now);
    const counts = { ...NOTHING, sessions: sessions.length, more: next !== null };
    for (const session of sessions) {
      const { running, queued, waiting } = occupancy(session);
      counts.running += running;
      counts.queued += queued;
      counts.waiting += waiting;
      if (session.state === "open") counts.slots += session.slots;
    }
    this.counts = counts;
    if (this.#looked !== null) {
      const seconds = (now - this.#looked) / 1000;
      this.samples.push({
        time: now,
        events: (this.#totals.events - events) / seconds,
        runs: (this.#totals.ended - ended) / seconds,
        running: counts.running,
        queued: counts.queued,
      });
      this.samples = this.samples.slice(-SAMPLES_MAX);
    }
    this.#looked = now;
  }

  async #readStatistics() {
    if (!this.#operates) return;
    try {
      this.statistics = await get("v1/statistics");
    } catch (problem) {
      if (problem.status !== 403) throw problem;
      this.#operates = false;
    }
  }

  async #readRuns() {
    try {
      const page = await get("v1/search/runs", { limit: RUNS_LISTED });
      for (const run of page.runs) this.#noteRun(run);
      if (this.#detailed) await this.#readSpans();
      this.runsProblem = null;
    } catch (problem) {
      if (problem.status === 0) throw problem;
      this.runsProblem = problem; // a store that cannot be searched, say: the rest is still true
    }
    for (const id of this.runs.keys()) {
      if (this.runs.size <= RUNS_MAX) break;
      this.runs.delete(id);
    }
  }

  #noteRun(run) {
    if (run.ended_at_ns === null || this.runs.has(run.run_id)) return;
    const ended = milliseconds(run.ended_at_ns);
    const started = run.started_at_ns === null ? null : milliseconds(run.started_at_ns);
    this.runs.set(run.run_id, {
      session: run.session_id,
      ended,
      queued: (started ?? ended) - milliseconds(run.submitted_at_ns),
      waited: null,
      ran: started === null ? null : ended - started,
      certain: started === null || ended - started < WAITED_MS,
    });
  }

  /** Tell waiting from running, in the runs that ended last first. */
  async #readSpans() {
    const asked = [...this.runs].filter(([, run]) => !run.certain)
      .sort(([, a], [, b]) => b.ended - a.ended).slice(0, ASKED);
    const types = SPAN_TYPES.join(",");
    await Promise.all(asked.map(async ([run_id, run]) => {
      const query = { run_id, types, limit: 1_000 };
      const { events } = await get(sessionPath(run.session, "events"), query).catch((problem) => {
        if (problem.status === 404) return { events: [] }; // it was deleted meanwhile
        throw problem;
      });
      const spans = new Spans();
      for (const event of events) spans.add(event);
      const times = spans.times(run.ended);
      Object.assign(run, { certain: true }, spans.over && times.queued !== null ? times : {});
    }));
  }
}
