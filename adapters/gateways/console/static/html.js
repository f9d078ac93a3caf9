// What views are written with: preact's elements, as templates. Text is always a text node.
import { Component, createRef, h, render } from "./libraries/preact.mjs";
import htm from "./libraries/htm.mjs";

export const html = htm.bind(h);
export { Component, createRef, render };
