// The nodes over time: a row per node, a bar per attempt, stripes for waits. The bar of a group has a layer per
// status, as thick as its share of the nodes.

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5];
const SHORTEST = 1;
const AXES = ["axis", "usage-axis"];

class Timeline {
  constructor(content, open, toggle) {
    const run = content.run;
    this.now = run.now;
    const starts = content.nodes.flatMap((node) => node.attempts.map((attempt) => attempt.start ?? attempt.seen));
    const ends = content.nodes.flatMap((node) => node.attempts.map((attempt) => this.end(attempt)));
    this.first = starts.reduce((one, other) => Math.min(one, other), 0);
    this.last = Math.max(ends.reduce((one, other) => Math.max(one, other), run.now), this.first + SHORTEST);
    this.from = this.first;
    this.to = this.last;
    this.shown = [];
    this.looked = () => {}; // called when the time range changes
    this.rows = new Rows(byId("bars"), {
      draw: (row, index) => this.draw(row, this.shown[index]),
      open: (index) => (this.shown[index].node.children ? toggle : open)(this.shown[index].node),
      key: (index) => keyOf(this.shown[index].node),
      find: (key) => this.shown.findIndex(({ node }) => keyOf(node) === key),
      moved: (index) => this.tipOfRow(index),
    });
    this.listen();
  }

  /** Show rows, at the same scroll position if possible. */
  show(shown, place = this.rows.place) {
    this.shown = shown;
    this.rows.box.hidden = shown.length === 0;
    this.rows.show(shown.length, place);
    this.axis();
  }

  end(attempt) {
    return attempt.end ?? this.now;
  }

  place(ms) {
    return ((ms - this.from) / (this.to - this.from)) * 100;
  }

  /** Show another time range: within the run, at least a millisecond. */
  look(from, to) {
    const length = Math.min(Math.max(to - from, SHORTEST), this.last - this.first);
    this.from = Math.min(Math.max(from, this.first), this.last - length);
    this.to = this.from + length;
    this.rows.render();
    this.axis();
    hideTip();
  }

  zoom(factor, at = 0.5) {
    const length = (this.to - this.from) * factor;
    const middle = this.from + (this.to - this.from) * at;
    this.look(middle - length * at, middle + length * (1 - at));
  }

  move(share) {
    const length = this.to - this.from;
    this.look(this.from + length * share, this.to + length * share);
  }

  ticks() {
    const length = this.to - this.from;
    const most = Math.max(2, Math.floor(byId("axis").clientWidth / 70));
    const step = STEPS.find((step) => length / step <= most) ?? Math.ceil(length / most / 864e5) * 864e5;
    const ticks = [];
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) ticks.push(at);
    return { ticks, step };
  }

  axis() {
    const { ticks, step } = this.ticks();
    const mark = (at) => {
      const place = this.place(at);
      const edge = place < 3 ? "tick first" : place > 97 ? "tick last" : "tick";
      return placed(element("span", { class: edge }, offset(at, step)), place);
    };
    for (const id of AXES) byId(id).replaceChildren(...ticks.map(mark));
    this.looked();
  }

  draw(row, { node, level, place, size, isOpen }) {
    const track = element("div", { class: "track" });
    for (const at of this.ticks().ticks) track.append(placed(element("div", { class: "line" }), this.place(at)));
    if (node.children) track.append(...this.layers(node));
    else node.attempts.forEach((attempt, index) => track.append(...this.bar(attempt, index === node.attempts.length - 1)));
    // The end of a name is kept: children of a fan-out differ there.
    const name = visible(node.id);
    const kept = node.children ? `\u00a0×${count(node.children.length)}` : name.length > 14 ? name.slice(-8) : "";
    const cut = node.children ? name : name.slice(0, name.length - kept.length);
    const fold = node.children ? [element("span", { class: "fold", "aria-hidden": "true" }, isOpen ? "▾" : "▸")] : [];
    row.append(element("div", { class: `name level-${level}` }, ...fold, element("span", { class: "clip" }, cut), element("span", {}, kept)), track);
    const attributes = { "aria-label": described(node, this), "aria-level": level, "aria-posinset": place + 1, "aria-setsize": size };
    if (node.children) attributes["aria-expanded"] = isOpen;
    for (const [name, value] of Object.entries(attributes)) row.setAttribute(name, value);
    row.addEventListener("mousemove", (event) => showTip(tipText(node, this), event.clientX, event.clientY));
    row.addEventListener("mouseleave", hideTip);
  }

  bar(attempt, isLast) {
    const start = this.place(attempt.start ?? attempt.seen);
    const end = this.place(this.end(attempt));
    if (end < 0 || start > 100) return [];
    const left = Math.max(start, -1);
    const right = Math.min(end, 101);
    const width = (byId("axis").clientWidth * (right - left)) / 100;
    const classes = ["span", attempt.status in MARKS ? attempt.status : ""];
    if (attempt.end === null) classes.push("open");
    if (attempt.start === null) classes.push("unseen");
    if (width < 20) classes.push("narrow");
    const bar = placed(element("div", { class: classes.join(" ") }), left);
    bar.style.width = `${right - left}%`;
    for (const [from, to] of attempt.waits) {
      const wait = element("div", { class: "wait" });
      wait.style.left = `${((this.place(from) - left) / (right - left || 1)) * 100}%`;
      wait.style.width = `${((this.place(to ?? this.end(attempt)) - this.place(from)) / (right - left || 1)) * 100}%`;
      bar.append(wait);
    }
    if (width >= 20) bar.append(element("span", { class: "sign" }, MARKS[attempt.status] ?? "?"));
    return isLast && end <= 100 ? [bar, this.length(attempt, left, right, width < 20)] : [bar];
  }

  /** A group's bar in layers, the worst on top. */
  layers({ counts, children, attempts: [span] }) {
    if (!span) return [];
    const start = this.place(span.start);
    const end = this.place(this.end(span));
    if (end < 0 || start > 100) return [];
    const left = Math.max(start, -1);
    const right = Math.min(end, 101);
    const bar = placed(element("div", { class: span.end === null ? "span group open" : "span group" }), left);
    bar.style.width = `${right - left}%`;
    for (const [status, number] of counts) {
      const layer = element("div", { class: `layer ${status in MARKS ? status : ""}` });
      layer.style.flexGrow = number / children.length;
      bar.append(layer);
    }
    const took = span.end === null ? "" : ` · ${duration(span.end - span.start)}`;
    return end <= 100 ? [bar, this.beside(countsText(counts) + took, left, right)] : [bar];
  }

  /** The duration beside a bar, with the sign if the bar is too small for it. */
  length(attempt, left, right, withSign) {
    const took = attempt.start === null || attempt.end === null ? "" : duration(attempt.end - attempt.start);
    const open = attempt.end === null ? statusText(attempt.status) : "";
    return this.beside(`${withSign && !open ? MARKS[attempt.status] ?? "?" : ""} ${took || open}`.trim(), left, right);
  }

  /** A text beside a bar where it fits, else over its end. */
  beside(text, left, right) {
    const room = (100 * (14 + 7.5 * text.length)) / byId("axis").clientWidth;
    if (right + room < 100) return placed(element("span", { class: "length" }, text), right);
    if (left > room) return placed(element("span", { class: "length left" }, text), left);
    return placed(element("span", { class: "length over" }, text), right);
  }

  tipOfRow(index) {
    const row = byId(`bars-${index}`);
    if (!row || !this.rows.box.matches(":focus-visible")) return;
    const { left, bottom } = row.getBoundingClientRect();
    showTip(tipText(this.shown[index].node, this), left + 24, bottom - 6);
  }

  listen() {
    const box = this.rows.box;
    this.zooms = { "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.look(this.first, this.last) };
    const keys = { ...this.zooms, ArrowLeft: () => this.move(-0.2), ArrowRight: () => this.move(0.2) };
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      keys[event.key]();
      event.preventDefault();
    });
    box.addEventListener("blur", hideTip);
    addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
    byId("zoom-in").addEventListener("click", keys["+"]);
    byId("zoom-out").addEventListener("click", keys["-"]);
    byId("zoom-fit").addEventListener("click", keys[0]);
    new ResizeObserver(() => this.look(this.from, this.to)).observe(byId("timeline"));
    this.gestures = new Gestures(this, [byId("timeline"), byId("curves")]);
  }

  share(x) {
    const { left, width } = byId("axis").getBoundingClientRect();
    return (x - left) / width;
  }
}

/** The key of a row; a group and a node of the same name differ. */
const keyOf = (node) => (node.children ? `${node.id}[*]` : node.id);

function placed(made, percent) {
  made.style.left = `${percent}%`;
  return made;
}

/** The tooltip of a node. */
function tipText(node, timeline) {
  if (node.children) return groupText(node);
  const lines = [visible(node.id)];
  for (const attempt of node.attempts.slice(-4)) {
    const start = attempt.start ?? attempt.seen;
    const waited = waitedOf(attempt, timeline.now);
    lines.push(
      `${node.attempts.length > 1 ? `attempt ${attempt.number}: ` : ""}${statusText(attempt.status)}, ` +
        `${attempt.start === null ? "start not seen, " : ""}from ${offset(start)}` +
        (attempt.end === null ? ", still open" : ` to ${offset(attempt.end)}: ${duration(attempt.end - start)}`) +
        (waited ? `, ${duration(waited)} of it waiting` : ""),
    );
    if (attempt.error) lines.push(visible(attempt.error.message).slice(0, 200));
  }
  if (node.calls) lines.push(`${counted(node.calls, "model call")}, ${counted(node.tokens, "token")}, cost ${node.cost}`);
  return lines.join("\n");
}

const described = (node, timeline) => tipText(node, timeline).replace(/\n/g, "; ");

const waitedOf = (attempt, now) =>
  attempt.waits.reduce((sum, [from, to]) => sum + ((to ?? attempt.end ?? now) - from), 0);

function showTip(text, x, y) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}
