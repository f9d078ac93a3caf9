// What a search found.
import { ago, clock, json, shortId } from "./format.js";
import { html } from "./html.js";
import { Watching } from "./model.js";
import { sessionHash } from "./routes.js";
import { KINDS } from "./search.js";
import { State } from "./view_sessions.js";

function Found({ name, found, row, onMore }) {
  const { items, cursor, busy, problem } = found;
  if (!items.length && cursor === null && !busy && !problem) return null;
  return html`<section class="sheet found" aria-label=${name} aria-busy=${busy}>
    <h2>${name}</h2>
    <ul>${items.map((item) => html`<li>${row(item)}</li>`)}</ul>
    ${problem && html`<p class="bad" role="alert">${problem.message}</p>`}
    ${busy
      ? html`<p>Searching…</p>`
      : cursor !== null && html`<p><button class="small" onClick=${onMore}>Search on</button></p>`}
  </section>`;
}

const session = (one) => html`<a class="row" href=${sessionHash(one.id)}>${one.id}</a>
  <${State} state=${one.state} /><span>${one.summary}</span><time>${ago(one.modified_at_ns)}</time>`;
const run = (one) => html`<a class="row" href=${sessionHash(one.session_id, "runs")}>${one.session_id}</a>
  <${State} state=${one.state} /><code>${shortId(one.run_id)}</code><span>${one.error_message}</span>
  <time>${clock(one.submitted_at_ns)}</time>`;
const event = (one) => html`<a class="row" href=${sessionHash(one.session_id, "events")}>${one.session_id}</a>
  <code>${one.seq}</code><b>${one.type}</b><code>${json(one.data, 0).slice(0, 160)}</code>
  <time>${clock(one.time_ns)}</time>`;

const ROWS = { sessions: session, runs: run, events: event };

/** @extends Watching  `props.model`: a Search */
export class SearchView extends Watching {
  appeared() {
    this.props.model.start();
  }

  left() {
    this.props.model.stop();
  }

  render({ model }) {
    const { found } = model;
    const nothing = KINDS.every((kind) => {
      const { items, cursor, busy, problem } = found[kind];
      return !items.length && cursor === null && !busy && !problem;
    });
    return html`<main class="page search" id="main" tabindex="-1">
      <header class="bar"><h1>“${model.text}”</h1></header>
      ${KINDS.map((kind) => html`<${Found} key=${kind} name=${kind} found=${found[kind]} row=${ROWS[kind]}
        onMore=${() => model.more(kind)} />`)}
      ${nothing && html`<p class="empty">Nothing was found.</p>`}
    </main>`;
  }
}
