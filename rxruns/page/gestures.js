// Gestures on the time axis: dragging the mouse or spreading two fingers zooms, one finger moves. Vertical moves
// scroll, as usual.

const SLOP = 8; // pixels that a finger moves before it counts
const NARROW = 0.02; // the smallest distance of two fingers

class Gestures {
  constructor(timeline, boxes) {
    this.timeline = timeline;
    this.fingers = new Map(); // the position of each pointer
    for (const box of boxes) {
      box.addEventListener("pointerdown", (event) => event.pointerType === "touch" && event.target.closest(".track") && this.touch(box, event));
      box.addEventListener("wheel", (event) => this.turn(event), { passive: false });
    }
    addEventListener("pointermove", (event) => this.fingers.has(event.pointerId) && this.follow(event));
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, (event) => this.lift(event));
    this.drag(boxes);
  }

  limited(event) {
    return Math.min(1, Math.max(0, this.timeline.share(event.clientX)));
  }

  turn(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.timeline.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.limited(event));
  }

  touch(box, event) {
    this.box = box;
    this.fingers.set(event.pointerId, event.clientX);
    this.anchor(this.fingers.size > 1);
  }

  /** Note the time under each finger. */
  anchor(isMoving) {
    const { from, to } = this.timeline;
    this.isMoving = isMoving;
    this.began = new Map(this.fingers);
    this.held = [...this.fingers].slice(0, 2).map(([id, x]) => [id, from + this.timeline.share(x) * (to - from)]);
  }

  follow(event) {
    this.fingers.set(event.pointerId, event.clientX);
    if (this.fingers.size === 1 && this.box.dataset.finger === "reads") return;
    if (!this.isMoving && Math.abs(event.clientX - this.began.get(event.pointerId)) < SLOP) return;
    this.isMoving = true;
    for (const id of this.fingers.keys()) this.box.setPointerCapture(id); // the rows below are redrawn
    const { from, to } = this.timeline;
    const [[one, moment], [other, beyond] = []] = this.held;
    const at = this.timeline.share(this.fingers.get(one));
    let length = to - from;
    if (other !== undefined) {
      const apart = this.timeline.share(this.fingers.get(other)) - at;
      length = Math.abs(beyond - moment) / Math.max(NARROW, Math.abs(apart));
    }
    this.timeline.look(moment - at * length, moment + (1 - at) * length);
  }

  lift(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    if (this.isMoving && event.type === "pointerup") noClick();
    this.anchor(this.isMoving && this.fingers.size > 0);
  }

  /** Zoom into the range that the mouse drags over; a click opens the node. */
  drag(boxes) {
    const { timeline } = this;
    let began = null;
    let marks = null;
    for (const box of boxes) {
      box.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "mouse" && event.button === 0 && event.target.closest(".track")) began = this.limited(event);
      });
    }
    addEventListener("pointermove", (event) => {
      if (began === null || (!marks && Math.abs(this.limited(event) - began) < 0.01)) return;
      event.preventDefault();
      marks ??= AXES.map((id) => byId(id).appendChild(element("div", { class: "marked" })));
      for (const mark of marks) {
        placed(mark, Math.min(began, this.limited(event)) * 100);
        mark.style.width = `${Math.abs(this.limited(event) - began) * 100}%`;
      }
    });
    addEventListener("pointerup", (event) => {
      if (marks) {
        const [one, other] = [began, this.limited(event)].sort((a, b) => a - b);
        const length = timeline.to - timeline.from;
        timeline.look(timeline.from + one * length, timeline.from + other * length);
        noClick();
      }
      marks?.forEach((mark) => mark.remove());
      began = marks = null;
    });
  }
}

/** Ignore the click that a browser makes of a gesture. */
function noClick() {
  addEventListener("click", (click) => click.stopPropagation(), { capture: true, once: true });
  setTimeout(() => dispatchEvent(new Event("click")), 0);
}
