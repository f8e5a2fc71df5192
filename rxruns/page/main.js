// The page: the visible parts are drawn first, then the events.

completeNodes(content);

const view = { events: null, list: null, table: null, timeline: null, curves: null, folding: null };

function openNode(node) {
  const text = view.events ? view.events.text(node.place) : "";
  const showEvents = () => {
    byId("detail").close();
    byId("node").value = node.place;
    byId("type").value = -1;
    byId("search").value = "";
    view.list?.filter();
    byId("events").scrollIntoView();
    byId("list").focus();
  };
  showDetail([statusElement(node.status, "pill"), ` ${visible(node.id)}`], ...nodeParts(node, content.run, text, showEvents));
}

/** Its error, question or pending tools; else the end of its text, once the events are parsed. */
const says = (node) => node.summary || (node.words ?? "");

function showHead({ run, nodes, costs, note }) {
  byId("status").className = `pill ${run.status in MARKS ? run.status : ""}`;
  byId("status").textContent = statusText(run.status);
  byId("run").textContent = run.id ?? "without events";
  byId("note").hidden = !note;
  byId("note").textContent = visible(note ?? "");
  const by = Object.keys(MARKS).map((status) => [status, nodes.filter((node) => node.status === status).length]);
  const took = (run.ended ?? run.now) - (run.started ?? 0);
  const facts = [
    [run.open ? "Open for" : "Took", duration(took), `from ${new Date(run.began).toISOString().slice(0, 19).replace("T", " ")} UTC`],
    ["Nodes", count(nodes.length), by.filter(([, number]) => number).map(([status, number]) => element("span", {}, `${MARKS[status]} ${count(number)} ${status}`))],
    ["Model calls", count(costs.calls), costs.unmetered ? `${count(costs.unmetered)} without usage` : counted(costs.lines.length, "model")],
    ["Tokens", count(costs.tokens), `${count(costs.input)} in, ${count(costs.output)} out`],
    ["Cost", costs.cost, costs.known ? "" : "some model has no price"],
  ];
  byId("facts").replaceChildren(...facts.map(([name, value, more]) => element("div", {}, element("dt", {}, name), element("dd", {}, value, element("small", {}, ...[more].flat())))));
}

const MOST_PROBLEMS = 50;

function showProblems({ run, nodes }) {
  const items = run.error ? [problem(`Run ${run.status}`, run.error)] : [];
  for (const node of nodes.filter((node) => node.status === "failed")) items.push(problem(node, node.error));
  fillList("problems", items);
}

function problem(of, error) {
  const title = typeof of === "string" ? element("strong", {}, of) : nodeLink(of);
  const code = error?.code ? ` (${visible(error.code)})` : "";
  return element("li", {}, element("span", { class: "status failed" }, "✗ "), title, code, element("pre", {}, visibleLines(error?.message ?? "no message")));
}

const nodeLink = (node) => element("button", { type: "button", class: "link", onclick: () => openNode(node) }, visible(node.id));

function showWaits({ nodes }) {
  const items = [];
  for (const node of nodes) {
    for (const question of node.questions) items.push(wait(node, "asks", question));
    for (const [name, given] of node.pending) {
      if (!node.questions.length) items.push(wait(node, `waits for the result of ${visible(name)}`, given));
    }
  }
  fillList("waits", items);
}

function wait(node, what, more) {
  const since = node.waited ? ` (${duration(node.waited)} so far)` : "";
  return element("li", {}, element("span", { class: "status waiting" }, "‖ "), nodeLink(node), ` ${what}${since}`, element("pre", {}, visibleLines(more)));
}

function fillList(id, items) {
  const left = items.length - MOST_PROBLEMS;
  byId(id).hidden = items.length === 0;
  byId(id).querySelector("ul").replaceChildren(...items.slice(0, MOST_PROBLEMS), ...(left > 0 ? [element("li", {}, `and ${count(left)} more: choose the status below`)] : []));
}

function showLegend() {
  const bar = (status, name, more = "") => element("li", {}, element("span", { class: `span ${status} ${more}`, "aria-hidden": "true" }, element("span", { class: "sign" }, MARKS[status])), name);
  const waiting = element("li", {}, element("span", { class: "wait", "aria-hidden": "true" }), "waiting");
  byId("legend").replaceChildren(bar("succeeded", "succeeded"), bar("failed", "failed"), bar("canceled", "canceled"), bar("running", "still open", "open"), waiting);
}

/** Unfold or fold a group, or all groups if none is given. */
function fold(group) {
  if (group) view.folding.toggle(group.id);
  else view.folding.toggleAll();
  hideTip();
  filterNodes();
}

function filterNodes(place) {
  const search = byId("node-search").value.trim().toLowerCase();
  const status = byId("node-status").value;
  const nodes = content.nodes.filter((node) => (status === "-1" || node.status === status) && node.id.toLowerCase().includes(search));
  const isChosen = search !== "" || status !== "-1";
  view.timeline.show(isChosen ? flatRows(nodes) : view.folding.rows(nodes), place);
  view.table.show(nodes);
  byId("fold").hidden = isChosen || !view.folding.names.size;
  byId("fold").textContent = view.folding.isFolded ? "Unfold all" : "Fold all";
  byId("no-nodes").hidden = nodes.length > 0;
  byId("no-nodes").textContent = content.nodes.length ? "No matching node." : "No node has started.";
}

// Filters, zoom and scroll positions survive a reload of the page in its tab.

const FIELDS = ["node-search", "node-status", "search", "type", "node"];

function keep() {
  const fields = Object.fromEntries(FIELDS.map((id) => [id, byId(id).value]));
  const { from, to, first, last, rows } = view.timeline;
  const state = {
    run: content.run.id,
    fields,
    join: byId("join").checked,
    sort: view.table.sort,
    look: from > first || to < last ? [from, to] : null,
    unfolded: [...view.folding.unfolded],
    bars: rows.place,
    list: view.list?.rows.place,
    at: scrollY,
    focus: document.activeElement?.id ?? "",
  };
  // Not session storage: Chromium loses what was stored right before a reload, if the machine is busy.
  history.replaceState(state, "");
}

function kept() {
  return history.state?.run === content.run.id ? history.state : {};
}

/** Reload the page regularly while its run is open, but not while it is being used. */
function reloads(seconds) {
  let paused = false;
  let touched = 0;
  const render = () => {
    byId("reload-text").textContent = paused ? "Reloading is paused." : `Reloads every ${counted(seconds, "second")}.`;
    byId("pause").textContent = paused ? "Resume" : "Pause";
  };
  byId("reload").hidden = false;
  byId("pause").addEventListener("click", () => {
    paused = !paused;
    render();
  });
  for (const kind of ["keydown", "pointerdown", "wheel", "touchmove"]) addEventListener(kind, () => (touched = Date.now()), { passive: true });
  const busy = () => paused || Date.now() - touched < 2000 || byId("detail").open || !getSelection().isCollapsed;
  setInterval(() => {
    if (busy()) return;
    try {
      keep();
    } catch {
      // reload without keeping the state
    }
    location.reload();
  }, seconds * 1000);
  render();
}

function showEvents(before) {
  const source = byId("event-columns");
  view.events = new Events(JSON.parse(source.textContent), content.nodes);
  source.remove();
  view.list = new EventList(view.events, content.run);
  for (const id of ["search", "type", "node"]) if (before.fields) byId(id).value = before.fields[id];
  for (const id of ["type", "node"]) if (!byId(id).value) byId(id).value = -1;
  byId("join").checked = before.join ?? true;
  view.list.filter(before.list);
  view.events.lastWords().forEach((words, place) => (content.nodes[place].words = words.slice(-200)));
  view.table.render();
  if (before.at) scrollTo(0, before.at);
  if (before.focus) byId(before.focus)?.focus({ preventScroll: true });
  document.documentElement.dataset.ready = performance.now();
}

function start() {
  const before = kept();
  showHead(content);
  showProblems(content);
  showWaits(content);
  showLegend();
  showCosts(content.costs);
  fillSelect(byId("node-status"), "all statuses", [...new Set(content.nodes.map((node) => node.status))].map((status) => [status, status]));
  for (const id of ["node-search", "node-status"]) if (before.fields) byId(id).value = before.fields[id];
  if (!byId("node-status").value) byId("node-status").value = -1;
  view.folding = new Folding(content.nodes, before.unfolded);
  view.timeline = new Timeline(content, openNode, fold);
  view.curves = new Curves(content, view.timeline);
  view.table = new NodeTable(openNode, says);
  view.table.sort = before.sort ?? view.table.sort;
  filterNodes(before.bars);
  if (before.look) view.timeline.look(...before.look);
  byId("fold").addEventListener("click", () => fold());
  byId("node-search").addEventListener("input", () => filterNodes());
  byId("node-status").addEventListener("change", () => filterNodes());
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, select, dialog *")) return;
    event.preventDefault();
    byId("search").focus();
  });
  if (content.refresh) reloads(content.refresh);
  byId("count").textContent = "Reading the events …";
  setTimeout(() => showEvents(before), 0); // not an animation frame: hidden tabs have none
}

start();
