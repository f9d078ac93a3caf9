// The log as it is: the last events, each to be unfolded.
import { clock, json, shortId, timestamp } from "./format.js";
import { Component, html } from "./html.js";

const SHOWN = 200;
const DATA_CHARACTERS = 160;

class Row extends Component {
  state = { open: false };

  // events never change: without this each new one would draw all of them again
  shouldComponentUpdate(props, state) {
    return props.event !== this.props.event || state.open !== this.state.open;
  }

  render({ event }, { open }) {
    return html`<details class="event" onToggle=${(told) => this.setState({ open: told.target.open })}>
      <summary>
        <span class="seq">${event.seq}</span>
        <time title=${timestamp(event.time_ns)}>${clock(event.time_ns)}</time>
        <b class=${kind(event.type)}>${event.type}</b>
        <code class="run">${event.run_id === null ? "" : shortId(event.run_id)}</code>
        <code class="data">${json(event.data, 0).slice(0, DATA_CHARACTERS)}</code>
      </summary>
      ${open && html`<pre>${json(event)}</pre>`}
    </details>`;
  }
}

function kind(type) {
  if (/^(run_failed|run_timed_out|run_interrupted|.*error.*|tool_call_failed)/.test(type)) return "bad";
  if (type.startsWith("run_") || type.startsWith("session_")) return "states";
  return type.startsWith("tool_") ? "tools" : "";
}

/** `events` are all that are loaded; the last ones of those that match are shown. */
export class Events extends Component {
  state = { type: "", shown: SHOWN };

  render({ events }, { type, shown }) {
    const wanted = type.trim();
    const matching = wanted ? events.filter((event) => event.type.includes(wanted)) : events;
    const last = matching.slice(-shown);
    return html`<div class="events">
      <div class="toolbar">
        <input aria-label="Part of the type" placeholder="type has…" spellcheck=${false}
          value=${type} onInput=${(event) => this.setState({ type: event.target.value, shown: SHOWN })} />
        <span>${last.length} of ${events.length} loaded</span>
        ${matching.length > shown &&
        html`<button class="small" onClick=${() => this.setState({ shown: shown + SHOWN })}>
          Show ${Math.min(SHOWN, matching.length - shown)} more</button>`}
      </div>
      ${last.map((event) => html`<${Row} key=${event.seq} event=${event} />`)}
    </div>`;
  }
}
