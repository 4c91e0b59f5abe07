// The gaps between feeds of one watchdog, drawn by uPlot (vendored; loaded when the first chart is wanted).

import { fill, h } from "./dom.js";
import { duration, precise } from "./format.js";

const POINTS_MAX = 600;
const HEIGHT = 160;
const NEAR = 20; // the timeout is drawn where the longest gap is at least a twentieth of it

let library = null;

/** A chart in `place`, which is emptied. Takes feeds as `look` gives them. */
export class GapChart {
  constructor(place, timeout) {
    this.place = place;
    this.timeout = timeout;
    this.points = []; // [time, gap]: seconds on this page's clock, seconds
    this.chart = null;
    this.closed = false;
    this.words = h("p", { class: "soft" });
    this.box = h("div", { class: "chart", role: "img", "aria-label": "no gaps yet" });
    fill(place, this.box, this.words);
    this.watcher = new ResizeObserver(() => this.chart?.setSize({ width: this.width(), height: HEIGHT }));
    this.watcher.observe(place);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => this.remake();
    this.dark.addEventListener("change", this.recolour);
  }

  /** Feeds [[age, gap]], the newest last, as of the page time `now`; `silence`: seconds since the last one. */
  async add(feeds, now, silence) {
    this.merge(feeds, now);
    this.now = now;
    this.silence = silence;
    this.describe();
    if (!this.points.length) return;
    library ??= import("../vendor/uplot/uPlot.esm.js");
    const { default: Plot } = await library;
    if (this.closed) return;
    this.Plot = Plot;
    if (this.chart === null) this.remake();
    else this.chart.setData(this.data());
  }

  close() {
    this.closed = true;
    this.watcher.disconnect();
    this.dark.removeEventListener("change", this.recolour);
    this.chart?.destroy();
  }

  // The same feed is sent many times, each time with another age; its gap stays the same. So the last gap that is
  // known marks where the new ones begin, and their times follow from their gaps.
  merge(feeds, now) {
    const last = this.points.at(-1);
    let fresh = 0;
    if (last !== undefined) {
      const at = feeds.findLastIndex(([, gap]) => gap === last[2]);
      fresh = at + 1;
    }
    for (const [age, gap] of feeds.slice(fresh)) {
      const before = this.points.at(-1);
      const time = fresh > 0 && before && typeof gap === "number" ? before[0] + gap : now - age;
      if (before && time <= before[0]) continue;
      this.points.push([time, typeof gap === "number" ? gap : null, gap]);
    }
    if (this.points.length > POINTS_MAX) this.points.splice(0, this.points.length - POINTS_MAX);
  }

  describe() {
    const gaps = this.points.map(([, gap]) => gap).filter((gap) => gap !== null);
    if (!gaps.length) {
      this.words.textContent = "No gaps between feeds yet.";
      this.box.hidden = true;
      return;
    }
    this.box.hidden = false;
    const ordered = [...gaps].sort((a, b) => a - b);
    const text = `Last ${gaps.length} gaps: median ${precise(ordered[ordered.length >> 1])}, longest ${precise(ordered.at(-1))}. Timeout ${duration(this.timeout)}, silent for ${duration(this.silence)} now.`;
    this.words.textContent = text;
    this.box.setAttribute("aria-label", `Chart of the gaps between feeds. ${text}`);
  }

  data() {
    const times = this.points.map(([time]) => time - this.now);
    const gaps = this.points.map(([, gap]) => gap);
    const none = times.map(() => null);
    // A long silence is drawn at the top edge, so that the gaps keep their scale.
    return [[...times, 0], [...gaps, null], [...none, Math.min(this.silence, this.top(Math.max(...gaps)) * 0.97)]];
  }

  width() {
    return Math.max(200, this.place.clientWidth);
  }

  remake() {
    if (this.closed || !this.Plot) return;
    this.chart?.destroy();
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [line, grid, text, bad] = ["--accent", "--line", "--soft", "--expired"].map(colour);
    const axis = { stroke: text, font: "11px system-ui, sans-serif", grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const options = {
      width: this.width(),
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { time: false, range: (plot, least) => [Math.min(least ?? -1, -1), 0] },
        y: { range: () => [0, this.top(Math.max(...this.points.map(([, gap]) => gap)))] },
      },
      axes: [
        { ...axis, size: 26, space: 60, values: (plot, all) => all.map((value) => (value === 0 ? "now" : duration(value))) },
        { ...axis, size: 54, space: 28, values: (plot, all) => all.map((value) => (value === 0 ? "0" : precise(value))) },
      ],
      series: [
        {},
        { stroke: line, width: 1.4, fill: `${line}22`, points: { show: true, size: 4, fill: line } },
        { stroke: text, points: { show: true, size: 8, fill: "transparent", width: 2 } },
      ],
      hooks: { draw: [(plot) => this.drawTimeout(plot, bad)] },
    };
    this.chart = new this.Plot(options, this.data(), this.box);
  }

  top(most) {
    const high = Math.max(most ?? 0, 1e-3) * 1.3;
    return this.timeout <= high * NEAR ? Math.max(high, this.timeout * 1.25) : high;
  }

  drawTimeout(plot, colour) {
    const y = plot.valToPos(this.timeout, "y", true);
    if (y < plot.bbox.top) return;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    ctx.fillText("timeout", bbox.left + 4 * devicePixelRatio, y + 3 * devicePixelRatio);
    ctx.restore();
  }
}
