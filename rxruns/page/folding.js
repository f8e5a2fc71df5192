// Children of a fan-out, such as each_one_0 and each_one_1, are one row until it is unfolded.

const CHILD = /^(.+)\[[^[\]]*\]$/s;
const NUMBERED = /^(.+)_\d+$/s;
const WORST = ["failed", "waiting", "running", "pending", "canceled", "succeeded"];

class Folding {
  constructor(nodes, unfolded = []) {
    const sizes = new Map();
    this.ids = new Set(nodes.map((node) => node.id));
    for (const node of nodes) {
      const name = this.nameOf(node);
      if (name !== undefined) sizes.set(name, (sizes.get(name) ?? 0) + 1);
    }
    this.names = new Set([...sizes].filter(([, size]) => size > 1).map(([name]) => name));
    this.unfolded = new Set(unfolded);
  }

  /** The group of a node: each.one of each.one[3]; each_one of each_one_3 if there is a node each. */
  nameOf({ id }) {
    const bracketed = CHILD.exec(id);
    if (bracketed) return bracketed[1];
    const name = NUMBERED.exec(id)?.[1];
    for (let end = name?.lastIndexOf("_") ?? -1; end > 0; end = name.lastIndexOf("_", end - 1)) {
      if (this.ids.has(name.slice(0, end))) return name;
    }
    return undefined;
  }

  get isFolded() {
    return [...this.names].some((name) => !this.unfolded.has(name));
  }

  toggle(name) {
    if (!this.unfolded.delete(name)) this.unfolded.add(name);
  }

  toggleAll() {
    this.unfolded = new Set(this.isFolded ? this.names : []);
  }

  /** The rows of the nodes with their position in the tree. A group takes the position of its first child. */
  rows(nodes) {
    const top = [];
    const groups = new Map();
    for (const node of nodes) {
      const name = this.nameOf(node);
      const group = groups.get(name);
      if (group) group.push(node);
      else if (this.names.has(name)) {
        groups.set(name, [node]);
        top.push({ name, children: groups.get(name) });
      } else top.push({ node });
    }
    return top.flatMap((row, place) => this.inTree(row, { level: 1, place, size: top.length }));
  }

  inTree({ node, name, children }, at) {
    if (node) return [{ node, ...at }];
    const isOpen = this.unfolded.has(name);
    const group = { node: groupOf(name, children), isOpen, ...at };
    const below = isOpen ? children.map((child, place) => ({ node: child, level: 2, place, size: children.length })) : [];
    return [group, ...below];
  }
}

/** Rows without groups, for filtered nodes. */
const flatRows = (nodes) => nodes.map((node, place) => ({ node, level: 1, place, size: nodes.length }));

/** The children as one node: from the first start to the last end, with the worst of their statuses. */
function groupOf(name, children) {
  const statuses = new Map();
  for (const { status } of children) statuses.set(status, (statuses.get(status) ?? 0) + 1);
  const rank = (status) => (WORST.includes(status) ? WORST.indexOf(status) : 0.5);
  const counts = [...statuses].sort(([one], [other]) => rank(one) - rank(other));
  const attempts = children.flatMap((child) => child.attempts);
  const start = attempts.reduce((first, attempt) => Math.min(first, attempt.start ?? attempt.seen), Infinity);
  const end = attempts.reduce((last, attempt) => (last === null || attempt.end === null ? null : Math.max(last, attempt.end)), -Infinity);
  const span = { number: 1, start, end, status: counts[0][0], error: null, waits: [] };
  return { id: name, status: counts[0][0], counts, children, attempts: attempts.length ? [span] : [] };
}

/** The numbers of a group's nodes by status, the worst first. */
const countsText = (counts) => counts.map(([status, number]) => `${MARKS[status] ?? "?"} ${count(number)}`).join(" ");

/** The tooltip of a group. */
function groupText({ id, children, counts, attempts: [span] }) {
  const lines = [`${visible(id)}: ${counted(children.length, "node")} in parallel`];
  lines.push(counts.map(([status, number]) => `${MARKS[status] ?? "?"} ${count(number)} ${visible(status)}`).join(", "));
  if (span) lines.push(`from ${offset(span.start)}${span.end === null ? ", still open" : ` to ${offset(span.end)}: ${duration(span.end - span.start)}`}`);
  const calls = children.reduce((sum, child) => sum + child.calls, 0);
  const tokens = children.reduce((sum, child) => sum + child.tokens, 0);
  if (calls) lines.push(`${counted(calls, "model call")}, ${counted(tokens, "token")}`);
  return lines.join("\n");
}
