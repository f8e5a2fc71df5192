// All events: filtered by type and node, searched, with consecutive text deltas joined.

class Events {
  constructor(columns, nodes) {
    this.columns = columns;
    this.nodes = nodes;
    this.count = columns.seq.length;
    this.delta = columns.types.indexOf("node_output_delta");
    this.texts = null;
  }

  type(index) {
    return this.columns.types[this.columns.type[index]];
  }

  isDelta(index) {
    return this.columns.type[index] === this.delta;
  }

  node(index) {
    const node = this.columns.node[index];
    return node < 0 ? null : this.nodes[node].id;
  }

  /** The event as the service sent it, without its run id, and with its time in UTC. */
  record(index, began) {
    const { seq, at, body, shape, shapes } = this.columns;
    const [kind, model, response_id] = shapes[shape[index]] ?? [];
    const node = this.node(index);
    const delta = { kind, text_delta: body[index] ?? undefined, model: model ?? undefined, response_id: response_id ?? undefined };
    return {
      seq: seq[index],
      type: this.type(index),
      ts: new Date(began + at[index]).toISOString(),
      ...(node === null ? {} : { node_id: node }),
      ...(this.isDelta(index) ? { delta } : body[index]),
    };
  }

  /** A one-line summary. */
  summary(index) {
    const body = this.columns.body[index];
    if (this.isDelta(index)) return body ?? "";
    if (!body) return "";
    const { error, llm_call: call, tool_call: tool, tool_result: result, waiting, user_ask: ask, user_answer: answer, output } = body;
    if (error) return `${error.code ? `${error.code}: ` : ""}${error.message}`;
    if (call) return `${call.provider ?? "?"} / ${call.model ?? "?"}: ${usageText(call.usage)}${call.stop_reason ? `, ${call.stop_reason}` : ""}`;
    if (tool) return `${tool.tool_call.name}(${tool.tool_call.arguments})`;
    if (result) return `${result.tool_call.name}: ${result.error ? `error: ${result.error}` : result.output}`;
    if (waiting) return `${waiting.reason}: ${waiting.pending_tool_calls.map((pending) => pending.tool_call.name).join(", ")}`;
    if (ask) return ask.question;
    if (answer) return answer.answer;
    if (output) return "content" in output ? JSON.stringify(output.content) : `${output.artifact_key}, ${count(output.info.bytes)} bytes`;
    const { plan_hash: plan, ...rest } = body;
    return Object.keys(rest).length ? JSON.stringify(rest) : `plan ${String(plan).slice(0, 12)}`;
  }

  /** The text of a node since its last start. */
  text(node) {
    const pieces = [];
    for (let index = 0; index < this.count; index++) {
      if (this.columns.node[index] !== node) continue;
      if (this.isDelta(index)) pieces.push(this.columns.body[index] ?? "");
      else if (this.type(index) === "node_started") pieces.length = 0;
    }
    return pieces.join("");
  }

  /** The end of each node's text, found in one pass from the end. */
  lastWords() {
    const words = this.nodes.map(() => "");
    const started = new Set();
    for (let index = this.count - 1; index >= 0; index--) {
      const node = this.columns.node[index];
      if (node < 0 || started.has(node)) continue;
      if (this.type(index) === "node_started") started.add(node);
      else if (this.isDelta(index) && words[node].length < 120) words[node] = (this.columns.body[index] ?? "") + words[node];
    }
    return words;
  }

  /** The indexes of the matching events, in order. */
  fitting({ search, type, node }) {
    const found = search ? this.matching(search.toLowerCase()) : null;
    const { type: types, node: nodes } = this.columns;
    const fits = [];
    for (let index = 0; index < this.count; index++) {
      if (type >= 0 && types[index] !== type) continue;
      if (node >= 0 && nodes[index] !== node) continue;
      if (!found || found[index]) fits.push(index);
    }
    return fits;
  }

  /** Flag the events that contain the words; a node's text is searched across its deltas. */
  matching(wanted) {
    const found = new Uint8Array(this.count);
    this.index();
    this.others.forEach((text, index) => {
      if (text.includes(wanted)) found[index] = 1;
    });
    for (const { text, starts, events } of this.texts) {
      for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
        for (let piece = pieceAt(starts, at); piece < starts.length && starts[piece] < at + wanted.length; piece++) found[events[piece]] = 1;
      }
    }
    return found;
  }

  /** Build the search index, at the first search. */
  index() {
    if (this.texts) return;
    this.others = new Map();
    const pieces = this.nodes.map(() => ({ pieces: [], starts: [], events: [], length: 0 }));
    for (let index = 0; index < this.count; index++) {
      const { type, node, body, seq } = this.columns;
      if (this.isDelta(index)) {
        const piece = (body[index] ?? "").toLowerCase();
        const of = pieces[node[index]];
        of.pieces.push(piece);
        of.starts.push(of.length);
        of.events.push(index);
        of.length += piece.length;
      } else {
        const name = node[index] < 0 ? "" : this.nodes[node[index]].id;
        const text = body[index] ? `${this.summary(index)} ${JSON.stringify(body[index])}` : "";
        this.others.set(index, `${seq[index]} ${this.columns.types[type[index]]} ${name} ${text}`.toLowerCase());
      }
    }
    this.texts = pieces.map(({ pieces, starts, events }) => ({ text: pieces.join(""), starts, events }));
  }

  /** Rows of the list as ranges [from, to) of `fits`: consecutive deltas of one node are one row. */
  joined(fits, join) {
    const rows = [];
    for (let from = 0; from < fits.length; ) {
      let to = from + 1;
      if (join && this.isDelta(fits[from])) {
        while (to < fits.length && this.isDelta(fits[to]) && this.columns.node[fits[to]] === this.columns.node[fits[from]]) to++;
      }
      rows.push([from, to]);
      from = to;
    }
    return rows;
  }
}

/** The last delta that starts at or before a position and is not empty. */
function pieceAt(starts, at) {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}

function usageText(usage) {
  if (!usage) return "without usage";
  return `${count(usage.input_tokens ?? 0)} + ${count(usage.output_tokens ?? 0)} tokens`;
}

const BAD = new Set(["run_failed", "run_canceled", "node_failed"]);

/** The list of events with its filters. */
class EventList {
  constructor(events, run) {
    this.events = events;
    this.run = run;
    this.fits = [];
    this.joins = [];
    this.rows = new Rows(byId("list"), {
      draw: (row, index) => this.draw(row, this.joins[index]),
      open: (index) => this.open(this.joins[index]),
      key: (index) => events.columns.seq[this.fits[this.joins[index][0]]],
      find: (seq) => this.find(seq),
    });
    const { types } = events.columns;
    fillSelect(byId("type"), "all types", types.map((name, index) => [index, name]));
    fillSelect(byId("node"), "all nodes", events.nodes.map((node, index) => [index, node.id]));
    for (const id of ["type", "node", "join"]) byId(id).addEventListener("change", () => this.filter());
    byId("search").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.filter(), 120);
    });
  }

  /** The row of an event, -1 for none. */
  find(seq) {
    const place = this.fits.findIndex((index) => this.events.columns.seq[index] === seq);
    return place < 0 ? -1 : this.joins.findIndex(([, to]) => place < to);
  }

  /** Apply the filters; the active event stays active and visible. */
  filter(place = { active: this.rows.place.active }) {
    const wanted = { search: byId("search").value.trim(), type: Number(byId("type").value), node: Number(byId("node").value) };
    this.fits = this.events.fitting(wanted);
    this.joins = this.events.joined(this.fits, byId("join").checked);
    const all = counted(this.events.count, "event");
    byId("count").textContent = this.fits.length === this.events.count ? all : `${count(this.fits.length)} of ${all}`;
    this.rows.show(this.joins.length, place);
  }

  text([from, to], most = Infinity) {
    let text = "";
    for (let at = from; at < to && text.length < most; at++) text += this.events.columns.body[this.fits[at]] ?? "";
    return text;
  }

  draw(row, [from, to]) {
    const index = this.fits[from];
    const { seq, at } = this.events.columns;
    const type = this.events.type(index);
    const pieces = to - from;
    const what = pieces > 1 ? this.text([from, to], 300) : this.events.summary(index);
    row.append(
      element("span", { class: "seq" }, seq[index]),
      element("span", { class: "at" }, offset(at[index], 1)),
      element("span", { class: "who clip" }, visible(this.events.node(index) ?? "")),
      element("span", { class: BAD.has(type) ? "kind clip bad" : "kind clip" }, (BAD.has(type) ? "✗ " : "") + visible(type) + (pieces > 1 ? ` ×${count(pieces)}` : "")),
      element("span", { class: "what clip" }, visible(String(what).slice(0, 400))),
    );
  }

  open([from, to]) {
    const index = this.fits[from];
    if (to - from === 1) {
      showDetail([`Event ${this.events.columns.seq[index]}`], textBlock(json(this.events.record(index, this.run.began))));
      return;
    }
    const last = this.events.columns.seq[this.fits[to - 1]];
    const title = `Events ${this.events.columns.seq[index]} to ${last}: text of ${visible(this.events.node(index))}`;
    showDetail([title], textBlock(this.text([from, to])));
  }
}

function fillSelect(select, all, options) {
  select.replaceChildren(...[[-1, all], ...options].map(([value, text]) => element("option", { value }, visible(text))));
}
