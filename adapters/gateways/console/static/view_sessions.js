// The list of sessions.
import { send } from "./api.js";
import { attempt, messages } from "./dialogs.js";
import { ago, count, timestamp } from "./format.js";
import { html } from "./html.js";
import { Watching } from "./model.js";
import { sessionHash } from "./routes.js";
import { occupancy } from "./sessions.js";

const STATES = ["open", "paused", "closed", "quarantined"];

/** How a state is shown everywhere: a dot of its colour and its name. */
export const State = ({ state }) =>
  html`<span class="state ${state}"><i aria-hidden="true"></i>${state.replace("_", " ")}</span>`;

/** Slots that are used, of those there are. */
export function Slots({ used, slots }) {
  const shown = Math.min(slots, 12);
  const label = `${used} of ${slots} slots used`;
  return html`<span class="slots" role="img" aria-label=${label} title=${label}>
    ${Array.from({ length: shown }, (_, index) => {
      const full = index < Math.ceil((Math.min(used, slots) * shown) / slots);
      return html`<i class=${full ? "full" : ""}></i>`;
    })}
    <b>${used}/${slots}</b>
  </span>`;
}

export async function openNewSession() {
  const wanted = await messages.ask({
    title: "New session",
    action: "Create",
    fields: [
      { name: "id", label: "Name", placeholder: "made for you if it is left empty" },
      { name: "slots", label: "Slots", type: "number", placeholder: "1" },
    ],
  });
  if (wanted === null) return;
  const body = { ...(wanted.id && { id: wanted.id }) };
  if (wanted.slots) body.slots = Number(wanted.slots);
  const session = await attempt(() => send("v1/sessions", body));
  if (session) location.hash = sessionHash(session.id);
}

function Row({ session }) {
  const { running, queued, waiting, failed } = occupancy(session);
  return html`<tr>
    <td class="name">
      <a href=${sessionHash(session.id)} class="row" data-session=${session.id}>${session.id}</a>
      ${session.summary && html`<small>${session.summary}</small>`}
    </td>
    <td><${State} state=${session.state} /></td>
    <td><${Slots} used=${running} slots=${session.slots} /></td>
    <td class=${`number ${queued ? "" : "none"}`}>${count(queued)}</td>
    <td class=${`number ${waiting ? "wanted" : "none"}`}>${count(waiting)}</td>
    <td class=${`number ${failed ? "bad" : "none"}`}>${count(failed)}</td>
    <td class="number">${count(session.head_seq)}</td>
    <td class="number" title=${timestamp(session.modified_at_ns)}>${ago(session.modified_at_ns)}</td>
    <td class="tags">
      ${Object.entries(session.tags).map(([name, value]) => html`<span>${name}=${value}</span>`)}
    </td>
  </tr>`;
}

/** @extends Watching  `props.model`: a SessionList */
export class SessionsView extends Watching {
  appeared() {
    this.props.model.start();
  }

  left() {
    this.props.model.stop();
  }

  render({ model }) {
    const { sessions, problem } = model;
    return html`<main class="page" id="main" tabindex="-1">
      <header class="bar">
        <h1>Sessions</h1>
        <form class="filters" role="search" aria-label="Filter" onSubmit=${(event) => event.preventDefault()}>
          <input aria-label="Beginning of the name" placeholder="name begins with…" spellcheck=${false}
            value=${model.prefix} onInput=${(event) => model.filter({ prefix: event.target.value })} />
          <input aria-label="Tag" placeholder="tag=value" spellcheck=${false}
            value=${model.tag} onInput=${(event) => model.filter({ tag: event.target.value })} />
          <select aria-label="State" value=${model.state}
            onChange=${(event) => model.filter({ state: event.target.value })}>
            <option value="">any state</option>
            ${STATES.map((state) => html`<option value=${state}>${state}</option>`)}
          </select>
        </form>
        <button class="primary" onClick=${openNewSession}>New session</button>
      </header>
      ${problem && html`<p class="banner bad" role="alert">${problem.message}</p>`}
      <div class="sheet">
        <table class="list" aria-busy=${sessions === null}>
          <thead>
            <tr>
              <th>Session</th><th>State</th><th>Slots</th><th class="number">Queued</th>
              <th class="number">Waiting</th><th class="number">Failed</th>
              <th class="number">Events</th><th class="number">Changed</th><th>Tags</th>
            </tr>
          </thead>
          <tbody>
            ${(sessions ?? []).map((session) => html`<${Row} key=${session.id} session=${session} />`)}
          </tbody>
        </table>
        ${sessions?.length === 0 && html`<p class="empty">No session matches.</p>`}
      </div>
      <nav class="pages" aria-label="Pages">
        <button disabled=${model.page === 1} onClick=${() => model.turn(false)}>Newer</button>
        <span>page ${model.page}</span>
        <button disabled=${!model.next} onClick=${() => model.turn(true)}>Older</button>
      </nav>
    </main>`;
  }
}
