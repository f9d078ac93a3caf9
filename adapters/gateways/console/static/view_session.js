// One session: its facts and what may be done with it, around the view that is chosen.
import { access } from "./api.js";
import { conversation } from "./conversation.js";
import { attempt, messages } from "./dialogs.js";
import { count } from "./format.js";
import { createRef, html } from "./html.js";
import { Watching } from "./model.js";
import { sessionHash, TABS } from "./routes.js";
import { ENDED } from "./runs.js";
import { Composer } from "./view_composer.js";
import { Conversation } from "./view_conversation.js";
import { Events } from "./view_events.js";
import { Questions } from "./view_questions.js";
import { Runs } from "./view_runs.js";
import { Slots, State } from "./view_sessions.js";

const NEAR_END_PX = 80;
const CONNECTION = {
  loading: "loading", connecting: "connecting", live: "live", waiting: "reconnecting",
  ended: "closed", gone: "gone",
};

/** What the page has of the session at this moment. */
function Connection({ session }) {
  const { connection, problem } = session;
  const title = problem?.message ?? "";
  return html`<span class="connection ${connection}" role="status" title=${title} data-connection=${connection}>
    <i aria-hidden="true"></i>${CONNECTION[connection]}
    ${connection === "waiting" && html`<button class="small" onClick=${() => session.retry()}>Now</button>`}
  </span>`;
}

const CONFIRMED = {
  drain: {
    title: "Drain this session?", action: "Drain", keep: "Keep it open", danger: true,
    text: "Nothing more is admitted. What runs gets 10 seconds, then it is interrupted. Resume admits again.",
  },
  close: {
    title: "Close this session?", action: "Close", keep: "Keep it open", danger: true,
    text: "Runs that have not ended are cancelled. It can be opened again.",
  },
};
const OPERATORS = new Set(["drain", "unquarantine"]);
const BODIES = { drain: { timeout_seconds: 10 }, close: { force: true } };
const DONE = { drain: "Drained", close: "Closed", pause: "Paused", resume: "Resumed", reopen: "Opened again" };

function Actions({ session }) {
  const state = session.status?.state;
  const act = async (what) => {
    if (what in CONFIRMED && !(await messages.ask(CONFIRMED[what]))) return;
    attempt(() => session.change(what, BODIES[what]), DONE[what] ?? "Done");
  };
  const button = (what, label) => {
    const denied = OPERATORS.has(what) && !access.allows("admin");
    return html`<button disabled=${denied} title=${denied ? "This needs a token with the scope admin" : undefined}
      onClick=${() => act(what)}>${label}</button>`;
  };
  return html`<div class="actions" role="group" aria-label="Session">
    ${state === "open" && !session.status.draining && button("pause", "Pause")}
    ${(state === "paused" || session.status?.draining) && button("resume", "Resume")}
    ${state === "quarantined" && button("unquarantine", "Try again")}
    ${(state === "open" || state === "paused") && [button("drain", "Drain…"), button("close", "Close…")]}
    ${state === "closed" && button("reopen", "Reopen")}
  </div>`;
}

function Facts({ session }) {
  const { status, info } = session;
  if (!status) return null;
  const facts = [
    ["Slots", html`<${Slots} used=${status.running.length} slots=${status.slots} />`],
    ["Queued", count(status.queued.length)],
    ["Waiting", count(status.waiting.length)],
    ["Events", html`<span id="head-seq">${count(session.headSeq)}</span>`],
  ];
  return html`<dl class="facts">
    <div><dt>State</dt><dd><${State} state=${status.draining ? "draining" : status.state} /></dd></div>
    ${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    ${Object.entries(info.tags).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

async function cancelRun(session, runId) {
  const wanted = await messages.ask({
    title: "Cancel this run?", text: runId, action: "Cancel run", keep: "Keep it running", danger: true,
  });
  if (wanted) attempt(() => session.cancel(runId));
}

/** Cancel the run that was submitted last among those that have not ended. */
export function cancelNewest(session) {
  const newest = session.runs.find((run) => !ENDED.has(run.state));
  return newest ? cancelRun(session, newest.id) : messages.tell("No run is left to be cancelled.");
}

/** @extends Watching  `props.model`: a SessionModel; `props.tab` */
export class SessionView extends Watching {
  content = createRef();
  #atEnd = true;
  #heightBefore = null;

  appeared() {
    this.props.model.start();
  }

  left() {
    this.props.model.stop();
  }

  componentDidUpdate(before) {
    const element = this.content.current;
    if (!element) return;
    if (before.tab !== this.props.tab) {
      this.#atEnd = this.props.tab !== "runs";
      if (!this.#atEnd) element.scrollTop = 0;
    }
    if (this.#heightBefore !== null && !this.props.model.loadingOlder) {
      // what was at the top stays where it is when older things come above it
      element.scrollTop += element.scrollHeight - this.#heightBefore;
      this.#heightBefore = null;
    } else if (this.#atEnd) element.scrollTop = element.scrollHeight;
  }

  scrolled = () => {
    const element = this.content.current;
    this.#atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PX;
  };

  older = () => {
    this.#heightBefore = this.content.current.scrollHeight;
    attempt(() => this.props.model.older());
  };

  cancel = (runId) => cancelRun(this.props.model, runId);

  #content({ model, tab }) {
    if (model.connection === "gone")
      return html`<p class="empty">There is no session ${model.id} here, or not any more.</p>`;
    if (model.info === null)
      return html`<p class="empty">${model.problem ? model.problem.message : "Loading…"}</p>`;
    if (tab === "runs")
      return html`<${Runs} runs=${model.runs} hasOlder=${model.hasOlderRuns} onCancel=${this.cancel}
        onOlder=${() => attempt(() => model.olderRuns())} />`;
    return html`${model.hasOlder &&
      html`<p class="older"><button disabled=${model.loadingOlder} onClick=${this.older}>
        ${model.loadingOlder ? "Loading…" : "Load older events"}</button></p>`}
      ${tab === "events"
        ? html`<${Events} events=${model.events} />`
        : html`<${Conversation} groups=${conversation(model.events)} onCancel=${this.cancel} />`}`;
  }

  render({ model, tab }) {
    const state = model.status?.state;
    const disabled = state === "closed" ? "This session is closed." : undefined;
    return html`<main class="page session" id="main" tabindex="-1">
      <header class="bar">
        <h1><a href="#/sessions" aria-label="All sessions">‹</a> ${model.id}</h1>
        <${Connection} session=${model} />
        <${Actions} session=${model} />
      </header>
      <${Facts} session=${model} />
      <nav class="tabs" aria-label="Views">
        ${TABS.map((name, index) => html`<a href=${sessionHash(model.id, name)}
          aria-current=${name === tab ? "page" : undefined} title=${`${index + 1}`}>${name}</a>`)}
      </nav>
      <div class="content ${tab}" ref=${this.content} onScroll=${this.scrolled} tabindex="0"
        role=${tab === "conversation" ? "log" : "region"} aria-label=${tab}>${this.#content({ model, tab })}</div>
      <${Questions} session=${model} />
      ${model.info !== null && html`<${Composer} session=${model} disabled=${disabled}
        running=${model.status?.running.at(-1)} onSent=${() => (this.#atEnd = true)} />`}
    </main>`;
  }
}
