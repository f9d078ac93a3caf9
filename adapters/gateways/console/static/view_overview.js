// Throughput and latency over all sessions that the page may see.
import { buckets, halves } from "./activity.js";
import { count, duration } from "./format.js";
import { html } from "./html.js";
import { Watching } from "./model.js";
import { Plot } from "./plot.js";
import { COUNTS, RATES, TIMES } from "./ticks.js";

const SPAN_MS = 10 * 60_000;
const rate = (value) => (value < 10 ? String(Math.round(value * 10) / 10) : count(Math.round(value)));

function Tile({ name, value, of }) {
  return html`<div class="tile"><dt>${name}</dt>
    <dd>${value}${of !== undefined && html`<small> / ${of}</small>`}</dd></div>`;
}

function Tiles({ activity }) {
  const { counts, samples, statistics } = activity;
  const last = samples.at(-1);
  const more = counts.more ? "+" : "";
  const permits = statistics?.runs;
  return html`<dl class="tiles">
    <${Tile} name="Sessions" value=${count(counts.sessions) + more} />
    <${Tile} name="Running" value=${count(counts.running)} of=${count(counts.slots)} />
    <${Tile} name="Queued" value=${count(counts.queued)} />
    <${Tile} name="Waiting" value=${count(counts.waiting)} />
    <${Tile} name="Runs a second" value=${last ? rate(last.runs) : "–"} />
    <${Tile} name="Events a second" value=${last ? rate(last.events) : "–"} />
    ${permits && html`<${Tile} name="On this server" value=${count(permits.in_use)} of=${count(permits.limit)} />`}
    ${statistics && html`<${Tile} name="Streams" value=${count(statistics.streams)} />`}
    ${statistics?.draining && html`<${Tile} name="Server" value="draining" />`}
  </dl>`;
}

/** @extends Watching  `props.model`: the Activity; `props.theme` */
export class OverviewView extends Watching {
  appeared() {
    this.props.model.detail(true);
  }

  left() {
    this.props.model.detail(false);
  }

  render({ model, theme }) {
    const now = Date.now();
    const from = Math.min(now - 60_000, Math.max(now - SPAN_MS, this.#first(model, now)));
    const shown = { theme, range: [from / 1000, now / 1000] };
    const latency = buckets([...model.runs.values()], from, now);
    const times = latency.map((one) => one.time / 1000);
    const of = (name) => latency.map((one) => one[name]);
    const seen = model.samples;
    const sampled = (name) => [seen.map((one) => one.time / 1000), seen.map((one) => one[name])];
    const runs = [...model.runs.values()].filter((run) => run.ended >= from);
    const spread = (name, colour) => ({
      data: [times, of(`${name}50`), of(`${name}99`)],
      told: halves(runs, name),
      covers: `the last ${Math.round((now - from) / 60_000)} min`,
      series: [{ label: "p50", colour }, { label: "p99", colour: "--quiet", dash: [4, 3] }],
      unit: duration,
      ticks: TIMES,
      ...shown,
    });
    return html`<main class="page overview" id="main" tabindex="-1">
      <header class="bar"><h1>Overview</h1></header>
      ${model.problem && html`<p class="banner bad" role="alert">${model.problem.message}</p>`}
      <${Tiles} activity=${model} />
      <div class="plots">
        <${Plot} title="Runs ended" ticks=${RATES} least=${1} unit=${(value) => `${rate(value)}/s`} ...${shown}
          series=${[{ label: "runs", colour: "--accent" }]}
          data=${!model.runsProblem ? [times, of("rate")] : sampled("runs")} />
        <${Plot} title="Events" ticks=${RATES} least=${1} unit=${(value) => `${rate(value)}/s`} ...${shown}
          series=${[{ label: "events", colour: "--accent" }]} data=${sampled("events")} />
        <${Plot} title="Work" ticks=${COUNTS} least=${1} unit=${(value) => rate(value)} ...${shown}
          series=${[{ label: "running", colour: "--good" }, { label: "queued", colour: "--wanted" }]}
          data=${[...sampled("running"), seen.map((one) => one.queued)]} />
        <${Plot} title="Time in the queue" least=${1} ...${spread("queued", "--wanted")} />
        <${Plot} title="Time waiting for an answer" least=${10} ...${spread("waited", "--accent")} />
        <${Plot} title="Time running" least=${10} ...${spread("ran", "--good")} />
      </div>
      ${model.runsProblem && html`<p class="empty">No times of runs: ${model.runsProblem.message}</p>`}
    </main>`;
  }

  /** When the first thing that is shown happened, a little before. */
  #first(model, now) {
    let first = now;
    for (const run of model.runs.values()) first = Math.min(first, run.ended);
    return first - 5_000;
  }
}
