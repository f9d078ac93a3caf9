// One session: its facts, the last page of its log, and what comes behind that as it comes.
import { get, newKey, send, sessionPath } from "./api.js";
import { Feed } from "./feed.js";
import { Model } from "./model.js";
import { QUESTION_TYPES, Questions, RUN_TYPES, runsOf } from "./runs.js";

const PAGE = 300;
const EVENTS_MAX = 6_000; // kept of the log; older ones can be asked for again
const RUNS_PAGE = 600;
const RUN_EVENTS_MAX = 6_000;
const ASKING_MAX = 50;
const STATUS_MS = 400;
const STATE_EVENT = /^(run|session)_/;

/** @typedef {"loading"|"connecting"|"live"|"waiting"|"ended"|"gone"} Connection */

export class SessionModel extends Model {
  info = null;
  status = null;
  events = [];
  runEvents = [];
  questions = new Questions();
  /** @type {Connection} */
  connection = "loading";
  problem = null;
  loadingOlder = false;
  hasOlder = false;
  hasOlderRuns = false;
  /** The seq of the first event that was not there when the page was opened. */
  firstLive = Infinity;
  #feed = null;
  #stopped = false;
  #statusTimer = null;

  /** @param {string} id */
  constructor(id) {
    super();
    this.id = id;
  }

  path(...below) {
    return sessionPath(this.id, ...below);
  }

  async start() {
    this.#stopped = false;
    try {
      await this.#load();
    } catch (problem) {
      if (this.#stopped) return;
      this.problem = problem;
      this.connection = problem.status === 404 ? "gone" : "waiting";
      this.changed();
      if (problem.status !== 404 && problem.status !== 403)
        setTimeout(() => this.#stopped || this.start(), 2_000);
    }
  }

  async #load() {
    this.info = await get(this.path());
    const before = this.info.head_seq + 1;
    const [{ events }, { events: runEvents }, status] = await Promise.all([
      get(this.path("events"), { before, limit: PAGE }),
      get(this.path("events"), { before, limit: RUNS_PAGE, types: RUN_TYPES.join(",") }),
      this.#readStatus(),
    ]);
    this.status = status;
    this.events = events;
    this.runEvents = runEvents;
    this.hasOlder = events.length === PAGE;
    this.hasOlderRuns = runEvents.length === RUNS_PAGE;
    await this.#askedBefore(before);
    if (this.#stopped) return;
    this.firstLive = before;
    this.problem = null;
    this.#feed = new Feed(
      this.id, this.info.head_seq,
      (fresh) => this.#take(fresh),
      (state, problem) => this.#connected(state, problem),
    ).start();
    this.changed();
  }

  /** A quarantined session has no owner who would know more than the listing. */
  async #readStatus() {
    try {
      return await get(this.path("status"));
    } catch (problem) {
      if (problem.code !== "session_quarantined") throw problem;
      return { state: "quarantined", slots: 1, running: [], queued: [], waiting: [], draining: false };
    }
  }

  /** What runs asked before the page was opened, however long ago. */
  async #askedBefore(before) {
    const asking = [...this.status.waiting, ...this.status.running, ...this.status.queued];
    const types = QUESTION_TYPES.join(",");
    const pages = await Promise.all(
      asking.slice(0, ASKING_MAX).map((run_id) =>
        get(this.path("events"), { run_id, types, before, limit: 1_000 })),
    );
    this.questions = new Questions();
    for (const { events } of pages) for (const event of events) this.questions.add(event);
  }

  stop() {
    this.#stopped = true;
    this.#feed?.stop();
    clearTimeout(this.#statusTimer);
  }

  retry() {
    this.#feed?.retry();
  }

  #connected(state, problem) {
    const back = state === "live" && this.connection !== "live";
    this.connection = state;
    this.problem = state === "live" || state === "connecting" ? null : problem;
    if (back || state === "ended") this.#refresh();
    this.changed();
  }

  #take(events) {
    let moved = false;
    for (const event of events) {
      this.events.push(event);
      if (STATE_EVENT.test(event.type)) {
        this.questions.add(event);
        this.runEvents.push(event);
        moved = true;
      }
    }
    if (this.events.length > EVENTS_MAX) {
      this.events = this.events.slice(-EVENTS_MAX * 0.8);
      this.hasOlder = true;
    }
    if (this.runEvents.length > RUN_EVENTS_MAX) {
      this.runEvents = this.runEvents.slice(-RUN_EVENTS_MAX * 0.8);
      this.hasOlderRuns = true;
    }
    if (moved) this.#refresh();
    this.changed();
  }

  /** Ask for the facts that only the server knows: soon, and not for every single event. */
  #refresh() {
    this.#statusTimer ??= setTimeout(async () => {
      this.#statusTimer = null;
      try {
        const [info, status] = await Promise.all([get(this.path()), this.#readStatus()]);
        Object.assign(this, { info, status });
        this.changed();
      } catch {
        // the feed tells what is wrong, and asks again when it is back
      }
    }, STATUS_MS);
  }

  get headSeq() {
    return this.events.at(-1)?.seq ?? this.info?.head_seq ?? 0;
  }

  get runs() {
    return runsOf(this.runEvents);
  }

  /** The page of events before those that are here. */
  async older() {
    const before = this.events[0]?.seq;
    if (!before || this.loadingOlder) return;
    this.loadingOlder = true;
    this.changed();
    try {
      const { events } = await get(this.path("events"), { before, limit: PAGE });
      if (this.events[0]?.seq === before) this.events = [...events, ...this.events];
      this.hasOlder = events.length === PAGE;
    } catch (problem) {
      if (problem.code !== "cursor_expired") throw problem;
      this.hasOlder = false; // the log was trimmed there
    } finally {
      this.loadingOlder = false;
      this.changed();
    }
  }

  async olderRuns() {
    const before = this.runEvents[0]?.seq;
    if (!before) return;
    const types = RUN_TYPES.join(",");
    const { events } = await get(this.path("events"), { before, limit: RUNS_PAGE, types });
    if (this.runEvents[0]?.seq === before) this.runEvents = [...events, ...this.runEvents];
    this.hasOlderRuns = events.length === RUNS_PAGE;
    this.changed();
  }

  /** @param {any} input  @param {string} key the same again is the same run */
  submit(input, key = newKey()) {
    return send(this.path("runs"), { input }, { headers: { "idempotency-key": key } });
  }

  /** @param {string} key the same again is given to the run once */
  steer(runId, message, key = newKey()) {
    const headers = { "idempotency-key": key };
    return send(this.path("runs", runId, "steer"), { message }, { headers });
  }

  cancel = (runId) =>
    send(this.path("runs", runId, "cancel"), { reason: "cancelled in the console" });
  answer = (runId, name, value) => send(this.path("runs", runId, "answers", name), { value });
  approve = (requestId, toolInput) =>
    send(this.path("approvals", requestId, "approve"),
      toolInput === undefined ? {} : { tool_input: toolInput });
  deny = (requestId, reason) =>
    send(this.path("approvals", requestId, "deny"), reason ? { reason } : {});

  /** pause, resume, drain, close, reopen or unquarantine. */
  async change(what, body = undefined) {
    const told = await send(this.path(what), body);
    this.#refresh();
    return told;
  }
}
