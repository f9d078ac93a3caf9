// What was said and done in a session.
import { clock, duration, json, shortId, timestamp } from "./format.js";
import { html } from "./html.js";
import { State } from "./view_sessions.js";

const LONG = 8_000;

/** Text in full, or, if it is very long, with the rest to be unfolded; while it grows, its end. */
function Text({ text, growing }) {
  if (growing && text.length > LONG) return html`<div class="text">…${text.slice(-LONG)}</div>`;
  if (text.length <= LONG) return html`<div class="text">${text}</div>`;
  return html`<div class="text">${text.slice(0, LONG)}</div>
    <details class="more"><summary>${text.length - LONG} more characters</summary>
      <div class="text">${text.slice(LONG)}</div>
    </details>`;
}

const CALL_STATES = {
  called: "called", running: "running", asks: "waits for approval", approved: "approved",
  denied: "denied", done: "done", failed: "failed", undecided: "not decided", unfinished: "not finished",
};

function outcomeOf({ state, by, how }) {
  const told = CALL_STATES[state];
  if (state === "approved" || state === "denied") return by ? `${told} by ${by}` : told;
  return how && (state === "undecided" || state === "unfinished") ? `${told}: run ${how}` : told;
}

function Call({ call }) {
  const input = json(call.input ?? {}, 0);
  const outcome = call.error ? `${call.error.message ?? json(call.error)}` : call.output;
  return html`<details class="call ${call.state}">
    <summary>
      <b>${call.name}</b> <code>${input.slice(0, 120)}</code>
      <span class="outcome">${outcomeOf(call)}</span>
    </summary>
    <h4>Input</h4>
    <pre>${json(call.input ?? {})}</pre>
    ${outcome !== undefined &&
    html`<h4>${call.error ? "Error" : "Output"}</h4>
      <pre>${typeof outcome === "string" ? outcome : json(outcome)}</pre>`}
    ${call.reason && html`<p>${call.reason}</p>`}
  </details>`;
}

function Item({ item }) {
  if (item.kind === "tool") return html`<${Call} call=${item.call} />`;
  if (item.kind === "note") return html`<p class="note ${item.tone}">${item.text}</p>`;
  if (item.kind === "user")
    return html`<article class="said user">
      <h3>${item.steered ? "On the way" : "User"}</h3>
      <${Text} text=${item.text} />
    </article>`;
  return html`<article class="said assistant ${item.streaming ? "streaming" : ""}">
    <h3>Agent</h3>
    ${item.thinking &&
    html`<details class="thinking" open=${item.streaming && !item.text}>
      <summary>Thinking</summary>
      <div class="text">${item.thinking}</div>
    </details>`}
    <${Text} text=${item.text} growing=${item.streaming} />
  </article>`;
}

const CANCELLABLE = new Set(["queued", "running", "waiting"]);

const QUEUED_MS = 1_000; // less than that is not worth a word

function Foot({ group, onCancel }) {
  const { queued, waited, ran } = group.spans.times(0);
  const times = [["queued", queued < QUEUED_MS ? null : queued], ["waited", waited], ["ran", ran]];
  return html`<footer>
    <${State} state=${group.state.replace(" ", "_")} />
    ${group.spans.over && times.map(([what, ms]) => ms !== null && html`<span>${what} ${duration(ms)}</span>`)}
    ${group.submitted &&
    html`<time title=${timestamp(group.submitted)}>${clock(group.submitted)}</time>`}
    <code title=${group.runId}>${shortId(group.runId)}</code>
    ${CANCELLABLE.has(group.state) &&
    html`<button class="small" onClick=${() => onCancel(group.runId)}>Cancel run</button>`}
  </footer>`;
}

export function Conversation({ groups, onCancel }) {
  if (!groups.length) return html`<p class="empty">Nothing was said yet.</p>`;
  return groups.map(
    (group) => html`<section key=${group.key} class="run" aria-label=${group.runId ?? "session"}
      data-run=${group.runId ?? ""} data-state=${group.state ?? ""}>
      ${group.cut && html`<p class="note quiet">Earlier events of this run are not loaded.</p>`}
      ${group.items.map((item) => html`<${Item} key=${item.key} item=${item} />`)}
      ${group.runId !== null && group.state && html`<${Foot} group=${group} onCancel=${onCancel} />`}
    </section>`,
  );
}
