// A list of any length, of which the document has only the visible rows. One row is active. The keyboard moves it
// with arrows, Page Up and Down, Home and End; Enter, Space or a click opens it.

class Rows {
  /**
   * `draw(row, index)` fills an empty row; `open(index)` is called for the chosen one. `key(index)` identifies the
   * content of a row, and `find(key)` returns its index, or -1.
   */
  constructor(box, { draw, open, key, find, moved = () => {} }) {
    this.box = box;
    this.draw = draw;
    this.open = open;
    this.key = key;
    this.find = find;
    this.moved = moved;
    this.count = 0;
    this.active = -1;
    this.space = element("div", { class: "space", role: "presentation" });
    box.append(this.space);
    box.addEventListener("scroll", () => this.later());
    box.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.later()).observe(box);
  }

  /** The scroll position: the active row, the top row, and its pixels above the edge. */
  get place() {
    const { scrollTop } = this.box;
    const top = Math.floor(scrollTop / this.height) || 0;
    return { active: this.keyAt(this.active), top: this.keyAt(top), above: scrollTop - top * this.height };
  }

  keyAt(index) {
    return index >= 0 && index < this.count ? this.key(index) : null;
  }

  /** Show `count` rows, at a scroll position if its rows still exist. */
  show(count, { active = null, top = null, above = 0 } = {}) {
    const found = (key) => (key === null ? -1 : this.find(key));
    this.count = count;
    this.active = found(active);
    this.height = this.measured();
    this.space.style.height = `${count * this.height}px`;
    const first = found(top);
    // The active row with some rows above it, if the top row no longer exists.
    const from = first >= 0 ? first * this.height + above : this.active * this.height - this.box.clientHeight / 3;
    this.box.scrollTop = from;
    this.render();
  }

  /** The height of a row, which the style sheet sets. */
  measured() {
    const probe = element("div", { class: "row" });
    this.space.replaceChildren(probe);
    return probe.offsetHeight || 30;
  }

  later() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render() {
    const height = this.measured();
    if (height !== this.height) {
      this.height = height;
      this.space.style.height = `${this.count * height}px`;
    }
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - 3);
    const last = Math.min(this.count, Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + 3);
    const rows = [];
    for (let index = first; index < last; index++) rows.push(this.row(index, height));
    this.space.replaceChildren(...rows);
    this.point();
  }

  row(index, height) {
    const row = element("div", {
      class: index === this.active ? "row active" : "row",
      role: this.box.role === "tree" ? "treeitem" : "option",
      id: `${this.box.id}-${index}`,
      "aria-selected": index === this.active,
      "aria-posinset": index + 1,
      "aria-setsize": this.count,
      onclick: () => {
        this.activate(index);
        this.open(index);
      },
    });
    row.style.top = `${index * height}px`;
    this.draw(row, index);
    return row;
  }

  point() {
    const row = byId(`${this.box.id}-${this.active}`);
    if (row) this.box.setAttribute("aria-activedescendant", row.id);
    else this.box.removeAttribute("aria-activedescendant");
  }

  activate(index) {
    this.active = index;
    const top = index * this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.height > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = top + this.height - this.box.clientHeight;
    }
    this.render();
    this.moved(index);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.count) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
    const at = this.active;
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? 0 : at - 1,
      PageDown: Math.max(at, 0) + page,
      PageUp: at - page,
      Home: 0,
      End: this.count - 1,
    }[event.key];
    if (to !== undefined) this.activate(Math.max(0, Math.min(to, this.count - 1)));
    else if ((event.key === "Enter" || event.key === " ") && at >= 0) this.open(at);
    else return;
    event.preventDefault();
  }
}
