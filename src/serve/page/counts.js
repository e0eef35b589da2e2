// A table of a query's results, as they come and as late rows correct them. Windows that slide overlap: of those still open the one
// that closes next is shown, which has seen the most.

const ABOUT = new Set(["window_start_ns", "window_end_ns", "revision", "complete_through_ns", "missing"]);
const GROUPS_AT_MOST = 200;
const WINDOWS_AT_MOST = 100;

const span = (row) => {
  const seconds = Math.round((row.window_end_ns - row.window_start_ns) / 1e9);
  return seconds % 60 ? `${seconds} s` : `${seconds / 60} min`;
};
const clock = (ns) => new Date(ns / 1e6).toLocaleTimeString();

function text(key, value) {
  if (value === null) return "";
  if (key.endsWith("_ns")) return `${(value / 1e9).toFixed(1)} s`;
  if (typeof value === "number" && !Number.isInteger(value)) return value.toFixed(2);
  return String(value);
}

export class Counts {
  constructor(mount) {
    this.groups = new Map();
    this.through = 0;
    this.card = document.createElement("div");
    this.card.className = "card";
    this.table = document.createElement("table");
    this.table.createCaption().textContent = mount.path.split("/").pop();
    this.head = this.table.createTHead();
    this.body = this.table.createTBody();
    this.note = document.createElement("p");
    this.note.className = "note";
    this.note.textContent = "nothing yet";
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.append(this.table);
    this.card.append(scroll, this.note);
  }

  take(row) {
    const columns = Object.keys(row).filter((key) => !ABOUT.has(key));
    if (!this.head.rows.length) {
      const line = this.head.insertRow();
      for (const key of columns) {
        const th = document.createElement("th");
        th.scope = "col";
        th.textContent = key.replace(/_ns$/, "");
        if (typeof row[key] === "number") th.className = "number";
        line.append(th);
      }
    }
    // What a query groups by is text; what it counts is numbers.
    const key = columns.filter((name) => typeof row[name] === "string").map((name) => row[name]).join("\u0000");
    let group = this.groups.get(key);
    if (!group) {
      if (this.groups.size >= GROUPS_AT_MOST) return;
      group = { line: this.insert(key), said: "", windows: new Map() };
      this.groups.set(key, group);
    }
    group.windows.set(row.window_end_ns, row);
    if (group.windows.size > WINDOWS_AT_MOST) group.windows.delete(Math.min(...group.windows.keys()));
    // What is complete moves on for all groups at once.
    this.through = Math.max(this.through, row.complete_through_ns);
    this.groups.forEach((each) => this.show(each, columns));
    const missing = Array.isArray(row.missing) ? row.missing.join(", ") : row.missing || "";
    this.note.textContent = `of ${span(row)}, complete through ${clock(this.through)}` + (missing ? `, without ${missing}` : "");
  }

  /** Shows the window of a group that closes next; the last one where none is open. */
  show(group, columns) {
    const ends = [...group.windows.keys()].sort((a, b) => a - b);
    const end = ends.find((each) => each > this.through) ?? ends[ends.length - 1];
    ends.filter((each) => each < end).forEach((each) => group.windows.delete(each));
    const row = group.windows.get(end);
    const said = JSON.stringify(columns.map((name) => row[name]));
    if (said === group.said) return;
    group.said = said;
    group.line.replaceChildren();
    for (const name of columns) {
      const td = group.line.insertCell();
      td.textContent = text(name, row[name]);
      if (typeof row[name] === "number") td.className = "number";
    }
    group.line.classList.remove("changed");
    requestAnimationFrame(() => group.line.classList.add("changed"));
  }

  /** A line for a new group, in the order of the groups' names. */
  insert(key) {
    const keys = [...this.groups.keys(), key].sort();
    return this.body.insertRow(keys.indexOf(key) === keys.length - 1 ? -1 : this.place(keys, key));
  }

  place(keys, key) {
    const next = this.groups.get(keys[keys.indexOf(key) + 1]);
    return [...this.body.rows].indexOf(next.line);
  }
}
