// What stands at the axes of plots: only values that can be written in full. Pure.
import { count, duration } from "./format.js";

const decades = (from, to) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index).flatMap((power) =>
    [1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
const exact = (value) => String(Number(value.toFixed(4)));
const whole = (value) => (value < 1000 ? exact(value) : count(value));

/** @typedef {{steps: number[], text: (value: number) => string}} Ticks  steps between values */

/** @type {Ticks} */
export const COUNTS = { steps: decades(0, 9), text: whole };
/** @type {Ticks} of a second */
export const RATES = { steps: decades(-3, 9), text: (value) => `${whole(value)}/s` };
/** @type {Ticks} of milliseconds */
export const TIMES = {
  steps: [
    ...decades(-3, 3), 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_200_000, 1_800_000,
    ...decades(0, 4).map((hours) => hours * 3_600_000),
  ],
  text: (ms) => {
    if (ms === 0 || ms >= 60_000) return ms ? duration(ms) : "0";
    if (ms < 1) return `${exact(ms * 1000)} µs`;
    return ms < 1000 ? `${exact(ms)} ms` : `${exact(ms / 1000)} s`;
  },
};
