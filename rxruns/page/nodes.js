// The nodes and the costs as tables, and the details of one node or event.

const PAGE_OF_NODES = 100;

const NODE_COLUMNS = [
  { name: "node", key: (node) => node.place, cell: (node) => node },
  { name: "status", key: (node) => Object.keys(MARKS).indexOf(node.status) },
  { name: "attempts", key: (node) => node.attempts.length, number: true, few: true },
  { name: "took", key: (node) => node.took, number: true },
  { name: "waited", key: (node) => node.waited, number: true },
  { name: "calls", key: (node) => node.calls, number: true, few: true },
  { name: "tokens", key: (node) => node.tokens, number: true },
  { name: "cost", key: (node) => node.usd, number: true },
  { name: "text" },
];

/** Add values that follow from the data. */
function completeNodes(content) {
  content.nodes.forEach((node, place) => {
    node.place = place;
    node.waited = node.attempts.reduce((sum, attempt) => sum + waitedOf(attempt, content.run.now), 0);
    node.took = node.attempts.reduce((sum, attempt) => sum + (attempt.end ?? content.run.now) - (attempt.start ?? attempt.seen), 0);
  });
}

class NodeTable {
  constructor(open, says) {
    this.table = byId("nodes");
    this.open = open;
    this.says = says;
    this.sort = { column: 0, down: false };
    this.limit = PAGE_OF_NODES;
    byId("more-nodes").addEventListener("click", () => {
      this.limit += PAGE_OF_NODES * 5;
      this.render();
    });
  }

  show(nodes) {
    this.nodes = nodes;
    this.render();
  }

  render() {
    this.table.tHead.replaceChildren(element("tr", {}, ...NODE_COLUMNS.map((column, index) => this.head(column, index))));
    const { key } = NODE_COLUMNS[this.sort.column];
    const way = this.sort.down ? -1 : 1;
    const sorted = [...this.nodes].sort((one, other) => way * (key(one) - key(other)) || one.place - other.place);
    this.table.tBodies[0].replaceChildren(...sorted.slice(0, this.limit).map((node) => this.row(node)));
    const left = sorted.length - this.limit;
    byId("more-nodes").hidden = left <= 0;
    byId("more-nodes").textContent = `Show more (${count(Math.max(left, 0))} left)`;
  }

  head(column, index) {
    const kind = [column.number ? "number" : "", column.few ? "few" : ""].join(" ").trim();
    if (!column.key) return element("th", { scope: "col", class: kind }, column.name);
    const chosen = index === this.sort.column;
    const arrow = chosen ? (this.sort.down ? " ▾" : " ▴") : "";
    const order = chosen ? (this.sort.down ? "descending" : "ascending") : null;
    const button = element("button", { type: "button", onclick: () => this.sortBy(index) }, column.name + arrow);
    return element("th", { scope: "col", class: kind, "aria-sort": order }, button);
  }

  sortBy(column) {
    const down = column === this.sort.column ? !this.sort.down : Boolean(NODE_COLUMNS[column].number);
    this.sort = { column, down };
    this.render();
    this.table.tHead.querySelectorAll("th")[column].querySelector("button").focus();
  }

  row(node) {
    const name = element("button", { type: "button", class: "link", title: visible(node.id), onclick: () => this.open(node) }, visible(node.id));
    const number = (text, few) => element("td", { class: few ? "number few" : "number" }, text);
    return element(
      "tr",
      {},
      element("td", { class: "node" }, name),
      element("td", {}, statusElement(node.status, "status")),
      number(node.attempts.length, true),
      number(node.attempts.length ? duration(node.took) : ""),
      number(node.waited ? duration(node.waited) : ""),
      number(node.calls ? count(node.calls) : "", true),
      number(node.calls ? count(node.tokens) : ""),
      number(node.cost),
      element("td", { class: "says" }, element("div", { class: "clip" }, visible(this.says(node)).slice(0, 200))),
    );
  }
}

function showCosts(costs) {
  const columns = ["model", "calls", "input tokens", "output tokens", "total tokens", "cost"];
  const few = (index) => (index && index < 5 ? (index === 4 ? "number" : "number few") : index ? "number" : "");
  const row = (tag, values) => element("tr", {}, ...values.map((value, index) => element(index || tag === "td" ? "td" : "th", { class: few(index) }, value)));
  byId("costs").tHead.replaceChildren(element("tr", {}, ...columns.map((name, index) => element("th", { scope: "col", class: few(index) }, name))));
  const lines = costs.lines.map((line) =>
    row("td", [
      visible(`${line.provider || "(no provider)"} / ${line.model || "(no model)"}`) + (line.unmetered ? ` (${count(line.unmetered)} without usage)` : ""),
      count(line.calls),
      count(line.input),
      count(line.output),
      count(line.tokens),
      line.usd < 0 ? "no price" : line.cost,
    ]),
  );
  byId("costs").tBodies[0].replaceChildren(...(lines.length ? lines : [element("tr", {}, element("td", { colspan: 6 }, "No model was called."))]));
  byId("costs").tFoot.replaceChildren(row("th", ["all", count(costs.calls), count(costs.input), count(costs.output), count(costs.tokens), costs.cost]));
}

function showDetail(title, ...parts) {
  hideTip();
  byId("detail-title").replaceChildren(...title);
  byId("detail-body").replaceChildren(...parts);
  byId("detail").showModal();
  byId("detail-body").parentElement.scrollTop = 0;
}

const MOST_TEXT = 200_000;

function textBlock(text) {
  const cut = text.length > MOST_TEXT ? `\n… ${count(text.length - MOST_TEXT)} characters more` : "";
  return element("pre", { tabindex: 0 }, visibleLines(text.slice(0, MOST_TEXT)) + cut);
}

/** The details of a node: its attempts, errors, questions, pending tools and text. */
function nodeParts(node, run, text, showEvents) {
  const head = ["attempt", "status", "start", "took", "waited", "tokens"];
  const rows = node.attempts.map((attempt) => [
    attempt.number,
    statusText(attempt.status),
    attempt.start === null ? `not seen, before ${offset(attempt.seen)}` : offset(attempt.start),
    attempt.end === null ? "open" : duration(attempt.end - (attempt.start ?? attempt.seen)),
    duration(waitedOf(attempt, run.now) || null),
    count(attempt.tokens),
  ]);
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))),
  );
  const parts = [element("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "Attempts" }, table)];
  const part = (title, ...body) => parts.push(element("h3", {}, title), ...body);
  for (const attempt of node.attempts) {
    if (attempt.error) part(`Error of attempt ${attempt.number}${attempt.error.code ? `: ${visible(attempt.error.code)}` : ""}`, textBlock(attempt.error.message));
  }
  for (const question of node.questions) part("Question", textBlock(question));
  for (const [name, given] of node.pending) part(`Waiting for the result of ${visible(name)}`, textBlock(given));
  if (node.calls) part("Models", element("p", {}, `${counted(node.calls, "call")}, ${counted(node.tokens, "token")}, cost ${node.cost}`));
  if (text) part("Text", textBlock(text));
  parts.push(element("p", {}, element("button", { type: "button", onclick: showEvents }, "Show its events")));
  return parts;
}
