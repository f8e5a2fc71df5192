// Tokens and cost over time, on the time axis of the timeline. Each pixel shows the exact sum at its time: calls within
// one pixel are one step.

const MOST_SERIES = 6;
const TALL = { tokens: 120, cost: 80 };

/** An element of SVG; as in `element`, text is never markup. */
function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS(byId("tokens").firstChild.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

/** The calls of a run, and their sums at any time. */
class Calls {
  constructor({ models, at, model, tokens, usd }) {
    this.at = at;
    this.count = at.length;
    this.usd = usd;
    this.unpriced = models.filter(([, , priced]) => !priced).map(modelName);
    this.isPriced = models.some(([, , priced]) => priced);
    this.firstUnpriced = model.findIndex((place) => !models[place][2]);
    const used = models.map(() => 0);
    for (let call = 0; call < this.count; call++) used[model[call]] += tokens[call] ?? 0;
    const ranked = models.map((_, place) => place).sort((one, other) => used[other] - used[one]);
    const own = ranked.slice(0, ranked.length > MOST_SERIES ? MOST_SERIES - 1 : MOST_SERIES);
    this.names = own.map((place) => modelName(models[place]));
    if (ranked.length > own.length) this.names.push(`${count(ranked.length - own.length)} other models`);
    this.sums = this.sumUp(model.map((place) => (own.includes(place) ? own.indexOf(place) : own.length)), tokens);
  }

  /** The tokens of each series after each call; `unmetered` counts the calls without usage. */
  sumUp(series, tokens) {
    const sums = this.names.map(() => new Float64Array(this.count));
    this.unmetered = tokens.filter((used) => used === null).length;
    sums.forEach((sum, place) => {
      let total = 0;
      for (let call = 0; call < this.count; call++) sum[call] = total += series[call] === place ? tokens[call] ?? 0 : 0;
    });
    return sums;
  }

  /** The last call at or before a time; -1 for none. */
  before(ms) {
    let low = -1;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.at[middle] <= ms) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  tokens(call) {
    return call < 0 ? 0 : this.sums.reduce((sum, of) => sum + of[call], 0);
  }

  cost(call) {
    return call < 0 ? 0 : this.usd[call];
  }

  /** True if a call up to this one has no price. */
  isUnknown(call) {
    return this.firstUnpriced >= 0 && this.firstUnpriced <= call;
  }

  costText(call) {
    if (!this.isUnknown(call)) return money(this.cost(call));
    return this.cost(call) ? `unknown, at least ${money(this.cost(call))}` : "unknown";
  }
}

const modelName = ([provider, model]) => visible(`${provider || "(no provider)"} / ${model || "(no model)"}`);

class Curves {
  constructor(content, timeline) {
    this.calls = new Calls(content.usage);
    this.timeline = timeline;
    this.box = byId("curves");
    this.moment = null;
    byId("usage").hidden = this.calls.count === 0;
    if (!this.calls.count) return;
    this.summarize(content.costs);
    this.table(content.run);
    this.listen();
    timeline.looked = () => this.draw();
  }

  /** Describe the curves in words. */
  summarize(costs) {
    const { calls } = this;
    const last = calls.count - 1;
    const all = calls.tokens(last);
    let half = 0;
    while (calls.tokens(half) * 2 < all) half++;
    const facts = [`${counted(all, "token")} in ${counted(calls.count, "call")}${all ? `, half of them by ${offset(calls.at[half], 100)}` : ""}.`];
    if (calls.unmetered) facts.push(`${counted(calls.unmetered, "call")} without usage ${calls.unmetered === 1 ? "is" : "are"} not counted.`);
    const without = `no price for ${calls.unpriced.slice(0, 3).join(", ")}${calls.unpriced.length > 3 ? " and others" : ""}`;
    if (calls.firstUnpriced < 0) facts.push(`Cost ${costs.cost}.`);
    else if (calls.isPriced) facts.push(`The cost is unknown from ${offset(calls.at[calls.firstUnpriced], 100)} (${without}); the dashed line is the known part.`);
    else facts.push(`The cost is unknown: ${without}.`);
    byId("usage-summary").textContent = facts.join(" ");
    byId("spent").hidden = !calls.isPriced;
    byId("series").replaceChildren(...calls.names.map((name, place) => element("li", {}, element("span", { class: `series series-${place + 1}`, "aria-hidden": "true" }, place + 1), `${name}: ${counted(calls.sums[place][last], "token")}`)));
  }

  /** The same in numbers, at eleven times. */
  table(run) {
    const { calls, timeline } = this;
    const head = ["time", ...calls.names, "all tokens", "cost"];
    const last = Math.max(run.now, calls.at[calls.count - 1]);
    const rows = Array.from({ length: 11 }, (_, tenth) => {
      const at = timeline.first + ((last - timeline.first) * tenth) / 10;
      const call = calls.before(at);
      return [offset(at, 10), ...calls.sums.map((sum) => count(call < 0 ? 0 : sum[call])), count(calls.tokens(call)), calls.costText(call)];
    });
    const cells = (tag, row) => element("tr", {}, ...row.map((cell, place) => element(tag, { class: place ? "number" : "", scope: tag === "th" ? "col" : null }, cell)));
    byId("usage-table").replaceChildren(element("thead", {}, cells("th", head)), element("tbody", {}, ...rows.map((row) => cells("td", row))));
  }

  /** The pixels at which the last call changes, with that call. */
  steps(width) {
    const { from, to } = this.timeline;
    const found = [];
    for (let x = 0; x <= width; x++) {
      const call = this.calls.before(from + ((to - from) * x) / width);
      if (!found.length || found[found.length - 1][1] !== call) found.push([x, call]);
    }
    return found;
  }

  draw() {
    const width = byId("axis").clientWidth;
    if (!width) return;
    this.shown = this.steps(width);
    this.drawTokens(width);
    if (this.calls.isPriced) this.drawCost(width);
    this.point(this.moment);
  }

  drawTokens(width) {
    const { calls, shown } = this;
    const last = shown[shown.length - 1][1];
    const { height, place, top } = this.scaled("tokens", calls.tokens(last), 1, width, count);
    let below = shown.map(([x]) => [x, height]);
    const bands = [];
    let under = 0;
    calls.sums.forEach((_, series) => {
      const sum = (call) => (call < 0 ? 0 : calls.sums.slice(0, series + 1).reduce((sum, of) => sum + of[call], 0));
      const above = shown.map(([x, call]) => [x, place(sum(call))]);
      bands.push(drawing("path", { class: `band series-${series + 1}`, d: bandPath(above, below, width) }));
      const thick = (sum(last) - under) * (height / top);
      if (thick >= 13) bands.push(drawing("text", { class: "mark", x: width - 6, y: place((sum(last) + under) / 2) + 4, "text-anchor": "end" }, series + 1));
      under = sum(last);
      below = above;
    });
    byId("tokens").firstChild.append(...bands);
  }

  drawCost(width) {
    const { calls, shown } = this;
    const { place } = this.scaled("cost", calls.cost(shown[shown.length - 1][1]), 1e-6, width, (usd) => money(usd, true));
    const points = shown.map(([x, call]) => [x, place(calls.cost(call))]);
    const split = shown.findIndex(([, call]) => calls.isUnknown(call));
    const known = split < 0 ? points : points.slice(0, split);
    const svg = byId("cost").firstChild;
    if (known.length) svg.append(drawing("path", { class: "curve-line", d: stepPath(known, split < 0 ? width : points[split][0]) }));
    const least = split < 0 ? [] : [[points[split][0], points[Math.max(0, split - 1)][1]], ...points.slice(split)];
    if (least.length) svg.append(drawing("path", { class: "curve-line at-least", d: stepPath(least, width) }));
  }

  /** An empty plot with a scale from zero to a round number above the highest value. */
  scaled(id, most, least, width, text) {
    const height = TALL[id];
    const step = roundStep(most / 3, least);
    const top = Math.max(step, Math.ceil(most / step - 1e-9) * step);
    const place = (value) => height - (value / top) * height;
    const levels = Array.from({ length: Math.round(top / step) + 1 }, (_, level) => level * step);
    const lines = levels.map((value) => drawing("line", { class: "level", x1: 0, x2: width, y1: place(value), y2: place(value) }));
    const times = this.timeline.ticks().ticks.map((at) => (this.timeline.place(at) / 100) * width);
    const upright = times.map((x) => drawing("line", { class: "level", x1: x, x2: x, y1: 0, y2: height }));
    const svg = byId(id).firstChild;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    svg.replaceChildren(...upright, ...lines);
    const scale = byId(id).parentElement.querySelector(".scale");
    scale.style.height = `${height}px`;
    scale.replaceChildren(...levels.map((value) => atTop(element("span", {}, text(value)), place(value))));
    return { height, place, top };
  }

  /** Mark a time and describe its sums; null removes the mark. */
  point(moment) {
    const { from, to } = this.timeline;
    this.moment = moment === null ? null : Math.min(to, Math.max(from, moment));
    for (const cursor of this.box.querySelectorAll(".cursor")) {
      cursor.hidden = moment === null;
      if (moment !== null) placed(cursor, this.timeline.place(this.moment));
    }
    const set = { valuemin: from / 1000, valuemax: to / 1000, valuenow: (this.moment ?? to) / 1000, valuetext: this.text(this.moment ?? to).replace(/\n/g, "; ") };
    for (const [name, value] of Object.entries(set)) this.box.setAttribute(`aria-${name}`, value);
  }

  text(moment) {
    const { calls } = this;
    const call = calls.before(moment);
    const lines = [`at ${offset(moment, 1)}: ${counted(calls.tokens(call), "token")} in ${counted(call + 1, "call")}`];
    calls.names.forEach((name, series) => lines.push(`${series + 1} ${name}: ${count(call < 0 ? 0 : calls.sums[series][call])}`));
    return [...lines, `cost ${calls.costText(call)}`].join("\n");
  }

  /** Mark a time and show its sums beside the mark. */
  read(moment, x = null, y = null) {
    this.point(moment);
    const { left, width } = byId("tokens").getBoundingClientRect();
    const below = this.box.getBoundingClientRect().bottom - 18;
    showTip(this.text(this.moment), x ?? left + (width * this.timeline.place(this.moment)) / 100, y ?? below);
  }

  leave() {
    this.point(null);
    hideTip();
  }

  /** The time of the next or previous call in another pixel. */
  beside(way) {
    const { from, to } = this.timeline;
    const moments = [from, ...this.shown.filter(([, call]) => call >= 0).map(([, call]) => this.calls.at[call]).filter((at) => at >= from), to];
    const now = this.moment ?? (way > 0 ? from : to);
    return way > 0 ? moments.find((at) => at > now) ?? to : moments.findLast((at) => at < now) ?? from;
  }

  listen() {
    const { timeline, box } = this;
    const follow = (event) => {
      if (timeline.gestures.fingers.size > 1) return;
      if (!event.target.closest(".track")) this.leave();
      // A finger covers what it points at, so the text is below.
      else this.read(timeline.from + (timeline.to - timeline.from) * timeline.share(event.clientX), event.clientX, event.pointerType === "mouse" ? event.clientY : null);
    };
    for (const kind of ["pointermove", "pointerdown"]) box.addEventListener(kind, follow);
    box.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.leave());
    box.addEventListener("focus", () => box.matches(":focus-visible") && this.read(this.moment ?? timeline.to));
    box.addEventListener("blur", () => this.leave());
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const tenth = (timeline.to - timeline.from) / 10;
      const now = this.moment ?? timeline.to;
      const to = {
        ArrowRight: () => this.beside(1),
        ArrowUp: () => this.beside(1),
        ArrowLeft: () => this.beside(-1),
        ArrowDown: () => this.beside(-1),
        PageUp: () => now + tenth,
        PageDown: () => now - tenth,
        Home: () => timeline.from,
        End: () => timeline.to,
      }[event.key];
      if (to) this.read(to());
      else if (event.key in timeline.zooms) timeline.zooms[event.key]();
      else return;
      event.preventDefault();
    });
  }
}

function atTop(made, pixels) {
  made.style.top = `${pixels}px`;
  return made;
}

/** 1, 2 or 5 times a power of ten, at or above a number. */
function roundStep(number, least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, least)) + 1e-9);
  return power * [1, 2, 5, 10].find((times) => times * power >= number * (1 - 1e-9));
}

/** A line of steps. */
const stepPath = (points, width) => points.map(([x, y], place) => (place ? `H${x}V${y}` : `M${x} ${y}`)).join("") + `H${width}`;

/** The area between two of them. */
function bandPath(above, below, width) {
  const back = below.map(([, y], place) => `V${y}H${below[place][0]}`).reverse();
  return `${stepPath(above, width)}${back.join("")}Z`;
}
