// One plot over time, drawn by uPlot in the colours of the theme.
import { Component, createRef, html } from "./html.js";
import { CLOCK } from "./format.js";
import uPlot from "./libraries/uplot.mjs";

const HEIGHT_PX = 180;
const DOTS = 30; // a line of fewer values has a dot at each; one alone would not be seen
const isNumber = (value) => typeof value === "number";
const clock = (seconds) => CLOCK.format(new Date(seconds * 1000));

/** The colour that a variable of the style sheet has at this moment, as the canvas needs it. */
function colour(element, name) {
  element.style.color = `var(${name})`;
  const found = getComputedStyle(element).color;
  element.style.color = "";
  return found;
}

/**
 * `props`: title, unit (a function from a value to text), ticks (of ticks.js), least (what the axis shows at any rate),
 * series `[{label, colour, dash}]`, data
 * `[times in seconds, values, ...]` with null where there is none, range (the first and the last time
 * that is shown), theme, which redraws it, told (what is said of each series; the last values of all
 * if it is left out), and covers (what time that is about).
 */
export class Plot extends Component {
  place = createRef();
  #plot = null;

  componentDidMount() {
    this.#draw();
    this.#sizes = new ResizeObserver(() => this.#resize());
    this.#sizes.observe(this.place.current);
  }
  #sizes = null;

  componentDidUpdate(before) {
    if (before.theme !== this.props.theme) this.#draw();
    else this.#plot.setData(this.props.data);
  }

  componentWillUnmount() {
    this.#sizes.disconnect();
    this.#plot.destroy();
  }

  #resize() {
    const width = this.place.current.clientWidth;
    if (width && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT_PX });
  }

  #draw() {
    this.#plot?.destroy();
    const element = this.place.current;
    const { series, ticks, data, least } = this.props;
    const text = colour(element, "--quiet");
    const grid = { stroke: colour(element, "--line"), width: 1 };
    const axis = { stroke: text, grid, ticks: { ...grid, size: 4 }, font: "11px system-ui" };
    this.#plot = new uPlot(
      {
        width: element.clientWidth || 400,
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { y: false, points: { size: 6 } },
        scales: {
          x: { range: () => this.props.range },
          y: { range: (_plot, _least, most) => [0, Math.max(most * 1.1, least)] },
        },
        axes: [
          { ...axis, space: 80, size: 30, values: (_plot, ticks) => ticks.map(clock) },
          { ...axis, size: 58, incrs: ticks.steps, values: (_plot, values) => values.map(ticks.text) },
        ],
        series: [
          {},
          ...series.map(({ label, colour: name, dash }) => ({
            label, dash, stroke: colour(element, name), width: 1.6, spanGaps: true,
            points: { size: 4, show: (plot, index) => plot.data[index].filter(isNumber).length < DOTS },
          })),
        ],
      },
      data,
      element,
    );
  }

  render({ title, unit, series, data, told: values, covers = "latest" }) {
    const last = (index) => data[index + 1].findLast((value) => value !== null && value !== undefined);
    const told = series.map(({ label }, index) => {
      const value = values ? values[index] : last(index);
      return { label, value: value === undefined || value === null ? "–" : unit(value) };
    });
    const label = `${title}: ${told.map((one) => `${one.label} ${one.value}`).join(", ")}`;
    return html`<figure class="plot">
      <figcaption>
        <h2>${title} <small>${covers}</small></h2>
        ${told.map((one, index) => html`<span class=${series[index].colour.slice(2)}>
          ${one.label} <b>${one.value}</b></span>`)}
      </figcaption>
      <div ref=${this.place} role="img" aria-label=${label}></div>
    </figure>`;
  }
}
