// A session's runs, and how long each stood in the queue, waited for an answer and ran.
import { clock, duration, timestamp } from "./format.js";
import { Component, html } from "./html.js";
import { ENDED } from "./runs.js";
import { State } from "./view_sessions.js";

const TICK_MS = 1_000;

/** A bar: what of the longest time on this page was queueing, what waiting, and what running. */
function Bar({ queued, waited, ran, most }) {
  const width = (part) => ({ width: `${((100 * (part ?? 0)) / most).toFixed(2)}%` });
  return html`<div class="timing" aria-hidden="true">
    ${[["queued", queued], ["waited", waited], ["ran", ran]].map(
      ([name, part]) => html`<i class=${name} title=${name} style=${width(part)}></i>`,
    )}
  </div>`;
}

export class Runs extends Component {
  componentDidMount() {
    this.ticking = setInterval(() => {
      if (this.props.runs.some((run) => !ENDED.has(run.state))) this.forceUpdate();
    }, TICK_MS);
  }

  componentWillUnmount() {
    clearInterval(this.ticking);
  }

  render({ runs, hasOlder, onOlder, onCancel }) {
    if (!runs.length) return html`<p class="empty">No run yet.</p>`;
    const now = Date.now();
    const timed = runs.map((run) => ({ run, ...run.spans.times(now) }));
    const most = Math.max(1, ...timed.map(({ queued, waited, ran }) => queued + waited + ran));
    return html`<table class="list runs">
        <thead>
          <tr>
            <th>Run</th><th>State</th><th class="number">Submitted</th><th class="number">Queued for</th>
            <th class="number">Waited for</th><th class="number">Ran for</th><th class="wide">Time</th><th></th>
          </tr>
        </thead>
        <tbody>
          ${timed.map(
            ({ run, queued, waited, ran }) => html`<tr key=${run.id} data-run=${run.id}>
              <td class="name">
                <span title=${run.id}>${run.input.slice(0, 80) || run.id}</span>
                ${run.error && html`<small class="bad">${run.error.code}: ${run.error.message}</small>`}
                ${run.attempt > 1 && html`<small>attempt ${run.attempt}</small>`}
              </td>
              <td><${State} state=${run.state} /></td>
              <td class="number">${run.submitted !== null &&
                html`<time title=${timestamp(run.submitted)}>${clock(run.submitted)}</time>`}</td>
              <td class="number">${duration(queued)}</td>
              <td class="number wanted">${waited !== null && duration(waited)}</td>
              <td class="number">${duration(ran)}</td>
              <td class="wide"><${Bar} queued=${queued} waited=${waited} ran=${ran} most=${most} /></td>
              <td>${!ENDED.has(run.state) &&
                html`<button class="small" onClick=${() => onCancel(run.id)}>Cancel</button>`}</td>
            </tr>`,
          )}
        </tbody>
      </table>
      ${hasOlder && html`<p class="older"><button onClick=${onOlder}>Older runs</button></p>`}`;
  }
}
