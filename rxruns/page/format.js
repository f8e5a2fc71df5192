"use strict";

// Formatting. Text of a run is never parsed as markup: all of it goes through `element`, which makes text nodes.

const content = JSON.parse(document.getElementById("content").textContent);
const MARKS = content.marks;

/** An element with attributes and children; other children than nodes become text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name === "onclick") made.addEventListener("click", value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

const byId = (id) => document.getElementById(id);

// Controls, bidi overrides and characters without a shape; each is shown as a sign.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const UNSEEN_BUT_LINES = new RegExp(UNSEEN.source.replace("\\u0000-\\u001f", "\\u0000-\\u0008\\u000b-\\u001f"), "g");

function picture(char) {
  const code = char.charCodeAt(0);
  if (code < 32) return String.fromCharCode(0x2400 + code);
  return code === 127 ? "\u2421" : "\ufffd";
}

/** The text on one line, with signs for invisible characters. */
const visible = (text) => String(text).replace(UNSEEN, picture);

/** The same, with its line breaks. */
const visibleLines = (text) => String(text).replace(/\r\n/g, "\n").replace(UNSEEN_BUT_LINES, picture);

const count = (number) => number.toLocaleString("en-US");

/** "1 node", "2 nodes". */
const counted = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;

/** US dollars with cents, or with millionths below a dollar; `short` omits trailing zeros. */
function money(usd, short = false) {
  if (usd > 0 && usd < 1e-6) return "< $0.000001";
  const digits = usd === 0 || usd >= 1 ? 2 : 6;
  const least = short ? 2 : digits;
  return usd.toLocaleString("en-US", { style: "currency", currency: "USD", minimumFractionDigits: least, maximumFractionDigits: digits, roundingMode: "halfEven" });
}

/** Milliseconds in a readable unit. */
function duration(ms) {
  if (ms === null || ms === undefined) return "";
  if (Math.abs(ms) < 999.5) return `${Math.round(ms)} ms`;
  if (Math.abs(ms) < 59950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  const two = (number) => String(number).padStart(2, "0");
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** A time since the run's first event, as precise as its step. */
function offset(ms, step = 1) {
  const sign = ms < 0 ? "−" : "";
  const digits = step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3;
  const seconds = Math.abs(ms) / 1000;
  if (seconds < 60) return `${sign}${seconds.toFixed(digits)} s`;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = (seconds % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${sign}${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${sign}${minutes}:${rest}`;
}

/** A status with its sign. */
function statusText(status) {
  return `${MARKS[status] ?? "?"} ${visible(status)}`;
}

function statusElement(status, kind) {
  return element("span", { class: `${kind} ${status in MARKS ? status : ""}` }, statusText(status));
}

/** A record as indented JSON. */
const json = (value) => visibleLines(JSON.stringify(value, null, 2));
