// The nodes over time: a row for each node, a bar for each attempt, stripes where it waited.

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5];
const SHORTEST = 1;

class Timeline {
  constructor(content, open) {
    const run = content.run;
    this.now = run.now;
    const starts = content.nodes.flatMap((node) => node.attempts.map((attempt) => attempt.start ?? attempt.seen));
    const ends = content.nodes.flatMap((node) => node.attempts.map((attempt) => this.end(attempt)));
    this.first = starts.reduce((one, other) => Math.min(one, other), 0);
    this.last = Math.max(ends.reduce((one, other) => Math.max(one, other), run.now), this.first + SHORTEST);
    this.from = this.first;
    this.to = this.last;
    this.nodes = [];
    this.rows = new Rows(byId("bars"), {
      draw: (row, index) => this.draw(row, this.nodes[index]),
      open: (index) => open(this.nodes[index]),
      moved: (index) => this.tipOfRow(index),
    });
    this.listen();
  }

  show(nodes, place) {
    this.nodes = nodes;
    this.rows.box.hidden = nodes.length === 0;
    this.rows.show(nodes.length, place);
    this.axis();
  }

  end(attempt) {
    return attempt.end ?? this.now;
  }

  place(ms) {
    return ((ms - this.from) / (this.to - this.from)) * 100;
  }

  /** Show another stretch of time; never beyond the run, never less than a millisecond. */
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
    const marks = ticks.map((at) => {
      const place = this.place(at);
      const edge = place < 3 ? "tick first" : place > 97 ? "tick last" : "tick";
      return placed(element("span", { class: edge }, offset(at, step)), place);
    });
    byId("axis").replaceChildren(...marks);
  }

  draw(row, node) {
    const track = element("div", { class: "track" });
    for (const at of this.ticks().ticks) track.append(placed(element("div", { class: "line" }), this.place(at)));
    node.attempts.forEach((attempt, index) => track.append(...this.bar(attempt, index === node.attempts.length - 1)));
    // The end of a name stays: children of a fan-out differ there.
    const name = visible(node.id);
    const cut = name.length > 14 ? name.length - 8 : name.length;
    row.append(element("div", { class: "name" }, element("span", { class: "clip" }, name.slice(0, cut)), element("span", {}, name.slice(cut))), track);
    row.setAttribute("aria-label", described(node, this));
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

  /** How long it took, beside its bar; the sign too, where the bar has no room for it. */
  length(attempt, left, right, withSign) {
    const took = attempt.start === null || attempt.end === null ? "" : duration(attempt.end - attempt.start);
    const open = attempt.end === null ? statusText(attempt.status) : "";
    const text = `${withSign && !open ? MARKS[attempt.status] ?? "?" : ""} ${took || open}`.trim();
    if (right < 86) return placed(element("span", { class: "length" }, text), right);
    if (left > 14) return placed(element("span", { class: "length left" }, text), left);
    return placed(element("span", { class: "length over" }, text), right);
  }

  tipOfRow(index) {
    const row = byId(`bars-${index}`);
    if (!row || !this.rows.box.matches(":focus-visible")) return;
    const { left, bottom } = row.getBoundingClientRect();
    showTip(tipText(this.nodes[index], this), left + 24, bottom - 6);
  }

  listen() {
    const box = this.rows.box;
    const keys = { "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.look(this.first, this.last), ArrowLeft: () => this.move(-0.2), ArrowRight: () => this.move(0.2) };
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      keys[event.key]();
      event.preventDefault();
    });
    box.addEventListener("blur", hideTip);
    byId("zoom-in").addEventListener("click", keys["+"]);
    byId("zoom-out").addEventListener("click", keys["-"]);
    byId("zoom-fit").addEventListener("click", keys[0]);
    byId("timeline").addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, Math.min(1, Math.max(0, this.share(event.clientX))));
    }, { passive: false });
    new ResizeObserver(() => this.look(this.from, this.to)).observe(byId("timeline"));
    this.drag();
  }

  share(x) {
    const { left, width } = byId("axis").getBoundingClientRect();
    return (x - left) / width;
  }

  /** A stretch that is marked with the mouse is zoomed into; a mere click opens the node. */
  drag() {
    const area = byId("timeline");
    let began = null;
    let mark = null;
    const limited = (event) => Math.min(1, Math.max(0, this.share(event.clientX)));
    area.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0 && event.target.closest(".track")) began = limited(event);
    });
    addEventListener("pointermove", (event) => {
      if (began === null || (!mark && Math.abs(limited(event) - began) < 0.01)) return;
      event.preventDefault();
      mark ??= byId("axis").appendChild(element("div", { class: "marked" }));
      mark.style.left = `${Math.min(began, limited(event)) * 100}%`;
      mark.style.width = `${Math.abs(limited(event) - began) * 100}%`;
    });
    addEventListener("pointerup", (event) => {
      if (mark) {
        const [one, other] = [began, limited(event)].sort((a, b) => a - b);
        const length = this.to - this.from;
        this.look(this.from + one * length, this.from + other * length);
        addEventListener("click", (click) => click.stopPropagation(), { capture: true, once: true });
        setTimeout(() => dispatchEvent(new Event("click")), 0); // where no click followed
      }
      mark?.remove();
      began = mark = null;
    });
  }
}

function placed(made, percent) {
  made.style.left = `${percent}%`;
  return made;
}

/** What a bar says when it is pointed at. */
function tipText(node, timeline) {
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
